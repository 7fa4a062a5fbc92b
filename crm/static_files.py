"""Stylesheets and pictures that are shipped with the console, served with a lasting address."""

import functools
import hashlib
from importlib import resources
from pathlib import Path

from aiohttp import web

from crm.web import public

FOLDER = Path(str(resources.files("crm").joinpath("static")))
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
    """What is shipped; a link that leads out of the folder is not."""
    inside = FOLDER.resolve()
    shipped = (file for file in FOLDER.iterdir() if file.resolve().parent == inside and file.is_file())
    return frozenset(file.name for file in shipped if file.name.rpartition(".")[2] in TYPES)


@functools.cache
def _read(name: str) -> tuple[bytes, str]:
    """A shipped file and a short hash of it."""
    body = (FOLDER / name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:12]
