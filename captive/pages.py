"""The guest's way online: the first page, *Skip*, *You are online*, the rules, and the API for phones."""

import contextlib
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import hdrs, web

from captive.certificate import API_PATH
from captive.door import DEVICE
from captive.first_page import FirstPages
from captive.gateway import key_parts
from captive.guest_web import DOOR, guest_language
from crm.errors import UserError
from crm.times import local_moment
from crm.web import (
    BACKGROUND,
    CLOCK,
    GUEST_FRAME,
    NOTICES,
    SETTINGS,
    STORE,
    WORDS,
    html,
    public,
    read_body,
    read_form,
    render,
    see_other,
)
from surveys.pages import CHANNEL, VERSION
from surveys.questions import first_question
from surveys.store import Step, count_steps

FIRST_PAGES = web.AppKey("FIRST_PAGES", FirstPages)
DEMO = web.AppKey("DEMO", bool)


@public
async def home(request: web.Request) -> web.StreamResponse:
    """The first page: announcements, the first question, and the way online that costs no answer."""
    language = guest_language(request, request.app[SETTINGS])
    door = request.app[DOOR]
    device = request[DEVICE]
    guest = door.guest(request)
    if guest.online:
        return see_other(f"/{language}/online")
    pages = request.app[FIRST_PAGES]
    visit = door.visit(device)
    if not visit.shown and not guest.asked_today:
        visit.shown = True
        request.app[BACKGROUND].spawn(_count_shown(request, language))
    page = pages.page(guest.network, language, asked_today=guest.asked_today)
    token = guest.response.encode()
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        return web.Response(body=page.gzipped(token), headers=pages.gzipped_headers)
    return web.Response(body=page.plain(token), headers=pages.plain_headers)


async def _count_shown(request: web.Request, language: str) -> None:
    ids = [notice.id for notice in request.app[FIRST_PAGES].notices(language)]
    step = _step(request, language, "shown")
    await request.app[STORE].write(count_steps, step)
    if ids:
        await request.app[NOTICES].count_shown(ids, step.day, language)


def _step(request: web.Request, language: str, step: str) -> Step:
    settings = request.app[SETTINGS]
    moment = local_moment(request.app[CLOCK](), ZoneInfo(settings.venue.timezone))
    return Step(
        version=request.app[VERSION](key_parts(request[DEVICE])[0]),
        unit="",
        day=moment.day,
        daypart=moment.daypart,
        channel=CHANNEL,
        language=language,
        step="shown" if step == "shown" else "skipped",
    )


@public
async def skip(request: web.Request) -> web.StreamResponse:
    """Online without an answer: internet never depends on answering."""
    with contextlib.suppress(UserError):
        await read_body(request)  # whatever it says: the way online asks for nothing
    language = request.match_info["language"]
    guest, visit = request.app[DOOR].guest(request), request.app[DOOR].visit(request[DEVICE])
    if not (guest.started or guest.asked_today or guest.online or visit.skipped):
        visit.skipped = True  # before anything is waited for: who taps twice is counted once
        await request.app[STORE].write(count_steps, _step(request, language, "skipped"))
    return await request.app[DOOR].open(request, language)


@public
async def online(request: web.Request) -> web.StreamResponse:
    """Say that the guest is online, and offer the page it asked for."""
    language = request.match_info["language"]
    settings, door = request.app[SETTINGS], request.app[DOOR]
    guest = door.guest(request)
    if not guest.online:
        return see_other(f"/{language}")
    device = request[DEVICE]
    until = door.grants.until(device).astimezone(ZoneInfo(settings.venue.timezone))
    question = first_question(request.app[VERSION](guest.network).questionnaire)
    page = render(
        request.app,
        "captive/online.html",
        language,
        **request.app[GUEST_FRAME](request, language),
        title=request.app[WORDS].say(language, "You are online"),
        answered=guest.started,
        continue_url=door.visit(device).wanted,
        announcements=request.app[FIRST_PAGES].notices(language),
        until=f"{until:%H:%M}",
        can_answer=not guest.started,
        survey_url=f"/{language}/survey/{question.key}?r={guest.response}",
        again_url=f"/{language}/another-phone" if request.app[DEMO] else "",
        refresh_url="" if "again" in request.query else f"/{language}/online?again=1",
    )
    return html(page)


@public
async def rules(request: web.Request) -> web.Response:
    """The rules of use in full."""
    language = request.match_info["language"]
    title = request.app[WORDS].say(language, "Rules of use of the Wi-Fi")
    frame = request.app[GUEST_FRAME](request, language)
    return html(
        render(
            request.app,
            "captive/rules.html",
            language,
            **frame,
            title=title,
            minutes=_minutes(request),
            connection_log=request.app[SETTINGS].connection_log,
        )
    )


def _minutes(request: web.Request) -> int:
    name = key_parts(request[DEVICE])[0]
    return next(each.grant.minutes for each in request.app[SETTINGS].networks if each.name == name)


@public
async def api(request: web.Request) -> web.Response:
    """Tell phones whether they are captive (RFC 8908); over TLS only, as its section 4.1 demands."""
    if not request.secure:
        raise web.HTTPNotFound
    left = request.app[DOOR].grants.seconds_left(request[DEVICE])
    portal = f"https://{request.app[SETTINGS].portal.name}/"
    state: dict[str, object] = {"captive": left == 0, "user-portal-url": portal}
    if left:
        state |= {"venue-info-url": portal, "seconds-remaining": left, "can-extend-session": True}
    return web.Response(
        body=msgspec.json.encode(state),
        headers={
            "Content-Type": "application/captive+json",
            "Cache-Control": "no-store",
            "Connection": "close",
        },
    )


@public
async def another_phone(request: web.Request) -> web.Response:
    """The demo only: forget this browser, so that it can play another phone."""
    if not request.app[DEMO]:
        raise web.HTTPNotFound
    await read_form(request)
    door, device = request.app[DOOR], request[DEVICE]
    door.forget([device])
    await door.grants.forget(device)
    return see_other(f"/{request.match_info['language']}")


_LANGUAGE = "/{language:[a-z]{2,3}}"
ENTRANCE = [web.get("/", home)]
ROUTES = [
    web.get(API_PATH, api),
    web.get(_LANGUAGE, home),
    web.post(_LANGUAGE + "/skip", skip),
    web.get(_LANGUAGE + "/online", online),
    web.get(_LANGUAGE + "/rules", rules),
    web.post(_LANGUAGE + "/another-phone", another_phone),
]
