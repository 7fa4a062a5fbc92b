"""Messages to the webhook: one at a time, again after a pause while it is away, never holding up the watch."""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import structlog

log = structlog.get_logger()

MAX_WAITING = 100
"""Messages that wait at most; then the oldest go."""
TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
PAUSES = (5.0, 15.0, 60.0, 300.0)
"""Seconds between attempts, the last one ever again."""
EXPIRES = 24 * 3600.0
"""Seconds after which a message is too old to help."""
TRY_AGAIN = (408, 425, 429)
"""Refusals that may pass by themselves; so may everything from 500 on."""


class _Letter(NamedTuple):
    body: Mapping[str, object]
    written: float


class Webhook:
    """Delivers to *address*; make it inside the loop, `close` it. *pauses* are for tests."""

    def __init__(self, address: str, pauses: tuple[float, ...] = PAUSES) -> None:
        self._address, self._pauses = address, pauses
        self._host = urlsplit(address).hostname  # the rest of an address is often its password
        self._waiting: deque[_Letter] = deque(maxlen=MAX_WAITING)
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._deliver(), name="webhook")

    def post(self, body: Mapping[str, object]) -> None:
        """Send *body* as JSON as soon as may be."""
        if len(self._waiting) == MAX_WAITING:
            log.warning("the webhook is behind: its oldest message is dropped", host=self._host)
        self._waiting.append(_Letter(body, asyncio.get_running_loop().time()))
        self._idle.clear()
        self._wake.set()

    async def close(self, patience: float = 3.0) -> None:
        """Give what waits *patience* seconds, then stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), patience)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context())
        async with aiohttp.ClientSession(timeout=TIMEOUT, connector=trusted) as session:
            while True:
                while not self._waiting:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                letter = self._waiting[0]
                if loop.time() - letter.written > EXPIRES:
                    self._waiting.popleft()
                    continue
                problem = await self._send(session, letter)
                if not problem:
                    if failures:
                        log.info("the webhook takes messages again", host=self._host)
                    failures = 0
                    if self._waiting and self._waiting[0] is letter:  # it may have been dropped meanwhile
                        self._waiting.popleft()
                    continue
                if not failures:
                    log.warning(
                        "the webhook takes no message; it is tried again", host=self._host, reason=problem
                    )
                await asyncio.sleep(self._pauses[min(failures, len(self._pauses) - 1)])
                failures += 1

    async def _send(self, session: aiohttp.ClientSession, letter: _Letter) -> str:
        """Why it has to be sent again; "" when it has not."""
        try:
            async with session.post(self._address, json=letter.body, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return type(error).__name__
        if status >= 500 or status in TRY_AGAIN:
            return f"HTTP {status}"
        if status >= 300:
            log.error(
                "the webhook refuses a message for good; look at watch.webhook",
                host=self._host,
                status=status,
            )
        return ""
