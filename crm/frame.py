"""What every console page stands in: its language, its header and sections, its cookies."""

import hmac
import re
from typing import Any

from aiohttp import web

from crm.errors import UserError
from crm.staff import SESSION
from crm.static_files import static_url
from crm.web import SETTINGS, WORDS, html, render
from crm.words import DRAFTS, choose_language

LANGUAGE_COOKIE = "wificrm_language"

NAV = (("/reports", "Reports"), ("/announcements", "Announcements"))
"""The console's sections: path and message key."""


def console_language(request: web.Request) -> str:
    """The language of the console for this browser: chosen, else preferred, else the venue's first."""
    offered = console_languages(request)
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return (
        chosen if chosen in offered else choose_language(request.headers.get("Accept-Language", ""), offered)
    )


def console_languages(request: web.Request) -> tuple[str, ...]:
    """The languages the console speaks (drafts are for guests who asked), the venue's first one first."""
    first = request.config_dict[SETTINGS].venue.languages[0]
    complete = [language for language in request.config_dict[WORDS].languages if language not in DRAFTS]
    return tuple(sorted(complete, key=lambda language: language != first))


def render_console(
    request: web.Request,
    template: str,
    *,
    status: int = 200,
    **values: Any,  # noqa: ANN401
) -> web.Response:
    """*template* inside the frame (``crm/console.html``), in the language of whoever looks at it."""
    language = console_language(request)
    session = request.get(SESSION)
    venue_names = (session and session.venue_names) or request.config_dict[SETTINGS].venue.names
    frame = {
        "staff": session and session.staff,
        "form_key": session.form_key if session else "",
        "languages": console_languages(request),
        "venue_name": venue_names.get(language) or next(iter(venue_names.values())),
        "nav": [(path, name, request.path.startswith(path)) for path, name in NAV],
        "here": request.path_qs if request.method in ("GET", "HEAD") else "/",
        "css": static_url("console.css"),
    }
    return html(render(request.app, template, language, **{**frame, **values}), status=status)


def safe_next(raw: str) -> str:
    """*raw* when it is the path of a page of this console, else ``/``.

    Plain segments only: no host, no ``//``, no dots, no backslash, nothing a browser would mend into one.
    """
    plain = r"/([\w\-]+(/[\w\-]+)*)?(\?[\w\-.~%=&+:,/]*)?"
    return raw if len(raw) <= 500 and re.fullmatch(plain, raw, re.ASCII) else "/"


def set_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str) -> None:
    """A cookie that scripts cannot read, that stays on this site and ends with the browser."""
    response.set_cookie(
        name, value, path="/", httponly=True, samesite="Lax", secure=request.url.scheme == "https"
    )


def check_key(form: dict[str, str], expected: str) -> None:
    """Demand that *form* carries the key its page was given (CSRF). Raises `UserError`."""
    if not hmac.compare_digest(form.get("key", "").encode(errors="replace"), expected.encode()):
        raise UserError("This form has expired. Please go back, reload the page and send it again.", 403)
