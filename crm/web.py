"""What every page shares: application keys, access marks, forms read with bounds, templates, headers."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

import jinja2
import msgspec
from aiohttp import web
from markupsafe import Markup

from crm.errors import UserError
from crm.settings import Settings
from crm.store import Store
from crm.words import NAMES, Words

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HandlerT = TypeVar("HandlerT", bound=Handler)
Clock = Callable[[], datetime]

SETTINGS = web.AppKey("SETTINGS", Settings)
STORE = web.AppKey("STORE", Store)
WORDS = web.AppKey("WORDS", Words)
TEMPLATES = web.AppKey("TEMPLATES", jinja2.Environment)
CLOCK: web.AppKey[Clock] = web.AppKey("CLOCK")
"""Returns the time now, in UTC with its zone."""

MAX_FORM = 16 * 1024
"""Bytes of a form at most; a comment of 1,000 letters takes 4 kB in the worst script."""


class Guest(msgspec.Struct, frozen=True):
    """Who is in front of us, without identity: what the captive half may tell the others."""

    venue: str
    network: str
    response: str  # the signed token under which this visit's answers are kept
    asked_today: bool  # the survey was answered or skipped today
    online: bool


class Doorkeeper(Protocol):
    """Knows the device behind a request, and opens the door; its owner is the captive half."""

    def guest(self, request: web.Request) -> Guest:
        """The guest that *request* comes from."""

    async def open(self, request: web.Request, language: str) -> web.StreamResponse:
        """Bring the guest online and answer with the way to the *You are online* page."""


DOORKEEPER: web.AppKey[Doorkeeper] = web.AppKey("DOORKEEPER")


def public(handler: HandlerT) -> HandlerT:
    """Mark a handler that anybody may call. Every route carries a mark; a test checks it."""
    handler.access = "public"  # type: ignore[attr-defined]
    return handler


def make_templates(folders: Mapping[str, str], words: Words) -> jinja2.Environment:
    """The template environment: *folders* maps a prefix to the package whose ``templates/`` it names."""
    environment = jinja2.Environment(
        loader=jinja2.PrefixLoader({prefix: jinja2.PackageLoader(name) for prefix, name in folders.items()}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["language_names"] = NAMES
    environment.globals["words"] = words
    return environment


def render(app: web.Application, template: str, language: str, **values: Any) -> str:  # noqa: ANN401
    """*template* as text in *language*; ``_("...", name=value)`` translates inside it, values escaped."""
    words = app[WORDS]

    def translate(message: str, /, **fill: object) -> Markup:
        text = words.catalogue(language).gettext(message)
        return Markup(text).format(**fill) if fill else Markup(text)  # noqa: S704 - catalogues are ours

    return app[TEMPLATES].get_template(template).render(_=translate, language=language, **values)


async def read_form(request: web.Request) -> dict[str, str]:
    """The form that *request* carries, as plain text fields; each may stand once.

    Raises `UserError`: wrong content type (415), too large (413), not UTF-8 or repeated fields (400).
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise UserError("This page takes a form. Please go back and use its buttons.", 415)
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UserError("This form's letters cannot be read. Please go back and try again.", 415)
    try:
        posted = await request.post()
    except web.HTTPRequestEntityTooLarge:
        raise UserError("That is too long. Please shorten it and send it again.", 413) from None
    except (UnicodeDecodeError, LookupError, ValueError):
        raise UserError("This form's letters cannot be read. Please go back and try again.", 400) from None
    form: dict[str, str] = {}
    for name, value in posted.items():
        if name in form or not isinstance(value, str):
            raise UserError("A field of this form came twice. Please go back and try again.", 400)
        form[name] = value
    return form


def html(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An HTML answer that nobody keeps."""
    return web.Response(
        text=text,
        status=status,
        content_type="text/html",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def new_key() -> str:
    """An unguessable text of 256 bits for cookies and form keys."""
    return secrets.token_urlsafe(32)
