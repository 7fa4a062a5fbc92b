"""The soak itself: devices come and go, things break and days pass; what is held is measured throughout."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lab.certificates import Authority
from tests.lab.namespace import Run, sweep
from tests.soak.crowd import Crowd
from tests.soak.guests import ENDS, Guests
from tests.soak.venue import EXTENSION, LEASE, HurriedGateway, World

Trouble = tuple[str, str]
SLOTS = 320
TROUBLES = (
    (("portal", "stop"), ("table", "flush")),
    (("gate", "kill"), ("portal", "kill")),
    (("ruleset", "flush"), ("gate", "stop")),
    (("both", "kill"), ("ruleset", "flush")),
)
"""What breaks, by round, at a third and at two thirds of it; processes are left alone after that, to be measured."""
LATER = (("ruleset", "flush"), ("table", "flush"))
"""What breaks in every third round after those."""


TIMED = {"rate": 60, "speaking": 60, "heard": 120, "asking": 60, "told": 60, "visiting": 120}
"""Seconds after which elements of a set (by the beginning of its name) end by themselves."""
DRAINED = 60
"""Seconds after the last grant's time within which the book is empty on the busiest machine."""
SWEPT = 60
"""Seconds within which a gate that is busy has swept out what was counted of those who are gone; idle, it takes two."""


@dataclass
class Stock:
    """What is held after so many *joins*: everybody's grant has ended, and it is just after midnight."""

    joins: int
    portal: dict[str, Any]
    gate: dict[str, Any]
    elements: dict[str, int]
    flows: list[str]
    sockets: dict[str, int]
    neighbours: int
    files: dict[str, int]
    rows: dict[str, int]


@dataclass
class Outcome:
    """How a soak went."""

    joins: int
    seconds: float = 0
    most_online: int = 0
    stocks: list[Stock] = field(default_factory=list)
    last: Stock | None = None
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)


class Soak:
    """*rounds* of *joins* devices each, *rate* a second, with two midnights; after each round all leave."""

    def __init__(
        self,
        rounds: int,
        joins: int,
        *,
        rate: float,
        rest: float,
        troubled: int = 4,
        ends: Mapping[str, int] = ENDS,
        leak: str = "-",
    ) -> None:
        """*rest*: seconds to wait at the end, so that what times out in the kernel has done so.

        *troubled*: rounds in which processes are restarted under everybody's feet. *ends*: how visits end.
        *leak*: ``some`` plants faults.
        """
        self.outcome = Outcome(rounds * joins)
        self._rounds, self._joins, self._rate, self._rest = rounds, joins, rate, rest
        self._troubled, self._ends, self._leak = troubled, ends, leak
        self._one_at_a_time = asyncio.Lock()

    async def run(self, within: float) -> Outcome:
        """Do it all. Raises `TimeoutError` when that takes more than *within* seconds."""
        async with asyncio.timeout(within), self._venue() as (gateway, guests):
            self.outcome.stocks.append(await asyncio.to_thread(_take_stock, gateway, 0))
            for number in range(self._rounds):
                began = time.monotonic()
                await self._round(gateway, guests, number)
                self.outcome.seconds += time.monotonic() - began
                await self._drain(gateway)
                await self._midnight(gateway)
                self.outcome.stocks.append(
                    await asyncio.to_thread(_take_stock, gateway, guests.done["joins"])
                )
            await asyncio.sleep(self._rest)
            for _ in range(SWEPT):
                self.outcome.last = await asyncio.to_thread(_take_stock, gateway, guests.done["joins"])
                if not left_over(self.outcome.last, self._rest):
                    break
                await asyncio.sleep(1)
            self.outcome.done, self.outcome.failures = guests.done, guests.failures
            self.outcome.logs = _complaints(gateway)
        return self.outcome

    async def _round(self, gateway: HurriedGateway, guests: Guests, number: int) -> None:
        first, second = self._troubles_of(number)
        at = {self._joins // 3: first, 2 * self._joins // 3: second}
        playing: set[asyncio.Task[None]] = set()
        events: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        for join in range(self._joins):
            while len(playing) >= 2 * SLOTS:
                await asyncio.wait(playing, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(guests.play(number * self._joins + join))
            playing.add(task)
            task.add_done_callback(playing.discard)
            await asyncio.sleep(max(0.0, began + join / self._rate - loop.time()))
            if join in at:
                events.append(asyncio.create_task(self._trouble(gateway, at[join])))
            elif join == self._joins // 2:
                events.append(asyncio.create_task(self._midnight(gateway)))
        await asyncio.gather(*events)
        online, differences = await asyncio.to_thread(_compare, gateway)
        self.outcome.most_online = max(self.outcome.most_online, online)
        self.outcome.differences += differences
        await asyncio.gather(*playing)

    def _troubles_of(self, number: int) -> tuple[Trouble, Trouble]:
        if number < self._troubled:
            return TROUBLES[number % len(TROUBLES)]
        return LATER if number % 3 == 0 else (("", ""), ("", ""))

    async def _trouble(self, gateway: HurriedGateway, trouble: Trouble) -> None:
        async with self._one_at_a_time:
            await asyncio.to_thread(_make_trouble, gateway, *trouble)

    async def _midnight(self, gateway: HurriedGateway) -> None:
        """Let a day pass; returns when the portal has noticed."""
        async with self._one_at_a_time:
            before = (await asyncio.to_thread(gateway.ask, "portal", "stock"))["day"]
            gateway.pass_midnight()
            for _ in range(200):
                if (await asyncio.to_thread(gateway.ask, "portal", "stock"))["day"] != before:
                    return
                await asyncio.sleep(0.1)

    async def _drain(self, gateway: HurriedGateway) -> None:
        """Everybody has left: wait until the last grant has ended, and the stores rest."""
        for _ in range(round((LEASE + EXTENSION + DRAINED) / 0.25)):
            if not await asyncio.to_thread(gateway.ask, "portal", "book"):
                break
            await asyncio.sleep(0.25)
        await asyncio.sleep(1.5)

    @contextlib.asynccontextmanager
    async def _venue(self) -> AsyncIterator[tuple[HurriedGateway, Guests]]:
        with contextlib.ExitStack() as stack:
            sweep()
            run = Run()
            stack.callback(run.close)
            gateway = HurriedGateway(run, Authority(run.folder / "authority"), leak=self._leak)
            stack.callback(gateway.close)
            world = World(run, gateway.namespace)
            stack.callback(world.namespace.close)
            crowd = Crowd(run, gateway.namespace, SLOTS)
            stack.callback(crowd.close)
            await asyncio.to_thread(gateway.start)
            async with world.open():
                with crowd.entered():
                    yield gateway, Guests(gateway, crowd, self._ends)


def _make_trouble(gateway: HurriedGateway, what: str, how: str) -> None:
    if what == "table":
        gateway.namespace.run("nft", "flush", "table", "inet", "wificrm")
    elif what == "ruleset":
        gateway.namespace.run("nft", "flush", "ruleset")
    elif what:
        for name in ("gate", "portal") if what == "both" else (what,):
            gateway.restart(name, kill=how == "kill")
        gateway.wait()


def _take_stock(gateway: HurriedGateway, joins: int) -> Stock:
    return Stock(
        joins,
        gateway.ask("portal", "stock"),
        gateway.ask("gate", "stock"),
        gateway.elements(),
        gateway.flows(),
        gateway.sockets(),
        gateway.neighbours(),
        gateway.files(),
        gateway.rows(),
    )


def left_over(stock: Stock, rest: float) -> dict[str, int]:
    """{set: elements} that nobody has taken out and that have not timed out within *rest* seconds."""
    ends = {
        name: next((s for start, s in TIMED.items() if name.startswith(start)), 0) for name in stock.elements
    }
    return {name: size for name, size in stock.elements.items() if size and ends[name] <= rest}


def _complaints(gateway: HurriedGateway) -> list[str]:
    return [
        line
        for name in ("portal", "gate")
        for line in gateway.log(name).splitlines()
        if "Traceback" in line or "level='error'" in line
    ]


def _compare(gateway: HurriedGateway, within: float = 10) -> tuple[int, list[str]]:
    """How many are online; where store, book and kernel differ, of the grants that are in no hurry to end."""
    until = time.monotonic() + within
    while True:
        kernel = {f"guest {mac}": left for mac, left in gateway.allowed().items()}
        book = gateway.ask("portal", "book")
        stored = gateway.stored()
        lasting = {device for device, left in book.items() if left > 2}
        told = {
            "in the book, not in the store": lasting - stored,
            "in the book, not in the kernel": lasting - kernel.keys(),
            "in the kernel, not in the book": {d for d, left in kernel.items() if left > 2} - book.keys(),
            "in the store, not in the book": stored - book.keys(),
        }
        wrong = [f"{len(devices)} {where}" for where, devices in told.items() if devices]
        if not lasting:
            wrong.append("nobody is online to be compared")
        if not wrong or time.monotonic() > until:
            return len(book), wrong
        time.sleep(0.3)
