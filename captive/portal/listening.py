"""The sockets of portal and console. A form has a deadline of its own (`crm.web.read_body`)."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from captive.certificate import Certificate
from captive.connection_limits import limited
from captive.portal.kept_sockets import KeptSockets
from captive.request_handler import speaking_http
from captive.tls_listener import bind, listening
from crm.errors import SetupError
from crm.settings import Settings

MAX_CONNECTIONS = 4_096
"""Connections at once at most: about 10 kB each. Two thousand phones hold fewer."""
LIFE = 60.0
"""Seconds after which any connection ends; a phone that still wants something opens the next one."""
HEAD_SECONDS = 15.0
"""Within which a request's head is to be there, and how long a connection waits for the next request."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused form is read and dropped, so that its sender gets to reading why."""
BACKLOG = 1_024
"""Connections that wait to be taken, say while the portal restarts."""

Protocols = Callable[[], asyncio.Protocol]
NO_REQUEST = (HttpProcessingError, web.RequestPayloadError)


class _Requests(logging.Filter):
    """Drops what aiohttp says, as an error, of what is no request or no body: strangers do not fill our journal."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* is of a fault of ours."""
        return not (record.exc_info and isinstance(record.exc_info[1], NO_REQUEST))


_requests = _Requests()


async def listen(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    portal: web.Application,
    console: web.Application,
    certificate: Certificate,
    host: str | None,
) -> None:
    """Open the sockets: the portal's on *host* (None: every address), the console's on its own.

    *stack* closes them. Raises `SetupError` when one cannot be had.
    """
    logging.getLogger("aiohttp.server").addFilter(_requests)
    guest, staff = [await _set_up(stack, each) for each in (portal, console)]
    await stack.enter_async_context(limited(guest, min(MAX_CONNECTIONS, _descriptors() // 2), LIFE))
    to_guests = speaking_http(guest, keepalive_timeout=HEAD_SECONDS, lingering_time=LINGER_SECONDS)
    tls = settings.portal.tls_port
    sites: list[tuple[str, Protocols, str | None, int, ssl.SSLContext | None]] = [
        ("portal.port", to_guests, host, settings.portal.port, None),
        ("console.port", speaking_http(staff), settings.console.address, settings.console.port, None),
        *([("portal.tls_port", to_guests, host, tls, certificate.context)] if settings.tls else []),
    ]
    kept = KeptSockets()
    for key, protocols, address, port, context in sites:
        try:
            await _open(stack, _sockets(kept, address, port), protocols, context)
        except OSError as error:
            raise SetupError(
                f"{key}: port {port} of {address or 'every address'} cannot be opened: {error.strerror}; "
                "is another program there?"
            ) from None
    kept.forget_rest()


async def _set_up(stack: contextlib.AsyncExitStack, application: web.Application) -> web.Server:
    """*application*, started; *stack* ends it."""
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=3)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None  # noqa: S101 - set up above
    return runner.server


def _sockets(kept: KeptSockets, address: str | None, port: int) -> list[socket.socket]:
    """Those of our predecessor where they were kept, or new ones. Raises OSError."""
    if left := kept.take(address, port):
        return left
    bound = bind(address, port, BACKLOG)
    kept.keep(address, port, (each.fileno() for each in bound))
    return bound


async def _open(
    stack: contextlib.AsyncExitStack,
    sockets: Sequence[socket.socket],
    protocols: Protocols,
    context: ssl.SSLContext | None,
) -> None:
    """Serve on *sockets*, behind TLS where there is a *context*; *stack* ends it."""
    if context:
        await stack.enter_async_context(listening(sockets, protocols, context))
        return
    for each in sockets:
        serving = await asyncio.get_running_loop().create_server(protocols, sock=each, backlog=BACKLOG)
        stack.callback(serving.close)


def _descriptors() -> int:
    """How many files and sockets this process may hold, once it has asked for as many as it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(4 * MAX_CONNECTIONS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
