"""Where thin routers connect: a listener of its own over TLS, with bounds of its own.

A router holds one long answer open, and asks twice for each report; whoever else comes here knows no key.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Mapping

import structlog
from aiohttp import hdrs, web

from captive.certificate import Certificate
from captive.connection_limits import limited
from captive.request_handler import speaking_http
from captive.routers.keys import read_key
from captive.routers.link import RouterLink
from captive.routers.session import Session
from captive.routers.wire import (
    CHALLENGE_SECONDS,
    MAX_REPORT,
    MAX_STREAM_REQUEST,
    SESSION_LENGTH,
    StreamRequest,
    WireError,
    is_challenge,
    is_from_router,
    make_challenge,
    parse_report_head,
    parse_stream,
)
from captive.tls_listener import bind, listening
from crm.errors import SetupError
from crm.settings import Settings

log = structlog.get_logger()

MAX_CONNECTIONS = 1_024
"""At once at most: a router holds one, and one more while it reports."""
LIFE = 30.0
"""Seconds after which a connection ends that carries no stream."""
HEAD_SECONDS = 10.0
BODY_SECONDS = 10.0
"""Within which head and body of a request are to be there."""
WRITE_SECONDS = 10.0
"""Within which a router takes what it is told."""
BACKLOG = 100
"""Connections that wait to be taken."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused body is dropped before the connection is cut."""
READ_AHEAD = 16 * 1024
"""Bytes of a body that are taken in before anybody asks for them."""
TELL_EVERY = 60.0
NO_SESSION = "not of a session that is under way"

_PLAIN = {hdrs.CONTENT_TYPE: "text/plain", hdrs.CACHE_CONTROL: "no-store", hdrs.SERVER: "wificrm"}


class Reception:
    """Meets routers: gives challenges, lets streams begin, takes reports."""

    def __init__(self, settings: Settings, links: Mapping[str, RouterLink]) -> None:
        self._settings, self._links = settings, links
        self._key = os.urandom(32)
        self._used: dict[str, float] = {}
        self._refused, self._tell_at = 0, 0.0
        self.streaming: set[asyncio.BaseTransport] = set()
        """The connections that carry a stream: they may last."""

    async def challenge(self, _request: web.Request) -> web.Response:
        """Something to sign that nobody signed before."""
        return _say(200, make_challenge(self._key, secrets.token_hex(16), _now()))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The endless answer by which a router hears what it is to do."""
        body = await _read(request, MAX_STREAM_REQUEST)
        try:
            asked = parse_stream(body)
        except WireError as error:
            return _say(400, str(error))
        link, key = self._links.get(asked.name), read_key(self._settings, asked.name)
        if link is None or key is None or not is_from_router(key, asked) or not self._is_fresh(asked):
            self._note_refusal()
            return _say(403, "unknown router, wrong key, or a challenge that is used or too old")
        session = link.begin(key, asked, lambda: read_key(self._settings, asked.name) == key)
        try:
            return await self._speak(request, session)
        finally:
            link.finish(session)

    async def report(self, request: web.Request) -> web.Response:
        """What a router tells."""
        body = await _read(request, MAX_REPORT, self._is_session)
        try:
            head, report = parse_report_head(body)
            taken = any(link.take_report(head, report) for link in self._links.values())
        except WireError as error:
            return _say(400, str(error))
        return _say(200, "ok") if taken else _say(403, NO_SESSION)

    def _note_refusal(self) -> None:
        """A line a minute at most: strangers do not fill our journal."""
        self._refused += 1
        if _now() >= self._tell_at:
            log.warning(
                "a router was turned away: unknown, or not signed with its key, or too late",
                times=self._refused,
            )
            self._refused, self._tell_at = 0, _now() + TELL_EVERY

    def _is_session(self, beginning: bytes) -> bool:
        """Whether a report that begins so may be one; a stranger's is not read to its end."""
        return any(link.session == beginning for link in self._links.values())

    def _is_fresh(self, asked: StreamRequest) -> bool:
        """Whether the challenge is ours, young, and used for the first time; asked of who holds a key only."""
        now = _now()
        if not is_challenge(self._key, asked.challenge, now):
            return False
        self._used = {each: until for each, until in self._used.items() if until > now}
        if asked.challenge in self._used:
            return False
        self._used[asked.challenge] = now + CHALLENGE_SECONDS + 1
        return True

    async def _speak(self, request: web.Request, session: Session) -> web.StreamResponse:
        response = web.StreamResponse(headers=_PLAIN)
        response.force_close()
        transport = request.transport
        if transport is None:
            return response
        self.streaming.add(transport)
        try:
            await response.prepare(request)
            async with contextlib.aclosing(session.lines()) as lines:
                async for line in lines:
                    async with asyncio.timeout(WRITE_SECONDS):
                        await response.write(line)
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write_eof()
        except (OSError, TimeoutError, RuntimeError):  # the last is uvloop's word for a line that was hung up
            transport.close()
        finally:
            self.streaming.discard(transport)
        return response


async def _read(request: web.Request, most: int, is_known: Callable[[bytes], bool] | None = None) -> bytes:
    """The body of *request*: *most* bytes, in time; with *is_known* only if it knows the first 32 of them."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_any():
                body += piece
                if is_known and len(body) >= SESSION_LENGTH:
                    if not is_known(bytes(body[:SESSION_LENGTH])):
                        raise web.HTTPForbidden(text=f"{NO_SESSION}\n")
                    is_known = None
                if len(body) > most:
                    raise web.HTTPRequestEntityTooLarge(most, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (ConnectionError, web.RequestPayloadError):
        raise web.HTTPBadRequest from None
    return bytes(body)


def _say(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=_PLAIN)


def make_application(reception: Reception) -> web.Application:
    """The three things that a router can ask."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/router/v1/challenge", reception.challenge, allow_head=False),
            web.post("/router/v1/stream", reception.stream),
            web.post("/router/v1/report", reception.report),
        ]
    )
    return app


async def meet_routers(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    links: Mapping[str, RouterLink],
    certificate: Certificate,
    host: str | None,
) -> None:
    """Listen for the routers of the settings, if there are any; *stack* ends it. Raises `SetupError`.

    *host* binds to one address (None: all).
    """
    if not links:
        return
    reception = Reception(settings, links)
    runner = web.AppRunner(
        make_application(reception), handle_signals=False, handler_cancellation=True, shutdown_timeout=3
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None  # noqa: S101 - set up above
    await stack.enter_async_context(limited(runner.server, MAX_CONNECTIONS, LIFE, reception.streaming))
    port = settings.portal.router_port
    try:
        sockets = bind(host, port, BACKLOG)
    except OSError as error:
        raise SetupError(
            f"portal.router_port: port {port} of {host or 'every address'} cannot be opened: {error.strerror}; "
            "is another program there?"
        ) from None
    protocols = speaking_http(
        runner.server,
        keepalive_timeout=HEAD_SECONDS,
        lingering_time=LINGER_SECONDS,
        read_bufsize=READ_AHEAD,
    )
    await stack.enter_async_context(listening(sockets, protocols, certificate.context))
    for link in links.values():
        link.revocation = lambda: certificate.verdict.hosts
        stack.push_async_callback(link.close)  # first of all: the server waits for its answers to end


def _now() -> float:
    return asyncio.get_running_loop().time()
