"""A crowd: many devices, each its own MAC, address and leases, in one namespace behind one cable.

Every device is a macvlan interface with an address that scapy's DHCP got for it; its sockets are bound to
it, so the kernel speaks real ARP and TCP under its own MAC.
"""

import os
import select
import socket
import ssl
import time
from pathlib import Path

from tests.lab import dhcp
from tests.lab.client import Client
from tests.lab.namespace import Namespace, Run

RADIO = "radio0"


def make_room_for_neighbours(entries: int) -> None:
    """Let this machine's kernel keep so many more neighbours: all namespaces share its limit of 1,024."""
    for path in Path("/proc/sys/net").glob("ipv[46]/neigh/default/gc_thresh*"):
        least = entries + 4_096
        if int(path.read_text()) < least:
            path.write_text(str(least))


def _scattered(number: int) -> bytes:
    """Four octets, another four for each number: dnsmasq picks addresses by them, and real ones come in no order."""
    return (number * 0x9E3779B1 & 0xFFFFFFFF).to_bytes(4, "big")


class Device(Client):
    """One of the crowd."""

    def __init__(self, namespace: Namespace, number: int, context: ssl.SSLContext) -> None:
        super().__init__(f"02:1a:{_scattered(number).hex(':')}", context)
        self.interface = f"dev{number}"
        self.address4 = ""
        self.number = number
        self._namespace = namespace

    def take(self, options: dict[int, bytes]) -> list[str]:
        """Note what was leased; the ip(8) commands that put it in place."""
        router, length = socket.inet_ntoa(options[3]), int.from_bytes(options[1], "big").bit_count()
        self.address4, self.resolver = options[0].decode(), socket.inet_ntoa(options[6])
        return [
            f"address add {self.address4}/{length} dev {self.interface}",
            f"route add default via {router} dev {self.interface} metric {self.number + 1}",
        ]

    def make_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket that speaks under this device's MAC."""
        sock = self._namespace.open_socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
        return sock


class Crowd:
    """*size* devices behind one port of *bridge*."""

    def __init__(self, run: Run, gateway: Namespace, bridge: str, size: int, authority: Path) -> None:
        make_room_for_neighbours(4 * size)
        self.namespace = Namespace(run, "crowd")
        context = ssl.create_default_context(cafile=authority)
        self.devices = [Device(self.namespace, number, context) for number in range(size)]
        port = "port-crowd"
        self.namespace.ip(f"link add {RADIO} type veth peer name {port} netns {gateway.name}")
        gateway.ip(f"link set {port} master {bridge}", f"link set {port} up")
        # An interface answers for its own address only, although all stand in one namespace.
        self.namespace.sysctl(
            {
                "net.ipv4.conf.all.arp_ignore": 1,
                "net.ipv4.conf.all.arp_announce": 2,
                "net.ipv4.conf.default.rp_filter": 0,
                "net.ipv6.conf.all.disable_ipv6": 1,
                "net.ipv6.conf.default.disable_ipv6": 1,
            }
        )
        self.namespace.ip(
            f"link set {RADIO} up",
            *(
                line
                for device in self.devices
                for line in (
                    f"link add {device.interface} link {RADIO} address {device.mac} type macvlan mode private",
                    f"link set {device.interface} up",
                )
            ),
        )

    def join(self, timeout: float = 60) -> None:
        """Get everybody a lease at once. Raises TimeoutError when somebody gets none."""
        with self.namespace.entered():
            sock = dhcp.packet_socket(RADIO)
        with sock:
            leases = self._lease_all(sock, timeout)
        lines = [line for device in self.devices for line in device.take(leases[device.mac])]
        self.namespace.ip(*lines)

    def _lease_all(self, sock: socket.socket, timeout: float) -> dict[str, dict[int, bytes]]:
        base = int.from_bytes(os.urandom(3), "big") << 8
        macs = {base + device.number: device.mac for device in self.devices}
        waiting = {n: _discover(mac, n) for n, mac in macs.items()}
        leases: dict[str, dict[int, bytes]] = {}
        requested: set[int] = set()  # whoever takes another offer, too, gives the first one up again
        until, again = time.monotonic() + timeout, 0.0
        while waiting:
            now = time.monotonic()
            if now > until:
                raise TimeoutError(f"{len(waiting)} devices got no lease within {timeout} s")
            if now >= again:
                again = now + 1.5
                for frame in waiting.values():
                    sock.send(frame)
            if not select.select([sock], [], [], 0.1)[0]:
                continue
            got = dhcp.answer(sock.recv(2048))
            if got is None or got[0] not in waiting:
                continue
            number, address, options = got
            if options[53] == b"\x02" and number not in requested:
                requested.add(number)
                server = ("server_id", socket.inet_ntoa(options[54]))
                wanted = ("requested_addr", address)
                frame = dhcp.question(
                    macs[number], number, "request", wanted, server, request=(1, 3, 6, 114), flags=""
                )
                waiting[number] = frame
                sock.send(frame)
            elif options[53] == b"\x06":  # somebody else was quicker to take what was offered to both
                requested.discard(number)
                waiting[number] = _discover(macs[number], number)
                sock.send(waiting[number])
            elif options[53] == b"\x05":
                leases[macs[number]] = {0: address.encode(), **options}
                del waiting[number]
        return leases

    def close(self) -> None:
        """Everybody goes home."""
        self.namespace.close()


def _discover(mac: str, number: int) -> bytes:
    return dhcp.question(mac, number, "discover", request=(1, 3, 6, 114), flags="")
