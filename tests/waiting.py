"""Waiting for what has to come about: as long as a busy machine may take, and no longer than it does."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

LONG = 30.0
"""Seconds that nothing takes which comes about at all."""


async def until(holds: Callable[[], object | Awaitable[object]], seconds: float = LONG) -> None:
    """Return as soon as *holds* (a function or a coroutine function) says so. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.02)
