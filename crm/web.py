"""What every page shares: application keys, access marks, forms read with bounds, templates, headers."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import jinja2
import msgspec
import structlog
from aiohttp import hdrs, web
from markupsafe import Markup

from crm.errors import UserError
from crm.settings import Settings
from crm.store import STORE_ERRORS, Store
from crm.words import NAMES, Words

log = structlog.get_logger()

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


MAX_FIELDS = 100
"""Fields of a form at most."""

BODY_SECONDS = 15
"""Within which a form is to be there in full: the slowest phone needs two, whoever dribbles gets no more."""


class Guest(msgspec.Struct, frozen=True):
    """Who is in front of us, without identity: what the captive half may tell the others."""

    venue: str
    network: str
    response: str  # the signed token under which this visit's answers are kept
    asked_today: bool  # the survey was answered or skipped today
    started: bool  # an answer of this visit is stored
    online: bool
    refused: bool = False  # may not go online now; the first page says why


class Doorkeeper(Protocol):
    """Knows the device behind a request, and opens the door; its owner is the captive half."""

    def guest(self, request: web.Request) -> Guest:
        """The guest that *request* comes from."""

    def admit(self, request: web.Request, token: str) -> UUID:
        """The response this guest may write to; raises `UserError` for any other."""

    def answered(self, request: web.Request, resume: str, *, finished: bool) -> None:
        """An answer of this guest has been stored.

        *resume* is the question that comes next; of who has *finished* the one to ask again at the end of the
        visit, "" when there is none.
        """

    async def open(self, request: web.Request, language: str) -> web.StreamResponse:
        """Bring the guest online and answer with the way to the *You are online* page."""


DOORKEEPER: web.AppKey[Doorkeeper] = web.AppKey("DOORKEEPER")

GUEST_FRAME: web.AppKey[Callable[[web.Request, str], dict[str, Any]]] = web.AppKey("GUEST_FRAME")
"""What every guest page's template gets: the language, the venue's name and phone, style, languages, here."""


class Notice(msgspec.Struct, frozen=True):
    """An announcement as a guest page shows it."""

    id: int
    title: str
    body: Markup
    urgent: bool
    networks: tuple[str, ...] = ()  # those it is shown on; (): all

    def is_for(self, network: str) -> bool:
        """Whether guests on *network* see it."""
        return not self.networks or network in self.networks


class Notices(Protocol):
    """The announcements of this venue; the campaigns half knows them."""

    async def shown(self, day: date, language: str) -> Sequence[Notice]:
        """What is announced on *day*, the most important first."""

    async def count_shown(self, ids: Sequence[int], day: date, language: str) -> None:
        """One guest has been shown the announcements *ids*."""


NOTICES: web.AppKey[Notices] = web.AppKey("NOTICES")


class Background:
    """Small writes that nobody waits for, finished before the program ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do *work* soon; what fails is logged, but for the store's own failures, of which it tells itself."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def finish(self) -> None:
        """Wait for all that is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, STORE_ERRORS):
            log.error("a background write failed", error=type(error).__name__)


BACKGROUND = web.AppKey("BACKGROUND", Background)


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


async def read_body(request: web.Request) -> bytes:
    """The body of *request*. Raises `UserError`: too large (413), not in full (400), or too slow (408)."""
    in_full = request.content.is_eof()  # as small forms are: nothing is waited for
    try:
        async with contextlib.nullcontext() if in_full else asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise UserError("That is too long. Please shorten it and send it again.", 413) from None
    except (ConnectionError, web.RequestPayloadError):  # whoever sends it is gone, or cannot count
        raise UserError("This request cannot be understood. Please go back and try again.", 400) from None
    except TimeoutError:
        raise UserError("The form did not arrive in time. Please go back and try again.", 408) from None


async def read_form(request: web.Request) -> dict[str, str]:
    """The form that *request* carries, as plain text fields; each may stand once.

    Raises `UserError`: wrong content type (415), not UTF-8 or repeated fields (400), and what `read_body` says.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise UserError("This page takes a form. Please go back and use its buttons.", 415)
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UserError("This form's letters cannot be read. Please go back and try again.", 415)
    body = await read_body(request)
    try:
        fields = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:  # not UTF-8, plain or behind percent signs; too many fields
        raise UserError("This form's letters cannot be read. Please go back and try again.", 400) from None
    form: dict[str, str] = {}
    for name, value in fields:
        if name in form:
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


_see_other_headers = {
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.SERVER: "wificrm",
    "Referrer-Policy": "no-referrer",
}


def see_other(location: str) -> web.Response:
    """Send the browser on to *location*, a path of ours, with a GET (RFC 9110 section 15.4.4)."""
    return web.Response(status=303, headers=_see_other_headers | {hdrs.LOCATION: location})


SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def new_key() -> str:
    """An unguessable text of 256 bits for cookies and form keys."""
    return secrets.token_urlsafe(32)
