"""The process that advertises this box as the guests' router: one raw socket per network with IPv6.

It runs with CAP_NET_RAW and nothing else. What it says of the portal stands in a file that
``wificrm gateway apply`` writes, so that DHCP and advertisements never differ, and so that this process, which
reads what strangers send, has no business with the certificate's key. Without the file the gateway is
down, and nothing is advertised. Interfaces may come and go.
"""

import asyncio
import contextlib
import errno
import fcntl
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from captive.advertise.advertisement import (
    ALL_NODES,
    ALL_ROUTERS,
    HOP_LIMIT,
    SOLICITATION,
    Timetable,
    render_advertisement,
    solicitor,
)
from captive.signals import catch_stop
from crm.errors import SetupError
from crm.settings import Network, Settings

log = structlog.get_logger()

ANNOUNCED = "captive-portal-api"
"""The file in the state folder that holds the API's URI, or nothing where none is offered."""
PLACE = "\0wificrm-advertise"
"""An abstract socket (per network namespace, gone with the process): one of us is enough, and can be seen."""
LOOK = 1.0
"""Seconds between two looks at the interface and at the file."""
BATCH, PAUSE = 64, 0.05
"""Messages read at once, and seconds of rest after so many: a flood is the kernel's to drop."""
MAX_MESSAGE = 1500
ICMP6_FILTER = 1
SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFHWADDR = 0x8913, 0x8921, 0x8927
IFF_RUNNING = 0x40
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40
ADDRESSES = Path("/proc/self/net/if_inet6")


class Facts(NamedTuple):
    """What the kernel says of an interface."""

    number: int
    mac: bytes
    mtu: int
    source: bytes
    """Its link-local address: from any other, phones take no advertisement."""
    running: bool


def announced(settings: Settings) -> str | None:
    """The URI of the API to advertise, "" for none; None when the gateway is down."""
    try:
        return (Path(settings.state) / ANNOUNCED).read_text("ascii").strip()
    except (OSError, ValueError):
        return None


def is_advertised() -> bool:
    """Whether the process runs, seen from another on the same box."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(PLACE) == 0


async def serve_advertiser(settings: Settings, ready: Callable[[], None]) -> None:
    """Advertise until SIGTERM or Ctrl-C, then say goodbye. Raises `SetupError` where it may not."""
    stop = asyncio.create_task(catch_stop().wait())
    with _in_place():
        links = [Link(settings, network) for network in settings.networks if network.net6]
        tasks = [asyncio.create_task(link.run()) for link in links]
        try:
            ready()
            done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # what breaks one network's part breaks the whole, not to be half alive
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for link in links:
                link.close()


class Link:
    """One network: follows its interface, answers who asks there, advertises."""

    def __init__(self, settings: Settings, network: Network) -> None:
        self._settings, self._network = settings, network
        self._facts: Facts | None = None
        self._api: str | None = None
        self._socket: socket.socket | None = None
        self._timetable = Timetable(time.monotonic(), random.uniform)
        self._heard = asyncio.Event()
        self._failed = False

    async def run(self) -> None:
        """Advertise until cancelled."""
        while True:
            now = time.monotonic()
            self._look(now)
            many = self._read(now)
            for address in self._timetable.take(now) if self._socket else ():
                self._send(address)
            await self._wait(pause=many or self._timetable.crowded)

    def close(self) -> None:
        """Say goodbye, if guests were told of us, and let go of the interface."""
        if self._socket:
            self._send(ALL_NODES, last=True)
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        self._socket = None

    def _look(self, now: float) -> None:
        """Follow what the gateway announces and what has become of the interface."""
        api, facts = announced(self._settings), _facts(self._network.interface)
        if api is None or facts is None:
            self.close()
        elif self._socket is None or self._facts is None or facts.number != self._facts.number:
            self.close()
            with contextlib.suppress(OSError):  # gone again in this very moment
                self._socket = _open_socket(self._network.interface, facts.number)
            self._timetable = Timetable(now, random.uniform)
        elif (api, facts) != (self._api, self._facts):
            self._timetable.change(now)
        self._api, self._facts = api, facts

    def _read(self, now: float) -> bool:
        """Note who asks; whether there may be more than was read."""
        self._heard.clear()
        for _ in range(BATCH):
            if self._socket is None or self._timetable.crowded:
                return False
            try:
                message, ancillary, flags, source = self._socket.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(4))
            except OSError:
                return False
            address = _hear(message, ancillary, flags, source[0])
            if address is not None:
                self._timetable.solicit(address, now)
        return True

    async def _wait(self, *, pause: bool) -> None:
        """Until something is due, or somebody asks, or it is time for a look."""
        loop = asyncio.get_running_loop()
        if pause or self._socket is None:
            await asyncio.sleep(PAUSE if self._socket else LOOK)
            return
        loop.add_reader(self._socket, self._heard.set)
        delay = max(0.0, min(LOOK, self._timetable.wake - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), delay)
        loop.remove_reader(self._socket)

    def _send(self, address: str, *, last: bool = False) -> None:
        facts, network = self._facts, self._network.net6
        if self._socket is None or facts is None or network is None:
            return
        lease = _seconds(self._network.lease)
        message = render_advertisement(
            network, lease=lease, mac=facts.mac, mtu=facts.mtu, api=self._api or "", last=last
        )
        try:
            source = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, facts.source + struct.pack("=I", facts.number)
            self._socket.sendmsg([message], [source], 0, (address, 0, 0, facts.number))
            self._failed = False
        except OSError as error:
            if not self._failed and error.errno not in (errno.ENODEV, errno.ENXIO):
                log.warning(
                    "an advertisement was not sent", network=self._network.name, reason=error.strerror
                )
            self._failed = True
            self._timetable.change(time.monotonic())


def _hear(message: bytes, ancillary: list[tuple[int, int, bytes]], flags: int, source: str) -> str | None:
    """Where the answer goes to; None when the message asks for none."""
    hop_limits = [
        struct.unpack_from("=i", data)[0]
        for level, kind, data in ancillary
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT
    ]
    if flags & socket.MSG_TRUNC or not hop_limits:
        return None
    return solicitor(message, hop_limits[0], source.partition("%")[0])


def _open_socket(interface: str, index: int) -> socket.socket:
    """A raw socket that hears solicitations on *interface* and nothing else. Raises OSError."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    try:
        words = [0xFFFF_FFFF] * 8
        words[SOLICITATION >> 5] &= ~(1 << (SOLICITATION & 31))
        sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *words))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        for option, value in (
            (socket.IPV6_RECVHOPLIMIT, 1),
            (socket.IPV6_UNICAST_HOPS, HOP_LIMIT),
            (socket.IPV6_MULTICAST_HOPS, HOP_LIMIT),
            (socket.IPV6_MULTICAST_LOOP, 0),
            (socket.IPV6_MULTICAST_IF, index),
        ):
            sock.setsockopt(socket.IPPROTO_IPV6, option, value)
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("=I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    except BaseException:
        sock.close()
        raise
    return sock


def _facts(interface: str) -> Facts | None:
    """What is known of *interface*; None: there is none, or it has no address to speak from yet."""
    request = struct.pack("16s24x", interface.encode())
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            index = socket.if_nametoindex(interface)
            flags, mtu, address = (
                fcntl.ioctl(sock, number, request)[16:]
                for number in (SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFHWADDR)
            )
        except OSError:
            return None
    running = bool(struct.unpack_from("=H", flags)[0] & IFF_RUNNING)
    source = _link_local(interface)
    return Facts(index, address[2:8], struct.unpack_from("=i", mtu)[0], source, running) if source else None


def _link_local(interface: str) -> bytes:
    """Its link-local address; empty while there is none, or the kernel still looks whether another has it."""
    for line in ADDRESSES.read_text("ascii").splitlines():
        address, _, _, _, flags, name = line.split()
        if name == interface and address.startswith("fe80"):
            return b"" if int(flags, 16) & (IFA_F_DADFAILED | IFA_F_TENTATIVE) else bytes.fromhex(address)
    return b""


@contextlib.contextmanager
def _in_place() -> Iterator[None]:
    """Be the only one, with the right to raw sockets. Raises `SetupError`."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6).close()
    except OSError as error:
        raise SetupError(f"router advertisements need CAP_NET_RAW and IPv6: {error.strerror}") from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as place:
        try:
            place.bind(PLACE)
        except OSError:
            raise SetupError("another wificrm advertise runs on this box; stop it first") from None
        yield


def _seconds(lease: str) -> int:
    return int(lease[:-1]) * {"m": 60, "h": 3600}[lease[-1]]
