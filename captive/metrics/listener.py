"""Where figures, health and readiness are told: a listener of its own, which guests cannot reach.

Guests' packets get no further than the portal's ports (`captive.kernel.ruleset`), whatever address this is on.
"""

import asyncio
import contextlib

import structlog
from aiohttp import hdrs, web

from captive.metrics import readiness
from captive.metrics.exposition import CONTENT_TYPE
from captive.metrics.figures import Figures
from captive.metrics.sources import Sources
from captive.request_handler import speaking_http
from crm.settings import Settings

log = structlog.get_logger()

MAX_CONNECTIONS = 64
"""At once at most; what comes beyond is hung up on."""
IDLE_SECONDS = 30.0
_PLAIN = {hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}


class Desk:
    """Answers those who look after the portal."""

    def __init__(self, sources: Sources) -> None:
        self._sources, self._figures = sources, Figures(sources)

    async def metrics(self, _request: web.Request) -> web.Response:
        """The figures."""
        text = await self._figures.text()
        return web.Response(body=text.encode(), headers={**_PLAIN, hdrs.CONTENT_TYPE: CONTENT_TYPE})

    async def healthz(self, _request: web.Request) -> web.Response:
        """Whether the process is alive; it answers, so it is."""
        return web.Response(text="ok\n", headers=_PLAIN)

    async def readyz(self, _request: web.Request) -> web.Response:
        """Whether guests are served as they should be."""
        parts = readiness.look(self._sources)
        status = 200 if readiness.is_ready(parts) else 503
        return web.Response(text=readiness.as_text(parts), status=status, headers=_PLAIN)


class _Full(asyncio.Protocol):
    """What meets a connection too many: its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hang up."""
        transport.close()


async def start_metrics(stack: contextlib.AsyncExitStack, sources: Sources) -> None:
    """Listen where the settings say; *stack* closes. Without a port nobody does.

    A port that cannot be had is told in the log, and no reason not to serve guests.
    """
    settings: Settings = sources.settings
    address, port = settings.metrics.address, settings.metrics.port
    if not port:
        return
    desk = Desk(sources)
    app = web.Application(client_max_size=1)
    app.add_routes([web.get(f"/{each.__name__}", each) for each in (desk.metrics, desk.healthz, desk.readyz)])
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None  # noqa: S101 - set up above
    server, protocol = runner.server, speaking_http(runner.server, keepalive_timeout=IDLE_SECONDS)
    try:
        listening = await asyncio.get_running_loop().create_server(
            lambda: protocol() if len(server.connections) < MAX_CONNECTIONS else _Full(), address, port
        )
    except OSError as error:
        log.error("nobody can ask for metrics", port=port, reason=error.strerror)  # noqa: TRY400
        return
    stack.callback(listening.close)
