"""aiohttp's side of one connection, but for what it would tell strangers of itself.

What is no request meets no page of ours: aiohttp answers it, names itself and Python with their versions, and quotes
its parser. Who looks for a portal with a known hole would need no more than that.
"""

import asyncio
import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

SERVER = "wificrm"


def speaking_http(server: web.Server, **options: Any) -> Callable[[], web.RequestHandler]:  # noqa: ANN401
    """What makes a protocol for each connection to *server*; *options* are those of `aiohttp.web.RequestHandler`."""
    options["access_log"] = None
    return functools.partial(RequestHandler, server, loop=asyncio.get_running_loop(), **options)


class RequestHandler(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is said to what is no request, or where we are at fault; aiohttp logs it."""
        super().handle_error(request, status, exc, message)
        answer = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n")
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send *resp*, by whomever it was made."""
        resp.headers.setdefault(hdrs.SERVER, SERVER)
        return await super().finish_response(request, resp, start_time)
