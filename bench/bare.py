"""The limit of the page: an aiohttp handler that sends the bytes of a file, ``python -m bench.bare PORT FILE``."""

import sys
from pathlib import Path

import uvloop
from aiohttp import web


def main(port: int, file: Path) -> None:
    """Serve until stopped."""
    body = file.read_bytes()

    async def page(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="text/html", charset="utf-8")

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
