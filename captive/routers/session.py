"""One stream to a router: what is to be said, put into signed lines one after the other."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from captive.gateway import GatewayError, Terms
from captive.routers.mirror import Mirror
from captive.routers.wire import ReportHead, add_order, is_report, order_texts, signed_line

PING_SECONDS = 10.0
"""Between two looks; a router that was told nothing else is then told that we are there."""
SALT_SECONDS = 300.0
REPORT_SECONDS = 40.0
"""Without a report for so long the router is gone: it reports every ten."""
WINDOW, MAX_IN_WINDOW = 10.0, 100
"""Seconds, and reports in them at most: a router sends one a second, and ends where it sends many more."""
MAX_WAITING = 20_000
"""Devices of which the router has still to be told, or to say that it has done so; a link with more of them is cut."""


class Opening(NamedTuple):
    """How a stream begins: who speaks, with which keys."""

    id: str
    down: bytes
    up: bytes


class Session:
    """The stream of one router from its beginning to its end."""

    def __init__(
        self,
        opening: Opening,
        config: Callable[[], str],
        new_salt: Callable[[], str],
        still_good: Callable[[], bool],
    ) -> None:
        """*still_good*: whether the router still is who it was when it came (its key may have been changed)."""
        self.opening = opening
        self.mirror = Mirror()
        self.reports = 0
        """The number of the last report."""
        self._config, self._new_salt, self._still_good = config, new_salt, still_good
        self._orders: dict[str, Terms | None] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._number = 0
        self._heard = self._window = asyncio.get_running_loop().time()
        self._in_window = 0
        self.ended = False

    def takes(self, head: ReportHead, report: bytes) -> bool:
        """Whether the report is of this session, signed, and newer than the last one."""
        if self.ended or head.number <= self.reports or not is_report(self.opening.up, head, report):
            return False
        self.reports = head.number
        now = asyncio.get_running_loop().time()
        if now - self._window >= WINDOW:
            self._window, self._in_window = now, 0
        self._in_window += 1
        if self._in_window > MAX_IN_WINDOW:
            self.end()
            return False
        self._heard = now
        return True

    def order(self, mac: str, terms: Terms | None) -> None:
        """Let the router be told of *mac*: its terms, or (None) that it is shut out."""
        self.mirror.say(mac, terms, asyncio.get_running_loop().time())
        add_order(self._orders, mac, terms)
        self._wake.set()
        if len(self.mirror.said) > MAX_WAITING:
            self.end()

    async def written(self) -> None:
        """Wait until all orders so far are on their way. Raises `GatewayError` when the stream ends before."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        if self.ended:
            self.end()
        await waiting

    def end(self) -> None:
        """Let the stream end; whoever waits for it hears so."""
        self.ended = True
        self._wake.set()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_exception(GatewayError("the connection to the router was lost"))

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """What is to be sent, each line when it is due, until the session ends.

        Whoever takes the next line has sent the one before.
        """
        config = self._config()
        yield self._line(f"hello {self.opening.id}")
        yield self._line(config)
        yield self._line(f"salt {self._new_salt()}")
        loop = asyncio.get_running_loop()
        salted = loop.time()
        due = salted + PING_SECONDS
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.0, due - loop.time()))
            waiting = len(self._waiting)
            lines = self._take_orders()
            if (now := loop.time()) >= due:
                if now - self._heard > REPORT_SECONDS or not self._still_good():
                    return
                due = now + PING_SECONDS
                if (fresh := self._config()) != config:
                    config = fresh
                    lines.append(self._line(config))
                if now - salted >= SALT_SECONDS:
                    salted = now
                    lines.append(self._line(f"salt {self._new_salt()}"))
                lines = lines or [self._line("ping")]
            for line in lines:
                yield line
            sent, self._waiting = self._waiting[:waiting], self._waiting[waiting:]
            for each in sent:
                if not each.done():
                    each.set_result(None)

    def _take_orders(self) -> list[bytes]:
        """The lines for what waits: numbered all at once, before anything newer is said of the same devices."""
        self._wake.clear()
        orders, self._orders = self._orders, {}
        lines = []
        for text, macs in order_texts(orders):
            lines.append(self._line(text))
            self.mirror.written(macs, self._number)
        return lines

    def _line(self, text: str) -> bytes:
        self._number += 1
        return signed_line(self.opening.down, self._number, text)
