"""What would keep a Debian box from being the gateway, found before anything is changed."""

import errno
import ipaddress
import os
import socket
import subprocess
from typing import Literal

import msgspec

from captive.box.dnsmasq import render_dnsmasq
from captive.box.resolver import find_program, resolver_pid
from captive.kernel.firewall import Firewall
from captive.kernel.ruleset import TABLE
from captive.kernel.sysctls import unwritable_sysctls
from crm.commands_here import to_install
from crm.settings import Network, Settings

Part = Literal["nftables", "dnsmasq", "sysctl"]
"""What the gateway is made of, each of which can be shown and checked alone."""

_API = "https://portal.example/api"
"""Enough to have every kind of line in the configuration that dnsmasq is asked about."""
FW4 = "fw4"
"""The table of OpenWrt's own firewall; router_scripts/openwrt/nftables adds a set to it."""
NO_EGRESS = "this kernel is older than 5.16 and cannot count what goes down to devices"


class _Address(msgspec.Struct):
    local: str = ""
    prefixlen: int = 0


class _Interface(msgspec.Struct):
    addr_info: list[_Address] = []


class _Chain(msgspec.Struct):
    table: str
    family: str
    name: str
    hook: str = ""
    policy: str = ""


class _Set(msgspec.Struct):
    elem: list[str] = []


class _Item(msgspec.Struct):
    chain: _Chain | None = None
    set: _Set | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Item]


def find_problems(settings: Settings, part: Part | None = None) -> list[str]:
    """A sentence for each problem (of one *part* only), saying what to do; empty when there is none."""
    if not settings.networks:  # nobody's gateway
        return []
    programs = {
        "nft": ("nftables", to_install("nftables", "nftables-json")),
        "dnsmasq": ("dnsmasq", to_install("dnsmasq-base", "dnsmasq-full")),
        "ip": ("", to_install("iproute2", "ip-full")),
    }
    problems = [
        f"{program} is not installed: {install}"
        for program, (user, install) in programs.items()
        if part in (None, user) and not find_program(program)
    ]
    if os.geteuid() != 0:
        problems.append("only root can look at the firewall and change it: run it with sudo")
    if problems:
        return problems
    if part is None:
        problems += _check_interfaces(settings)
    if part in (None, "nftables"):
        problems += [*_check_table(settings), *_check_other_tables(settings)]
    if part in (None, "dnsmasq"):
        problems += [*_check_dnsmasq(settings), *_check_ports(settings)]
    if part in (None, "sysctl"):
        problems += unwritable_sysctls(settings)
    return problems


def _run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    program = find_program(command[0]) or command[0]
    words = [program, *command[1:]]
    return subprocess.run(words, input=text, capture_output=True, text=True, check=False)


def _check_interfaces(settings: Settings) -> list[str]:
    return [
        *_check_uplink(settings),
        *(problem for network in settings.networks for problem in _check_guest(network)),
    ]


def _check_uplink(settings: Settings) -> list[str]:
    uplink = settings.uplink.interface
    addresses = addresses_of(uplink)
    if addresses is None:
        return [f"there is no interface {uplink}: uplink.interface must name the one towards the Internet"]
    return [
        f"{uplink} has {address}, an address of the network {network.name!r}: choose another for guests"
        for address in addresses
        for network in settings.networks
        if address in network.net4.network or (network.net6 and address in network.net6.network)
    ]


def _check_guest(network: Network) -> list[str]:
    addresses = addresses_of(network.interface)
    if addresses is None:
        return [
            f"there is no interface {network.interface}: make the bridge for guests, or set network.interface"
        ]
    return [
        f"{network.interface} has no address {each}: ip address add {each} dev {network.interface}"
        for each in (network.net4, network.net6)
        if each and each.ip not in addresses
    ]


def addresses_of(interface: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address] | None:
    """The addresses of *interface*; None when there is none of that name."""
    done = _run("ip", "-json", "address", "show", "dev", interface)
    if done.returncode:
        return None
    found = msgspec.json.decode(done.stdout, type=list[_Interface])
    return [ipaddress.ip_address(a.local) for each in found for a in each.addr_info if a.local]


def _check_table(settings: Settings) -> list[str]:
    problems = []
    firewall = Firewall(settings)
    nft = _run("nft", "-c", "-f", "-", text=firewall.ruleset())
    if nft.returncode:
        problems.append(
            f"nft does not take the table: {_first_line(nft.stderr)}; is this kernel older than 5.10?"
        )
    if not firewall.egress and (limited := [each.name for each in settings.networks if _is_limited(each)]):
        problems.append(
            f"{NO_EGRESS}: limits of down_kbit, down_mb, total_mb and daily_mb do not hold on {', '.join(limited)}"
        )
    return problems


def _check_dnsmasq(settings: Settings) -> list[str]:
    dnsmasq = _run(
        "dnsmasq", "--test", "--conf-file=/dev/stdin", text=render_dnsmasq(settings, api=_API, revocation=())
    )
    if dnsmasq.returncode:
        return [
            f"dnsmasq does not take its configuration: {_first_line(dnsmasq.stderr)}; is it older than 2.87?"
        ]
    return []


def _is_limited(network: Network) -> bool:
    grant = network.grant
    return any((grant.down_kbit, grant.down_mb, grant.total_mb, grant.daily_mb))


def _check_ports(settings: Settings) -> list[str]:
    if resolver_pid(settings):
        return []
    names = ", ".join(network.interface for network in settings.networks)
    leave = f"tell it to leave {names} alone; to see which it is: ss -lntup"
    problems = []
    # Over UDP a dnsmasq shares the port with another, over TCP nobody does.
    kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    addresses = [str(each.net4.ip) for each in settings.networks]
    if any(_is_taken(each, 53, socket.SO_REUSEADDR, kind=kind) for each in addresses for kind in kinds):
        problems.append(
            f"another resolver holds port 53: {leave} (in a dnsmasq: bind-dynamic, and except-interface for each)"
        )
    if _is_taken("", 67, socket.SO_REUSEPORT, socket.SO_REUSEADDR):
        problems.append(f"another DHCP server holds port 67: {leave}")
    return problems


def _is_taken(address: str, port: int, *options: int, kind: int = socket.SOCK_DGRAM) -> bool:
    """Whether dnsmasq, which shares a port by those socket *options*, could not have it.

    With one of dnsmasq's two for DHCP missing, odhcpd on another bridge would look like a server in the way.
    """
    with socket.socket(socket.AF_INET, kind) as probe:
        for option in options:
            probe.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _check_other_tables(settings: Settings) -> list[str]:
    """What another table drops stays dropped: an accept in ours ends only the walk through ours."""
    opened = _opened_by_fw4()
    # Before the gateway is up it is no news that fw4 is shut.
    shut = [] if opened is None or not resolver_pid(settings) else [*settings.networks]
    return [
        f"fw4 refuses what comes from {each.interface}: /usr/share/wificrm/firewall open"
        for each in shut
        if each.interface not in (opened or [])
    ] + [
        f"chain {chain.name} of table {chain.family} {chain.table} drops by default: "
        f"let the guests' interfaces through there too ({chain.hook}), as router_scripts/README.md shows"
        for chain in _foreign_chains()
        if chain.policy == "drop" and chain.hook in ("input", "forward")
        if opened is None or chain.table != FW4
    ]


def _opened_by_fw4() -> list[str] | None:
    """The interfaces that OpenWrt's firewall leaves to our table; None where it was not told how to."""
    listing = _run("nft", "--json", "list", "set", "inet", FW4, "wificrm_guests")
    if listing.returncode:
        return None
    items = msgspec.json.decode(listing.stdout, type=_Listing).nftables
    return [interface for item in items if item.set for interface in item.set.elem]


def foreign_tables() -> tuple[str, ...]:
    """Tables of others that look at packets; guests' too, most likely."""
    return tuple(sorted({f"{chain.family} {chain.table}" for chain in _foreign_chains() if chain.hook}))


def _foreign_chains() -> list[_Chain]:
    listing = _run("nft", "--json", "list", "chains")
    if listing.returncode:
        return []
    items = msgspec.json.decode(listing.stdout, type=_Listing).nftables
    return [item.chain for item in items if item.chain and item.chain.table != TABLE]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
