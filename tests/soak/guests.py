"""What devices do at a venue, from those that answer everything to those that speak no HTTP."""

import asyncio
import contextlib
import math
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from tests.soak.crowd import ACTION, LOCATION, SETTLE, TOKEN, WORLD4, WORLD6, Crowd, Slot, found, status
from tests.soak.venue import EXTENSION, IDLE, LEASE, HurriedGateway

PATIENCE = 30.0
"""Seconds for which a device tries again: portal and gate are restarted under its feet."""
LATE = 6.0
"""Seconds after its time within which a grant must have ended: two looks, and a loaded machine."""
KICKED = 60.0
"""Seconds after which who was sent away is out even where the portal is just being restarted on a busy machine."""
ENDS = {
    "leave": 34, "look": 10, "return": 8, "expire": 8, "extend": 5, "idle": 4, "spend": 4, "kick": 9,
    "half": 6, "noise": 12,
}  # fmt: skip
"""How visits end: of a hundred, so many."""
QUICK_ENDS = {"leave": 8, "kick": 1, "noise": 1}
NOISE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    b"GET / HTTP/1.1\r\nHost: " + b"a" * 9_000 + b"\r\n\r\n",
    b"POST /vi/skip HTTP/1.1\r\nHost: 192.168.50.1\r\nContent-Length: 999999999\r\nConnection: close\r\n\r\nr=1",
    b"GET /%ff%00../../etc/passwd HTTP/1.1\r\nHost: 192.168.50.1\r\nConnection: close\r\n\r\n",
    b"POST /vi/survey/A0 HTTP/1.1\r\nHost: 192.168.50.1\r\nContent-Length: 9\r\n\r\nvalue=\xff\xfe!",
    b"FOO BAR\r\n\r\n",
)


class RefusedError(Exception):
    """The venue did not do what it owes its guests."""


class Guests:
    """Plays devices on a crowd's slots, and counts how it went."""

    def __init__(self, gateway: HurriedGateway, crowd: Crowd, ends: Mapping[str, int]) -> None:
        """*ends*: how visits end, and how often (as `ENDS`)."""
        self._gateway = gateway
        self._ends, self._often = list(ends), list(ends.values())
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        for slot in crowd.slots:
            self._free.put_nowait(slot)
        self._days: dict[str, int] = {}
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []

    async def play(self, number: int) -> None:
        """One device, from its join to its leaving."""
        chance = random.Random(number)
        mac = f"02:50:{number >> 24:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        end = chance.choices(self._ends, weights=self._often)[0]
        slot = await self._free.get()
        self.done["joins"] += 1
        try:
            slot.become(mac)
            await asyncio.sleep(SETTLE)
            await self._live(slot, end, chance)
            if end == "return":
                slot.become(slot.own_mac)
                self._free.put_nowait(slot)
                await asyncio.sleep(LEASE + 2)
                slot = await self._free.get()
                slot.become(mac)
                await asyncio.sleep(SETTLE)
                await self._come_back(slot)
        except Exception as error:
            self.failures.append(f"{end}: {error!r}")
        finally:
            self._free.put_nowait(slot)

    async def _live(self, slot: Slot, end: str, chance: random.Random) -> None:
        if end == "noise":
            await self._make_noise(slot, chance)
        elif end == "half":
            slot.lingering.append(await self._half_open(slot))
        if chance.random() < 0.5:
            await self._tried(
                lambda: slot.get("/generate_204", "connectivitycheck.gstatic.com", WORLD4), 302, 204
            )
        page = await self._tried(lambda: slot.get("/vi"), 200, 303)
        if end == "look":
            self.done["looked only"] += 1
            return
        await self._get_online(slot, page, chance)
        self.done["grants"] += 1
        self._days[slot.mac] = self._gateway.days
        await self._use(slot)
        await getattr(self, f"_then_{end}", self._then_leave)(slot)

    async def _get_online(self, slot: Slot, page: bytes, chance: random.Random) -> None:
        token, action = found(TOKEN, page), found(ACTION, page)
        if action and chance.random() < 0.5:  # who was asked today is not asked again
            # 400: the page was still that of the device which had this address a moment before.
            answer = await self._tried(lambda: slot.post(action, f"r={token}&value=done"), 303, 409, 400)
            if status(answer) == 303 and chance.random() < 0.5:
                where = found(LOCATION, answer).partition("?")[0]
                await self._tried(lambda: slot.post(where, f"r={token}&value=5"), 303, 409, 404)
            self.done["answered"] += 1
        answer = await self._tried(lambda: slot.post("/vi/skip", f"r={token}"), 303)
        if found(LOCATION, answer) != "/vi/online":
            raise RefusedError(f"skip leads to {found(LOCATION, answer)}")

    async def _use(self, slot: Slot) -> None:
        """Both families, TCP and UDP; a restart or a flush in this moment may cost a few tries."""
        await self._until(slot, lambda: slot.echo(WORLD4), "no TCP over IPv4")
        await self._until(slot, lambda: slot.echo(WORLD6), "no TCP over IPv6")
        await self._until(slot, lambda: slot.echo(WORLD4, kind=socket.SOCK_DGRAM), "no UDP over IPv4")
        await self._until(slot, lambda: slot.echo(WORLD6, kind=socket.SOCK_DGRAM), "no UDP over IPv6")

    # -- how it ends ------------------------------------------------------------------------------

    async def _then_leave(self, slot: Slot) -> None:
        self.done["left without a word"] += 1

    async def _then_expire(self, slot: Slot) -> None:
        await self._must_end(slot, WORLD4, LEASE + LATE, "its grant")
        self.done["expired under traffic"] += 1

    async def _then_extend(self, slot: Slot) -> None:
        try:
            await asyncio.to_thread(self._gateway.ask, "portal", "extend", f"guest {slot.mac}")
        except (OSError, RuntimeError):
            return  # it is just being restarted
        await self._must_end(slot, WORLD6, LEASE + EXTENSION + LATE, "its extension")
        self.done["extended"] += 1

    async def _must_end(self, slot: Slot, target: str, seconds: float, what: str) -> None:
        """Who is heard from again the same day goes on without being asked; its book says so then."""
        if await slot.flow(target, timeout=seconds) > seconds - 1:
            book = await asyncio.to_thread(self._gateway.ask, "portal", "book")
            if f"guest {slot.mac}" not in book:
                raise RefusedError(f"a flow outlived {what}")
            self.done["went on unasked"] += 1

    async def _then_idle(self, slot: Slot) -> None:
        await asyncio.sleep(IDLE + 2)
        self.done["idle"] += 1

    async def _then_spend(self, slot: Slot) -> None:
        before = await self._end_of(slot)
        await slot.download(WORLD4, 1_500_000)
        more = await slot.download(WORLD6, 1_500_000)
        if (
            more >= 1_500_000 and abs(await self._end_of(slot) - before) < 0.5
        ):  # or it was let in anew in between
            raise RefusedError("more was taken than is allowed")
        self.done["spent"] += 1

    async def _end_of(self, slot: Slot) -> float:
        """When its grant ends (monotonic); a number like no other where it has none, or the portal is restarted."""
        with contextlib.suppress(OSError, RuntimeError, KeyError):
            book = await asyncio.to_thread(self._gateway.ask, "portal", "book")
            return asyncio.get_running_loop().time() + float(book[f"guest {slot.mac}"])
        return math.nan

    async def _then_kick(self, slot: Slot) -> None:
        flow = asyncio.create_task(slot.flow(WORLD4, timeout=KICKED))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(self._gateway.wish, f"guest {slot.mac}")
        if await flow > KICKED - 1:
            raise RefusedError("a flow outlived a kick")
        self.done["kicked"] += 1

    async def _come_back(self, slot: Slot) -> None:
        """The same day it is let in unasked; the next day its first probe meets the portal."""
        day = self._gateway.days
        answer = await self._tried(lambda: slot.get("/", "connectivitycheck.gstatic.com", WORLD4), 302, 204)
        if self._days.pop(slot.mac, -1) != day:
            self.done["returned another day"] += 1
            return
        if await slot.echo(WORLD4) or self._gateway.days != day:
            self.done["returned unasked"] += 1
            return
        await self._until(
            slot, lambda: slot.echo(WORLD4), f"a returning guest is not let in ({status(answer)})"
        )

    # -- what is no guest's way -------------------------------------------------------------------

    async def _make_noise(self, slot: Slot, chance: random.Random) -> None:
        for data in chance.sample(NOISE, 2):
            with contextlib.suppress(OSError, TimeoutError):  # refused or left waiting, as it deserves
                await slot.send("192.168.50.1", 80, data, timeout=3)
        self.done["noise"] += 1

    async def _half_open(self, slot: Slot) -> socket.socket:
        sock = slot.open("192.168.50.1", socket.SOCK_STREAM)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(3):
                await loop.sock_connect(sock, ("192.168.50.1", 80))
                await loop.sock_sendall(sock, b"POST /vi/skip HTTP/1.1\r\nHost: 192.")
        self.done["half-open"] += 1
        return sock

    # -- patience ---------------------------------------------------------------------------------

    async def _tried(self, request: Callable[[], Awaitable[bytes]], *wanted: int) -> bytes:
        until, answer, failed = asyncio.get_running_loop().time() + PATIENCE, b"", ""
        while asyncio.get_running_loop().time() < until:
            try:
                answer = await request()
                if status(answer) in wanted:
                    return answer
                failed = f"status {status(answer)}"
            except (OSError, TimeoutError) as error:
                failed = repr(error)
            self.done["tries again"] += 1
            await asyncio.sleep(0.25)
        raise RefusedError(f"{failed}, not {wanted}: {answer[:80]!r}")

    async def _until(self, slot: Slot, works: Callable[[], Awaitable[bool]], sentence: str) -> None:
        """While something is broken a short lease may end unused: then a probe brings the next one."""
        until = asyncio.get_running_loop().time() + PATIENCE
        while not await works():
            if asyncio.get_running_loop().time() > until:
                raise RefusedError(sentence)
            self.done["tries again"] += 1
            await asyncio.sleep(0.25)
            page = await self._tried(lambda: slot.get("/vi"), 200, 303)
            if status(page) == 200:
                form = f"r={found(TOKEN, page)}"
                await self._tried(lambda form=form: slot.post("/vi/skip", form), 303)  # type: ignore[misc]
