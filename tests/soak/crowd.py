"""Devices by the thousand: a few hundred macvlan interfaces, each of which is one device after another.

When a device leaves, its interface takes the next device's MAC and announces it as phones do, so that the
box sees real ARP and ND, and addresses that change hands. All sockets belong to the calling thread's
namespace, which must be the crowd's.
"""

import asyncio
import contextlib
import fcntl
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.lab.gateway import ADDRESS4, BRIDGE
from tests.lab.namespace import Namespace, Run

SIOCSIFHWADDR = 0x8924
RADIO = "radio0"
WORLD4, WORLD6 = "198.51.100.1", "2001:db8:ff::1"
ECHO = 7
SETTLE = 0.03
"""Seconds between a device's announcement and its first packet."""
TOKEN = re.compile(rb'name="r" value="([^"]+)"')
ACTION = re.compile(rb'action="(/\w+/survey/\w+)"')
LOCATION = re.compile(rb"\r\nLocation: ([^\r]*)", re.IGNORECASE)


@dataclass
class Slot:
    """One interface with its addresses; *mac* is whose it is at the moment."""

    number: int
    mac: str = ""
    lingering: list[socket.socket] = field(default_factory=list)

    @property
    def interface(self) -> str:
        return f"dev{self.number}"

    @property
    def address4(self) -> str:
        return f"192.168.50.{10 + self.number}" if self.number < 240 else f"192.168.51.{self.number - 240}"

    @property
    def address6(self) -> str:
        return f"fd50:7c3a:1::a:{self.number:x}"

    @property
    def own_mac(self) -> str:
        """What the interface is called between two devices."""
        return f"02:5f:00:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    def become(self, mac: str) -> None:
        """The interface is another device from now on."""
        self.hang_up()
        request = struct.pack("16sH6s8x", self.interface.encode(), 1, bytes.fromhex(mac.replace(":", "")))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFHWADDR, request)
        self.mac = mac

    def hang_up(self) -> None:
        """Close what the device left open."""
        for sock in self.lingering:
            sock.close()
        self.lingering.clear()

    def open(self, target: str, kind: int) -> socket.socket:
        """A socket of this device, of *target*'s family."""
        sock = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, kind)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
        return sock

    # -- what a device does ------------------------------------------------------------------------

    async def send(self, target: str, port: int, data: bytes, *, timeout: float = 10) -> bytes:
        """Send *data* on a connection of its own; what comes back until the other side closes."""
        with self.open(target, socket.SOCK_STREAM) as sock:
            async with asyncio.timeout(timeout):
                return await _exchange(sock, target, port, data)

    async def get(self, path: str, host: str = ADDRESS4, target: str = ADDRESS4) -> bytes:
        """The whole answer to a GET."""
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nAccept-Language: vi\r\n"
        return await self.send(target, 80, f"{head}Connection: close\r\n\r\n".encode())

    async def post(self, path: str, form: str) -> bytes:
        """The whole answer to a form."""
        head = f"POST {path} HTTP/1.1\r\nHost: {ADDRESS4}\r\nContent-Length: {len(form)}\r\nConnection: close\r\n"
        kind = "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        return await self.send(ADDRESS4, 80, f"{head}{kind}{form}".encode())

    async def echo(self, target: str, *, kind: int = socket.SOCK_STREAM, timeout: float = 3) -> bool:
        """Whether the world answers."""
        loop = asyncio.get_running_loop()
        with self.open(target, kind) as sock:
            try:
                async with asyncio.timeout(timeout):
                    await loop.sock_connect(sock, (target, ECHO))
                    await loop.sock_sendall(sock, b"0\n")
                    return await loop.sock_recv(sock, 100) != b""
            except (OSError, TimeoutError):
                return False

    async def download(self, target: str, size: int) -> int:
        """Take *size* bytes; how many came."""
        loop, got = asyncio.get_running_loop(), 0
        with self.open(target, socket.SOCK_STREAM) as sock:
            try:
                async with asyncio.timeout(10):
                    await loop.sock_connect(sock, (target, ECHO))
                    await loop.sock_sendall(sock, f"{size}\n".encode())
                    while got < size and (data := await loop.sock_recv(sock, 65_536)):
                        got += len(data)
            except (OSError, TimeoutError):
                pass
        return got

    async def flow(self, target: str, *, timeout: float) -> float:
        """A flow that says something all the time: seconds until its last answer, at most *timeout*."""
        loop = asyncio.get_running_loop()
        began = answered = loop.time()
        with self.open(target, socket.SOCK_STREAM) as sock:
            try:
                async with asyncio.timeout(timeout):
                    await loop.sock_connect(sock, (target, ECHO))
                    while True:
                        await loop.sock_sendall(sock, b"0\n")
                        # Who waits for an answer that was lost at the end of a grant is told nothing: it asks again.
                        with contextlib.suppress(TimeoutError):
                            if not await asyncio.wait_for(loop.sock_recv(sock, 100), 1):
                                break
                            answered = loop.time()
                        await asyncio.sleep(0.1)
            except (OSError, TimeoutError):
                pass
        return answered - began


async def _exchange(sock: socket.socket, target: str, port: int, data: bytes) -> bytes:
    loop, parts = asyncio.get_running_loop(), []
    await loop.sock_connect(sock, (target, port))
    await loop.sock_sendall(sock, data)
    while part := await loop.sock_recv(sock, 65_536):
        parts.append(part)
    return b"".join(parts)


def status(answer: bytes) -> int:
    """The status of an HTTP answer; 0 when it is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def found(pattern: re.Pattern[bytes], answer: bytes) -> str:
    """What *pattern* finds in *answer*, or nothing."""
    match = pattern.search(answer)
    return match.group(1).decode() if match else ""


class Crowd:
    """*size* slots behind one port of the gateway's bridge."""

    def __init__(self, run: Run, gateway: Namespace, size: int) -> None:
        self.namespace = Namespace(run, "crowd")
        self.slots = [Slot(number) for number in range(size)]
        self.namespace.ip(f"link add {RADIO} type veth peer name port-crowd netns {gateway.name}")
        gateway.ip(
            f"link set port-crowd master {BRIDGE} up", "link set port-crowd type bridge_slave isolated on"
        )
        self.namespace.sysctl(
            {
                "net.ipv4.conf.all.arp_ignore": 1,
                "net.ipv4.conf.all.arp_announce": 2,
                "net.ipv4.conf.default.rp_filter": 0,
                "net.ipv4.conf.default.arp_notify": 1,
                "net.ipv6.conf.default.ndisc_notify": 1,
                "net.ipv6.conf.default.accept_ra": 0,
                "net.ipv6.conf.default.addr_gen_mode": 1,
                "net.ipv6.route.max_size": 65_536,
            }
        )
        self.namespace.ip(f"link set {RADIO} up", *(line for slot in self.slots for line in _set_up(slot)))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread's sockets are the crowd's."""
        with self.namespace.entered():
            yield

    def close(self) -> None:
        """Everybody is gone."""
        for slot in self.slots:
            slot.hang_up()
        self.namespace.close()


def _set_up(slot: Slot) -> Iterator[str]:
    name, metric = slot.interface, slot.number + 1
    yield f"link add {name} link {RADIO} address {slot.own_mac} type macvlan mode private"
    yield f"address add {slot.address4}/22 dev {name}"
    yield f"address add {slot.address6}/64 dev {name} nodad"
    yield f"link set {name} up"
    yield f"route add default via {ADDRESS4} dev {name} metric {metric}"
    yield f"route add default via fd50:7c3a:1::1 dev {name} metric {metric}"
