"""Bounds on the connections that a listener holds, all of them together: how many, and for how long.

aiohttp ends a connection on which no whole request head arrives in time (``keepalive_timeout``). What is left is
who reads slowly, or holds more connections than we can bear.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from aiohttp import web

LOOK_EVERY = 1.0


@contextlib.asynccontextmanager
async def limited(
    server: web.Server, most: int, life: float, lasting: Collection[asyncio.BaseTransport] = ()
) -> AsyncIterator[None]:
    """Keep the connections of *server* within bounds while the context is open.

    *most* at once, each for *life* seconds, but for those that are *lasting* now.
    """
    watching = asyncio.create_task(_watch(server, most, life, lasting), name="connections")
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(
    server: web.Server, most: int, life: float, lasting: Collection[asyncio.BaseTransport]
) -> None:
    """Cut what is too old; where there are too many, the oldest: a guest's own last for milliseconds."""
    loop = asyncio.get_running_loop()
    seen: dict[web.RequestHandler, float] = {}
    while True:
        now, oldest_first = loop.time(), server.connections
        seen = {each: seen.get(each, now) for each in oldest_first if each.transport not in lasting}
        crowd = len(oldest_first) - most
        for number, (each, since) in enumerate(seen.items()):
            if (number < crowd or now - since > life) and each.transport is not None:
                each.transport.abort()  # `close` would wait until the other side has read everything
        await asyncio.sleep(LOOK_EVERY)
