"""Around every guest page: whose request it is, probes told from pages, errors as pages, headers."""

import base64
import hashlib
from importlib import resources
from typing import Any, TypeVar

import structlog
from aiohttp import hdrs, web
from markupsafe import Markup
from multidict import CIMultiDict, istr

from captive.certificate import Certificate
from captive.portal.door import DEVICE, Door
from captive.portal.probes import host_name, wanted_page
from crm.colours import page_style
from crm.errors import UserError
from crm.settings import Settings
from crm.store import StoreBusyError
from crm.web import GUEST_FRAME, SECURITY_HEADERS, SETTINGS, WORDS, Handler, html, render
from crm.words import choose_language

log = structlog.get_logger()

DOOR = web.AppKey("DOOR", Door)
OWN_HOSTS: web.AppKey[frozenset[str]] = web.AppKey("OWN_HOSTS")
HEADERS: web.AppKey[CIMultiDict[str]] = web.AppKey("HEADERS")
"""The headers of every guest page."""

CERTIFICATE = web.AppKey("CERTIFICATE", Certificate)
"""Whether guests are sent to https; it may change at any moment."""

ENTRANCE = "/enter"
"""Where a thin router sends a phone, which nobody knows until then."""

PROBE_BODY = "<!doctype html><title>Wi-Fi</title><a href='{0}'>{0}</a>"
NO_SUCH_PAGE = "There is no such page here."
_BRIEFLY = {hdrs.CACHE_CONTROL: "no-store", hdrs.CONNECTION: "close", hdrs.SERVER: "wificrm"}
BUSY = "Many people are answering at this moment. Please try again in a few seconds."


def own_hosts(settings: Settings) -> frozenset[str]:
    """The host names under which a request is for the portal itself and not a probe."""
    names = {settings.portal.name}
    for network in settings.networks:
        names |= {str(each.ip) for each in (network.net4, network.net6) if each}
    if settings.gate.gateway == "open":
        names |= {"localhost", "127.0.0.1", "::1"}
    return frozenset(names - {""})


def guest_style(accent: str) -> str:
    """The style sheet inside every guest page, in the centre's colour."""
    return page_style(resources.files("crm").joinpath("static/guest.css").read_text("utf-8"), accent)


def guest_headers(style: str) -> CIMultiDict[str]:
    """The headers of guest pages: this one style, no script, no other host."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    headers = {
        **SECURITY_HEADERS,
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Server": "wificrm",
    }
    return CIMultiDict({istr(name): value for name, value in headers.items()})


def make_frame(settings: Settings, style: str) -> Any:  # noqa: ANN401
    """The function behind `crm.web.GUEST_FRAME`."""
    markup = Markup(style)  # noqa: S704 - our own style sheet

    def frame(request: web.Request, language: str) -> dict[str, Any]:
        names = settings.venue.names
        inside = request.match_info.get("language") is not None and request.method in ("GET", "HEAD")
        return {
            "venue_name": names.get(language) or names[settings.venue.languages[0]],
            "venue_phone": settings.venue.phone,
            "style": markup,
            "here": request.path_qs.removeprefix(f"/{language}") if inside else "",
            "languages": settings.venue.languages,
        }

    return frame


def guest_language(request: web.Request, settings: Settings) -> str:
    """The language of this request: that of its path, else the phone's."""
    wanted = request.match_info.get("language", "")
    if wanted in settings.venue.languages:
        return wanted
    return choose_language(request.headers.get(hdrs.ACCEPT_LANGUAGE, "")[:200], settings.venue.languages)


def make_guest_middleware(
    settings: Settings, headers: CIMultiDict[str], door: Door, certificate: Certificate
) -> Any:  # noqa: ANN401
    """The one middleware of the guest portal; what it needs for each request is at hand, not looked up."""
    hosts, languages = own_hosts(settings), settings.venue.languages

    @web.middleware
    async def guest_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        device = await door.recognise(request)
        host = request.headers.get(hdrs.HOST, "")
        if host not in hosts and host_name(host) not in hosts:
            return await _answer_probe(request, device)
        # A form from before the certificate was good (the clock stood in 1970) is taken: its redirect loses it.
        if certificate.valid and not request.secure and request.method != "POST":
            return _redirect(f"https://{settings.portal.name}{request.path_qs}")
        if device is not None:
            request[DEVICE] = device
        elif request.path != ENTRANCE:
            return _dressed(outside(request, settings), headers)
        language = request.match_info.get("language")
        if language is not None and language not in languages:
            return _dressed(_told(request, settings, UserError(NO_SUCH_PAGE, 404)), headers)
        try:
            response = await handler(request)
        except web.HTTPRedirection as elsewhere:
            _dressed(elsewhere, headers)
            raise
        except web.HTTPException as error:
            response = _told(request, settings, _as_user_error(error))
            if hdrs.ALLOW in error.headers:
                response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        except UserError as error:
            response = _told(request, settings, error)
        except StoreBusyError:
            response = _told(request, settings, UserError(BUSY, 503))
        except Exception as error:
            log.exception("a guest page failed", page=_route(request), error=type(error).__name__)
            response = _told(request, settings, UserError("Something went wrong, please try again.", 500))
        return _dressed(response, headers)

    return guest_middleware


ResponseT = TypeVar("ResponseT", bound=web.StreamResponse)


def _dressed(response: ResponseT, headers: CIMultiDict[str]) -> ResponseT:
    """*response* with the headers of every guest page; the first page brings all of them along."""
    if hdrs.SERVER not in response.headers:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
    return response


async def _answer_probe(request: web.Request, device: str | None) -> web.Response:
    """The one answer that every system calls a portal: 302, absolute, short body, not kept, closed."""
    door = request.app[DOOR]
    host = request.headers.get("Host", "")
    page = wanted_page(request.method, host, request.raw_path, request.headers.get("Accept", ""))
    if device is not None:
        door.redirected(device)
        if page:
            door.visit(device).wanted = page
        if door.grants.was_asked(device) and not door.grants.is_online(device):
            await door.welcome_back(device)
            if page and door.grants.is_online(device):
                return _redirect(page)
    return _redirect(_origin(request) + "/")


def _redirect(location: str) -> web.Response:
    response = web.Response(
        status=302,
        text=PROBE_BODY.format(location.replace("&", "&amp;").replace("'", "%27").replace("<", "%3C")),
        content_type="text/html",
        headers={hdrs.LOCATION: location, **_BRIEFLY},
    )
    response.force_close()
    return response


def _origin(request: web.Request) -> str:
    """Where this guest finds the portal; without a name, the address its connection ended at."""
    if name := request.app[SETTINGS].portal.name:
        return f"https://{name}" if request.app[CERTIFICATE].valid else f"http://{name}"
    own = request.transport.get_extra_info("sockname") if request.transport else None
    address, port = own[:2] if own else ("127.0.0.1", 80)
    address = address.partition("%")[0].removeprefix("::ffff:")
    shown = f"[{address}]" if ":" in address else address
    return f"http://{shown}" if request.app[GATED] else f"http://{shown}:{port}"


GATED = web.AppKey("GATED", bool)
"""Whether a gateway redirects port 80 to the portal, so that its address needs no port."""


def _route(request: web.Request) -> str:
    """The route's pattern: never the path itself, which may carry a token."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def _as_user_error(error: web.HTTPException) -> UserError:
    if error.status == 404:
        return UserError(NO_SUCH_PAGE, 404)
    if error.status == 405:
        return UserError("This page cannot be used in that way. Please go back and use its buttons.", 405)
    if error.status == 413:
        return UserError("That is too long. Please shorten it and send it again.", 413)
    return UserError("This request cannot be understood. Please go back and try again.", error.status)


def _told(request: web.Request, settings: Settings, error: UserError) -> web.Response:
    """*error* as a page in the guest's language, with a way online for whom there is one."""
    language = guest_language(request, settings)
    frame = request.app[GUEST_FRAME](request, language)
    guest = request.app[DOOR].guest(request) if DEVICE in request else None
    token = guest.response if guest and not (guest.refused or guest.online) else ""
    page = render(
        request.app,
        "crm/guest_error.html",
        language,
        **{**frame, "here": ""},
        title=request.app[WORDS].say(language, "That did not work"),
        sentence=request.app[WORDS].say(language, error.message, **error.values),
        retry=f"/{language}",
        token=token,
    )
    return html(page, status=error.status)


def outside(request: web.Request, settings: Settings) -> web.Response:
    """What is said to whom nobody knows."""
    language = guest_language(request, settings)
    frame = request.app[GUEST_FRAME](request, language)
    title = request.app[WORDS].say(language, "Join the Wi-Fi first")
    return html(
        render(request.app, "captive/outside.html", language, **{**frame, "here": ""}, title=title),
        status=403,
    )
