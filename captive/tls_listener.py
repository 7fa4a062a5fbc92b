"""Listens behind TLS, with a bound on the handshakes under way.

A listener of ``loop.create_server(ssl=...)`` tells of a connection only once TLS is agreed on. Until then nobody
counts it, and each costs some 60 kB: ten thousand callers who say nothing would be the end of the process.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence

MOST = 256
"""Handshakes at once at most, some 15 MB; where more come, the oldest goes. An honest phone's takes milliseconds."""
SECONDS = 10.0
"""Within which TLS is to be agreed on."""
BREATH = 32
"""Connections taken before others have their turn."""
PAUSE = 0.1
"""Seconds of rest when none can be taken, say because too many files are open."""


@contextlib.asynccontextmanager
async def listening(
    sockets: Sequence[socket.socket], make: Callable[[], asyncio.Protocol], context: ssl.SSLContext
) -> AsyncIterator[None]:
    """Take connections on *sockets*, which listen already; each that agrees on TLS gets a protocol from *make*.

    The sockets are closed with the context; connections that have their protocol stay.
    """
    handshakes = Handshakes(make, context)
    taking = [asyncio.create_task(handshakes.take(each), name="TLS") for each in sockets]
    try:
        yield
    finally:
        for each in taking:
            each.cancel()
        await asyncio.gather(*taking, return_exceptions=True)
        await handshakes.close()
        for bound in sockets:
            bound.close()


class Handshakes:
    """Those under way, the oldest first."""

    def __init__(self, make: Callable[[], asyncio.Protocol], context: ssl.SSLContext) -> None:
        self._make, self._context = make, context
        self._waiting: dict[asyncio.Task[None], None] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._waiting)

    async def take(self, bound: socket.socket) -> None:
        """Take what comes to *bound*, until cancelled."""
        loop = asyncio.get_running_loop()
        bound.setblocking(False)
        while True:
            for _ in range(BREATH):
                try:
                    taken, _ = await loop.sock_accept(bound)
                except OSError:
                    await asyncio.sleep(PAUSE)
                else:
                    self._begin(taken)
            await asyncio.sleep(0)

    def _begin(self, taken: socket.socket) -> None:
        if len(self._waiting) >= MOST:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cancel()
        agreeing = asyncio.create_task(self._agree(taken))
        self._waiting[agreeing] = None
        agreeing.add_done_callback(self._end)

    async def _agree(self, taken: socket.socket) -> None:
        try:
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make, taken, ssl=self._context, ssl_handshake_timeout=SECONDS
            )
        except OSError:  # it spoke something else, hung up, or said nothing: strangers do
            taken.close()

    def _end(self, agreeing: asyncio.Task[None]) -> None:
        self._waiting.pop(agreeing, None)

    async def close(self) -> None:
        """End those under way."""
        left = list(self._waiting)
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def bind(address: str | None, port: int, backlog: int) -> list[socket.socket]:
    """Sockets that listen on *port* of *address* (None: every one, of both families). Raises OSError."""
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as unused:
        bound = []
        for family, kind, protocol, _, at in dict.fromkeys(found):
            try:
                each = unused.enter_context(socket.socket(family, kind, protocol))
            except OSError:  # a kernel without IPv6
                continue
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(at)
            each.listen(backlog)
            bound.append(each)
        unused.pop_all()
    return bound
