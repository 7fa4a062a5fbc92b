"""Bounds on the connections that guests hold to the portal: how long each, and how many together.

aiohttp ends a connection on which no whole request head arrives in time (``keepalive_timeout``), and a form
has a deadline of its own (`crm.web.read_body`). What is left is who reads slowly, or holds more connections
than the portal can bear. nft lets one device have a hundred; this looks at all of them together.
"""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator

from aiohttp import web

MAX_CONNECTIONS = 4_096
"""Connections at once at most: about 10 kB each. Two thousand phones hold fewer."""
LIFE = 60.0
"""Seconds after which any connection ends; a phone that still wants something opens the next one."""
HEAD_SECONDS = 15.0
"""Within which a request's head is to be there, and how long a connection waits for the next request."""
HANDSHAKE_SECONDS = 10.0
"""Within which TLS is to be agreed on."""
LOOK_EVERY = 1.0


@contextlib.asynccontextmanager
async def bounded(server: web.Server) -> AsyncIterator[None]:
    """Keep the connections of *server* within bounds while the context is open."""
    most = min(MAX_CONNECTIONS, _descriptors() // 2)
    watching = asyncio.create_task(_watch(server, most), name="connections")
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(server: web.Server, most: int) -> None:
    """Cut what is too old; where there are too many, the oldest: a guest's own last for milliseconds."""
    loop = asyncio.get_running_loop()
    seen: dict[web.RequestHandler, float] = {}
    while True:
        now, oldest_first = loop.time(), server.connections
        seen = {each: seen.get(each, now) for each in oldest_first}
        crowd = len(oldest_first) - most
        for number, (each, since) in enumerate(seen.items()):
            if (number < crowd or now - since > LIFE) and each.transport is not None:
                each.transport.abort()  # `close` would wait until the other side has read everything
        await asyncio.sleep(LOOK_EVERY)


def _descriptors() -> int:
    """How many files and sockets this process may hold, once it has asked for as many as it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(4 * MAX_CONNECTIONS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
