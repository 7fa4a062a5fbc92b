"""The doctor's phone: a network namespace without a name, joined to the guests' bridge by a cable.

The namespace lives as long as this process holds it open: whatever ends the process, the kernel takes away
namespace, cable and bridge port. Nothing can be left behind, and two doctors do not meet.
"""

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from captive.box.resolver import find_program

PREFIX = "02:d0:c7"
"""Of the MACs of all phones that doctors play: locally administered, never of a real device."""
WIFI, NEIGHBOUR = "wlan0", "wlan1"
"""The phone's own interface, and another guest's, which only listens."""
ALL_FRAMES, IPV4_FRAMES, IPV6_FRAMES, EXPERIMENTAL_FRAMES = 0x0003, 0x0800, 0x86DD, 0x88B5
"""EtherTypes for `Handset.open_packets`; the last is of no protocol (IEEE 802, local experimental)."""
_CLONE_NEWNET = 0x4000_0000

_libc = ctypes.CDLL(None, use_errno=True)


class _BridgeData(msgspec.Struct, frozen=True):
    stp_state: int = 0


class _LinkInfo(msgspec.Struct, frozen=True):
    info_kind: str = ""
    info_data: _BridgeData = _BridgeData()


class Link(msgspec.Struct, frozen=True):
    """An interface of this box, as ``ip`` tells it."""

    mtu: int = 1500
    address: str = ""
    flags: tuple[str, ...] = ("UP", "LOWER_UP")
    linkinfo: _LinkInfo = _LinkInfo()

    @property
    def is_bridge(self) -> bool:
        """Whether ports can be joined to it."""
        return self.linkinfo.info_kind == "bridge"

    @property
    def is_up(self) -> bool:
        """Whether somebody has switched it on; a cable it need not have."""
        return "UP" in self.flags

    @property
    def has_carrier(self) -> bool:
        """Whether anything is at its other end; of a bridge, at one of its ports'."""
        return "LOWER_UP" in self.flags

    @property
    def has_spanning_tree(self) -> bool:
        """Whether a new port stays silent for half a minute."""
        return self.linkinfo.info_data.stp_state != 0


def find_link(interface: str) -> Link | None:
    """What *interface* is; None when there is none."""
    done = run_ip("-json", "-details", "link", "show", "dev", interface)
    return msgspec.json.decode(done.stdout, type=list[Link])[0] if done.returncode == 0 else None


class Handset:
    """A phone on *bridge*, and beside it the port of another guest. Raises OSError where it cannot be made."""

    def __init__(self, bridge: str, link: Link) -> None:
        self.mac = f"{PREFIX}:{secrets.token_bytes(3).hex(':')}"
        digits = self.mac.replace(":", "")[6:]
        self._ports = [f"wdr{digits}", f"wdn{digits}"]
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._inside = _new_namespace(self._home)
        try:
            self._plug_in(bridge, link)
        except BaseException:
            self.close()
            raise

    def _plug_in(self, bridge: str, link: Link) -> None:
        namespace = f"/proc/{os.getpid()}/fd/{self._inside}"
        with self.entered():
            _write_sysctls(
                {
                    "ipv4/conf/all/rp_filter": "0",
                    "ipv4/conf/default/rp_filter": "0",
                    "ipv4/ping_group_range": "0 0",
                    "ipv6/conf/default/accept_dad": "0",
                    "ipv6/conf/default/accept_ra": "1",
                    "ipv6/conf/default/router_solicitation_delay": "0",
                    "ipv6/conf/default/forwarding": "0",
                }
            )
        neighbour = f"{PREFIX}:{secrets.token_bytes(3).hex(':')}"
        _batch(
            # Ports with the highest of MACs: a bridge may take the lowest of its ports' for its own.
            *(
                f"link add {port} address fe:ff:ff:{secrets.token_bytes(3).hex(':')} mtu {link.mtu} "
                f"type veth peer name {name} address {mac} mtu {link.mtu} netns {namespace}"
                for port, name, mac in zip(self._ports, (WIFI, NEIGHBOUR), (self.mac, neighbour), strict=True)
            ),
            *(f"link set {port} master {bridge} up" for port in self._ports),
        )
        with self.entered():
            _write_sysctls({f"ipv6/conf/{NEIGHBOUR}/disable_ipv6": "1"})
            _batch("link set lo up", f"link set {WIFI} up", f"link set {NEIGHBOUR} up arp off")

    def set_address(self, address: str, prefix: int, router: str) -> None:
        """Use the leased *address*, and *router* for the rest of the world. Raises OSError."""
        with self.entered():
            _batch(f"address add {address}/{prefix} dev {WIFI}", f"route add default via {router}")

    def addresses6(self) -> list[str]:
        """Its IPv6 addresses that are not of the link alone."""
        with self.entered():
            lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        words = [line.split() for line in lines]
        return [
            socket.inet_ntop(socket.AF_INET6, bytes.fromhex(each[0]))
            for each in words
            if each[5] == WIFI and each[3] == "00"
        ]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread inside; what it makes there stays there."""
        _enter(self._inside)
        try:
            yield
        finally:
            _enter(self._home)

    def make_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of the phone's, usable in any thread."""
        with self.entered():
            return socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)

    def open_packets(self, interface: str, kind: int) -> socket.socket:
        """Sends and hears packets of EtherType *kind* on an *interface* of the phone's, without frame headers."""
        with self.entered():
            return open_packets(interface, kind)

    def close(self) -> None:
        """Unplug it; the kernel clears the rest away."""
        for port in self._ports:
            run_ip("link", "delete", port)
        os.close(self._inside)
        os.close(self._home)


def open_packets(interface: str, kind: int) -> socket.socket:
    """Sends and hears packets of EtherType *kind* on an *interface* of this box. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(kind))
    try:
        sock.bind((interface, kind))
    except OSError:
        sock.close()
        raise
    return sock


def _new_namespace(home: int) -> int:
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise _last_error("this machine lets nobody make a network namespace")
    try:
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        _enter(home)


def _enter(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET) != 0:
        raise _last_error("a network namespace cannot be entered")


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _write_sysctls(values: dict[str, str]) -> None:
    """Inside only: this box's own stay as they are."""
    for name, value in values.items():
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path("/proc/sys/net", name).write_text(value)


def _batch(*lines: str) -> None:
    done = run_ip("-batch", "-", text="\n".join(lines) + "\n")
    if done.returncode:
        raise OSError(done.returncode, f"ip: {done.stderr.strip().partition(chr(10))[0]}")


def run_ip(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run ip(8) where the calling thread is."""
    program = find_program("ip") or "ip"
    return subprocess.run([program, *words], input=text, capture_output=True, text=True, check=False)
