"""Which device is behind an address: the kernel's neighbour table, followed by its events.

Plain netlink messages: pyroute2's event loop and uvloop's do not go together (uvloop opens no datagram
transport on a netlink socket), and its decoder takes twenty times as long.

Privacy: addresses and MACs live in memory here and leave with the device; nothing is written or logged.
"""

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from captive.gateway import device_key
from captive.kernel.netlink import attributes
from crm.errors import SetupError
from crm.settings import Network

RTMGRP_NEIGH = 4
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
NDA_DST, NDA_LLADDR = 1, 2
HEADER = struct.Struct("=IHHII")
NEIGHBOUR = struct.Struct("=BxxxiHBB")
READ_AT_ONCE = 256 * 1024
NUD_INCOMPLETE, NUD_REACHABLE, NUD_DELAY, NUD_FAILED, NUD_NOARP = 0x01, 0x02, 0x08, 0x20, 0x40
MAX_NEIGHBOURS = 65_536
PATIENCE = (0.02, 0.1, 0.3)
"""Seconds between looks for an address of which the table does not tell yet."""


def _nobody_cares(_mac: str) -> None:
    pass


class _Change(NamedTuple):
    """One entry of the neighbour table, as the kernel tells it."""

    interface: int  # its index
    address: str
    mac: str  # empty while the kernel is still asking
    state: int


class Neighbours(Protocol):
    """Finds the device behind an address."""

    on_join: Callable[[str], None]
    """Told the key of each device that appears (see `captive.gateway.device_key`)."""

    async def device(self, address: str) -> str | None:
        """The device that has *address* now; None: not one of our guests."""

    def addresses(self) -> Mapping[str, str]:
        """The device at each address, as far as it is known."""

    async def close(self) -> None:
        """Stop listening."""


class NoGuests:
    """A box without guests of its own, which serves thin routers elsewhere only."""

    def __init__(self) -> None:
        self.on_join: Callable[[str], None] = _nobody_cares

    async def device(self, address: str) -> str | None:  # noqa: ARG002 - nobody is
        """Nobody."""
        return None

    def addresses(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def close(self) -> None:
        """Nothing to stop."""


class Loopback:
    """For the demo: a device is its address; a browser on this machine plays the phone."""

    def __init__(self, network: str, networks: Sequence[Network] = ()) -> None:
        """A device is on the one of *networks* whose addresses hold its own, else on *network*."""
        self._network = network
        self._networks = networks if len(networks) > 1 else ()
        self.on_join: Callable[[str], None] = _nobody_cares

    async def device(self, address: str) -> str | None:
        """The address itself."""
        plain, network = address.partition("%")[0], self._network
        if self._networks:
            at = ipaddress.ip_address(plain)
            network = next((each.name for each in self._networks if at in each.net4.network), network)
        return device_key(network, plain)

    def addresses(self) -> Mapping[str, str]:
        """None: whoever asks tells its own."""
        return {}

    async def close(self) -> None:
        """Nothing to stop."""


class KernelNeighbours:
    """Follows the neighbour tables of the guest interfaces. Make it with `follow_neighbours`."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.on_join: Callable[[str], None] = _nobody_cares
        self._wanted = networks
        self._networks = _by_index(networks)
        self._devices: dict[str, str] = {}  # address -> device; link-local ones with "%" and the index
        self._events = _rtnetlink(RTMGRP_NEIGH)
        self._reading = asyncio.Lock()
        self._meanwhile: list[tuple[int, _Change]] = []  # told while the table is being read
        self._task: asyncio.Task[None] | None = None

    async def device(self, address: str) -> str | None:
        """The device that has *address*; asks the kernel when no event has told it yet.

        Whoever speaks to us is in the kernel's table, but events of a moment ago may still wait to be heard
        and hide it: so they are waited for before anybody is told to be no guest.
        """
        address = _with_index(address)
        if address not in self._devices:
            self._networks = _by_index(self._wanted)  # a bridge that was made anew has another number
            if not self._is_ours(address):
                return None
            await self._read_all()
        for pause in PATIENCE:
            if address not in self._devices:
                await asyncio.sleep(pause)
        return self._devices.get(address)

    def _is_ours(self, address: str) -> bool:
        """Whether *address* may be on a network of ours: the kernel is asked for no other."""
        if address.startswith("fe80:"):
            return address.rpartition("%")[2] in map(str, self._networks)
        at = ipaddress.ip_address(address)
        return any(at in net.network for each in self._wanted for net in (each.net4, each.net6) if net)

    def addresses(self) -> Mapping[str, str]:
        """The device at each address, link-local ones included."""
        return self._devices

    async def start(self) -> None:
        """Read the table, then follow its changes."""
        await self._read_all()
        self._task = asyncio.create_task(self._follow(), name="neighbours")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._events.close()

    async def _read_all(self) -> None:
        loop = asyncio.get_running_loop()
        question = NEIGHBOUR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        header = HEADER.pack(HEADER.size + len(question), RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        async with self._reading:
            found: dict[str, str] = {}
            self._meanwhile.clear()
            with _rtnetlink() as asking:
                await loop.sock_sendall(asking, header + question)
                ended = False
                while not ended:
                    data = await loop.sock_recv(asking, READ_AT_ONCE)
                    ended = any(kind in (NLMSG_DONE, NLMSG_ERROR) for kind, _ in _messages(data))
                    for _, change in self._changes(data):
                        self._note(change, found)
            # What was read first may be out of date: an address that changed hands would stay its former device's.
            for kind, change in self._meanwhile:
                self._take_in(kind, change, found)
            self._meanwhile.clear()
            self._devices = found

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._events, READ_AT_ONCE)
            except OSError:  # events were lost (ENOBUFS): the table itself is the truth
                self._drop_events()
                await self._read_all()
                continue
            for kind, change in self._changes(data):
                self._follow_one(kind, change)

    def _drop_events(self) -> None:
        """Pass over what still waits: it is older than what was lost, and would undo what the table says."""
        while True:
            try:
                self._events.recv(READ_AT_ONCE)
            except BlockingIOError:
                return
            except OSError:  # more were lost; the socket says so once
                continue

    def _follow_one(self, kind: int, change: _Change) -> None:
        known = self._devices.get(change.address)
        if self._reading.locked():
            self._meanwhile.append((kind, change))
        self._take_in(kind, change, self._devices)
        device = self._devices.get(change.address)
        # A guest who comes back has an entry from before; the lease it is given by DHCP makes it one in use.
        if device is not None and (device != known or change.state & (NUD_REACHABLE | NUD_DELAY)):
            self.on_join(device)

    def _changes(self, data: bytes) -> Iterator[tuple[int, _Change]]:
        for kind, body in _messages(data):
            if kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
                family, index, state, _, _ = NEIGHBOUR.unpack_from(body)
                values = dict(attributes(body, NEIGHBOUR.size))
                known = index in self._networks and family in (socket.AF_INET, socket.AF_INET6)
                if known and NDA_DST in values:
                    address = socket.inet_ntop(family, values[NDA_DST])
                    if address.startswith("fe80:"):
                        address = f"{address}%{index}"
                    yield kind, _Change(index, address, values.get(NDA_LLADDR, b"").hex(":"), state)

    def _take_in(self, kind: int, change: _Change, table: dict[str, str]) -> None:
        if kind == RTM_DELNEIGH or change.state & NUD_FAILED:
            table.pop(change.address, None)
        else:
            self._note(change, table)

    def _note(self, change: _Change, table: dict[str, str]) -> None:
        if not change.mac or change.state & (NUD_FAILED | NUD_INCOMPLETE | NUD_NOARP):  # the last: multicast
            return
        if len(table) >= MAX_NEIGHBOURS and change.address not in table:
            return
        network = self._networks.get(change.interface)
        if network and network.identity == "mac":
            table[change.address] = device_key(network.name, change.mac)
        elif network and ":" not in change.address:
            table[change.address] = device_key(network.name, change.mac, change.address)


def _with_index(address: str) -> str:
    """*address* of a peer as the table here has it: a link-local one with the number of its interface."""
    plain, _, scope = address.removeprefix("::ffff:").partition("%")
    if not plain.startswith("fe80:"):
        return plain
    with contextlib.suppress(OSError):
        scope = scope if scope.isdigit() else str(socket.if_nametoindex(scope))
    return f"{plain}%{scope}"


def _rtnetlink(groups: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.setblocking(False)
    sock.bind((0, groups))
    return sock


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, start)
        yield kind, data[start + HEADER.size : start + length]
        start += max(length + 3 & ~3, HEADER.size)


async def follow_neighbours(networks: Sequence[Network]) -> KernelNeighbours:
    """Follow the devices on the interfaces of *networks*.

    The result's ``on_join`` is told each device that appears or is heard from again, now and then also one
    that never left. Raises `SetupError` when there is no such interface.
    """
    missing = {each.interface for each in networks} - {
        each.interface for each in _by_index(networks).values()
    }
    if missing:
        raise SetupError(
            f"there is no interface {min(missing)}; set network.interface to the bridge that phones are on"
        )
    neighbours = KernelNeighbours(networks)
    await neighbours.start()
    return neighbours


def _by_index(networks: Sequence[Network]) -> dict[int, Network]:
    """*networks* by the numbers of their interfaces, as far as these are there."""
    by_index = {}
    for network in networks:
        with contextlib.suppress(OSError):
            by_index[socket.if_nametoindex(network.interface)] = network
    return by_index
