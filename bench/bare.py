"""The limit of page and redirect: an aiohttp handler that sends the same bytes, headers included.

``python -m bench.bare PORT FILE``: FILE holds a whole answer as it came over the wire.
"""

import sys
from pathlib import Path

import uvloop
from aiohttp import web
from multidict import CIMultiDict

OWN = ("content-length", "date")
"""Headers that aiohttp makes by itself."""


def main(port: int, file: Path) -> None:
    """Serve until stopped."""
    head, _, body = file.read_bytes().partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    status = int(first.split()[1])
    lines = [line.split(": ", 1) for line in rest]
    headers = CIMultiDict((name, value) for name, value in lines if name.lower() not in OWN)
    closing = headers.get("Connection") == "close"

    async def page(_request: web.Request) -> web.Response:
        response = web.Response(status=status, body=body, headers=headers)
        if closing:
            response.force_close()
        return response

    app = web.Application()
    app.router.add_get("/", page)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=lambda _text: None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
