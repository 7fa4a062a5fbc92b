"""The limit of the page: an aiohttp handler that sends the same bytes, headers included.

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
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = CIMultiDict((name, value) for name, value in lines if name.lower() not in OWN)

    async def page(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

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
