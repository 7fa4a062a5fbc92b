"""Stylesheets and pictures that are shipped with the console, served with a lasting address."""

import functools
import hashlib
from importlib import resources

from aiohttp import web

from crm.web import public

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def static_url(name: str) -> str:
    """The address of the shipped file *name*; it changes with the file, so browsers may keep it for good."""
    return f"/static/{name}?v={_read(name)[1]}"


@public
async def static_file(request: web.Request) -> web.StreamResponse:
    """A shipped file by its plain name; there are no folders to climb."""
    name = request.match_info["name"]
    if name not in _names():
        raise web.HTTPNotFound
    body, version = _read(name)
    lasting = request.query.get("v") == version
    return web.Response(
        body=body,
        content_type=TYPES[name.rpartition(".")[2]],
        charset="utf-8",
        headers={"Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache"},
    )


@functools.cache
def _names() -> frozenset[str]:
    shipped = (file.name for file in resources.files("crm").joinpath("static").iterdir())
    return frozenset(name for name in shipped if name.rpartition(".")[2] in TYPES)


@functools.cache
def _read(name: str) -> tuple[bytes, str]:
    """A shipped file and a short hash of it."""
    body = resources.files("crm").joinpath("static", name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:12]
