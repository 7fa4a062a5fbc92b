"""Gateways: who opens the way to the Internet for a device, and the client of our own box's gate.

The wire between portal and gate is one JSON object a line over a Unix socket: requests carry a number,
answers repeat it, several may be under way at once.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Annotated, Protocol, TypeVar

import msgspec

from crm.commands_here import to_start

T = TypeVar("T")

MAX_DEVICES = 1_000
"""Devices in one message at most; the client cuts longer lists."""
MAX_REQUEST = 128 * 1024
"""Bytes of one request at most; 1,000 devices with addresses take 60 kB."""
MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of one answer at most; a full set of 65,536 devices takes 5 MB."""
TIMEOUT = 5.0
"""Seconds a caller waits for the gate, connecting again included."""

DEVICE_PATTERN = r"^[a-z][a-z0-9_]{0,11} [0-9a-f]{2}(:[0-9a-f]{2}){5}( [0-9]{1,3}(\.[0-9]{1,3}){3})?\Z"
Device = Annotated[str, msgspec.Meta(pattern=DEVICE_PATTERN, max_length=48)]
"""A device on one network: ``guest 02:00:00:00:00:01``; with its IPv4 address where that tells devices apart."""
MOST_SECONDS = 7 * 24 * 3600
"""For which a device is let through at a time, at most; the gate takes no more."""
Seconds = Annotated[int, msgspec.Meta(ge=1, le=MOST_SECONDS)]


class GatewayError(Exception):
    """The gate cannot be reached or refused; the message says what to do."""


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """What the kernel keeps of one allowed device: *seconds* left, bytes sent *up* and *down* since the grant."""

    seconds: int
    up: int = 0
    down: int = 0


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """For how many *seconds* from now; *fresh*: counts and amounts begin anew, as with a new grant."""

    seconds: Seconds
    fresh: bool = True


class Allow(msgspec.Struct, frozen=True, tag_field="do", tag="allow", forbid_unknown_fields=True):
    """Let devices through, each on its terms."""

    id: int
    leases: Annotated[dict[Device, Terms], msgspec.Meta(max_length=MAX_DEVICES)]


class Deny(msgspec.Struct, frozen=True, tag_field="do", tag="deny", forbid_unknown_fields=True):
    """Shut devices out, end what they have under way, and have their radio send them away."""

    id: int
    devices: Annotated[list[Device], msgspec.Meta(max_length=MAX_DEVICES)]


class List(msgspec.Struct, frozen=True, tag_field="do", tag="list", forbid_unknown_fields=True):
    """Name the allowed devices, with what they took when *counts*."""

    id: int
    counts: bool = False


Request = Allow | Deny | List


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the gate says to the request of that *id*; an *error* is empty when it is done."""

    id: int
    error: str = ""
    leases: dict[str, Lease] = {}


def device_key(network: str, mac: str, address: str = "") -> str:
    """The text by which a device is known on *network*; *address* only where it belongs to its identity."""
    return f"{network} {mac} {address}" if address else f"{network} {mac}"


def key_parts(device: str) -> tuple[str, str, str]:
    """(network, MAC, IPv4 address or "") of a device's key."""
    network, _, rest = device.partition(" ")
    mac, _, address = rest.partition(" ")
    return network, mac, address


class Gateway(Protocol):
    """Opens and shuts the way to the Internet. All three verbs may be repeated without harm."""

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        """Let devices through on their terms; returns when their packets flow.

        Raises `GatewayError`.
        """

    async def deny(self, devices: Collection[str]) -> None:
        """Shut devices out; flows they have under way end. Raises `GatewayError`."""

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:
        """The devices let through now, with what they took when *counts*. Raises `GatewayError`."""

    async def close(self) -> None:
        """Give back what is held; leases stay in force."""


class OpenGateway:
    """For demonstrations: nothing stands between a device and the Internet; leases are only remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        """Remember the leases."""
        now = self._clock()
        self._ends.update({device: now + terms.seconds for device, terms in leases.items()})

    async def deny(self, devices: Collection[str]) -> None:
        """Forget the leases."""
        for device in devices:
            self._ends.pop(device, None)

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:  # noqa: ARG002 - nothing is counted
        """The leases that have not run out."""
        now = self._clock()
        self._ends = {device: end for device, end in self._ends.items() if end > now}
        return {device: Lease(seconds=round(end - now)) for device, end in self._ends.items()}

    async def close(self) -> None:
        """Nothing is held."""


class GateClient:
    """Talks to the gate process over the Unix socket at *path*.

    Concurrent calls share one connection without waiting for each other. A lost connection is made
    again with growing pauses, and what was under way is asked again (every verb may be repeated), so
    that a restart of the gate goes unnoticed; after `TIMEOUT` seconds the call fails.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        """See `Gateway.allow`."""
        for some in _cut(list(leases.items())):
            await self._ask(partial(Allow, leases=dict(some)))

    async def deny(self, devices: Collection[str]) -> None:
        """See `Gateway.deny`."""
        for some in _cut(list(devices)):
            await self._ask(partial(Deny, devices=list(some)))

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:
        """See `Gateway.list`."""
        return (await self._ask(partial(List, counts=counts))).leases

    async def close(self) -> None:
        """Hang up."""
        if self._line:
            await self._line.close()
            self._line = None

    async def _ask(self, make: Callable[[int], Request]) -> Answer:
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._ask_until_answered(make)
        except TimeoutError:
            raise GatewayError(
                f"the gate does not answer at {self._path}; is it running? ({to_start('wificrm-gate')})"
            ) from None
        if answer.error:
            raise GatewayError(f"the gate refused: {answer.error}")
        return answer

    async def _ask_until_answered(self, make: Callable[[int], Request]) -> Answer:
        pause = 0.02
        while True:
            try:
                line = await self._connected()
                return await line.ask(make)
            except PermissionError:
                raise GatewayError(
                    f"{self._path}: this user may not speak to the gate; run as root or join gate.group"
                ) from None
            except OSError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    async def _connected(self) -> "_Line":
        async with self._connecting:
            if self._line is None or self._line.broken:
                if self._line:
                    await self._line.close()
                self._line = None
                reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_ANSWER)
                self._line = _Line(reader, writer)
            return self._line


class _Line:
    """One connection: numbers requests and hands each answer to whoever waits for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._lost: Exception = ConnectionResetError()
        self._listening = asyncio.create_task(self._listen())

    @property
    def broken(self) -> bool:
        """Whether nothing more will be answered here."""
        return self._listening.done()

    async def ask(self, make: Callable[[int], Request]) -> Answer:
        """Send a request, wait for its answer. Raises `ConnectionError` when the connection is lost."""
        if self.broken:
            raise self._lost
        number = next(self._numbers)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._writer.write(msgspec.json.encode(make(number)) + b"\n")
            await self._writer.drain()
            return await waiting
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """End the connection and whoever still waits on it."""
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        decode = msgspec.json.Decoder(Answer).decode
        try:
            while text := await self._reader.readline():
                answer = decode(text)
                if answer.id == 0:  # said of the connection itself, which the gate now closes
                    self._lost = GatewayError(f"the gate refused: {answer.error}")
                    break
                waiting = self._waiting.get(answer.id)
                if waiting and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, ValueError):  # cut off, or not our gate's words
            pass
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(self._lost)


def _cut(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), MAX_DEVICES):
        yield items[start : start + MAX_DEVICES]
