"""The guest's way online: the first page, *Skip*, *You are online*, the rules, and the API for phones."""

import contextlib
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import structlog
from aiohttp import hdrs, web

from captive.certificate import API_PATH
from captive.gateway import GatewayError, key_parts
from captive.kernel.metering import MEGABYTE
from captive.portal.door import DEVICE, PREPARED, Visit
from captive.portal.first_page import FirstPages
from captive.portal.guest_web import DOOR, guest_language
from captive.portal.public_services import service_hosts
from captive.portal.rfc8908 import MEDIA_TYPE, api_state, prefers_page
from captive.portal.wording import duration
from crm.errors import UserError
from crm.opening_hours import in_spans, parse_hours
from crm.settings import ConnectionLogSection, Network, Place
from crm.store import STORE_ERRORS
from crm.times import is_sound, local_moment
from crm.web import (
    BACKGROUND,
    CLOCK,
    GUEST_FRAME,
    NOTICES,
    SETTINGS,
    STORE,
    WORDS,
    Guest,
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

log = structlog.get_logger()

COUNT_SECONDS = 2.0
"""That going online waits for a count to be stored."""

FIRST_PAGES = web.AppKey("FIRST_PAGES", FirstPages)
DEMO = web.AppKey("DEMO", bool)
NO_LOG = ConnectionLogSection()


@public
async def home(request: web.Request) -> web.StreamResponse:
    """The first page: announcements, the first question, and the way online that costs no answer."""
    app, device = request.app, request[DEVICE]
    language = guest_language(request, app[SETTINGS])
    door, pages = app[DOOR], app[FIRST_PAGES]
    visit = door.visit(device)
    standing = door.standing(device, visit)
    if standing is None:
        return see_other(f"/{language}/online")
    network = key_parts(device)[0]
    if not visit.shown and request.method == "GET" and door.counts_as_shown(device, visit):
        app[BACKGROUND].spawn(_count_shown(request, network, language))
    return pages.answer(request, network, language, standing, door.token(device, visit).encode())


async def _count_shown(request: web.Request, network: str, language: str) -> None:
    ids = [notice.id for notice in request.app[FIRST_PAGES].notices(network, language)]
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
    counted = guest.started or guest.asked_today or guest.online or visit.skipped
    if not (counted or request.app[DOOR].grants.is_trial(request[DEVICE])):
        visit.skipped = True  # before anything is waited for: who taps twice is counted once
        with contextlib.suppress(*STORE_ERRORS):  # what we count is no reason to keep anybody waiting
            step = _step(request, language, "skipped")
            await request.app[STORE].write(count_steps, step, within=COUNT_SECONDS)
    return await request.app[DOOR].open(request, language)


@public
async def online(request: web.Request) -> web.StreamResponse:
    """Say that the guest is online, and offer the page it asked for."""
    language = request.match_info["language"]
    door = request.app[DOOR]
    guest = door.guest(request)
    if not guest.online:
        return see_other(f"/{language}")
    visit = door.visit(request[DEVICE])
    page = render(
        request.app,
        "captive/online.html",
        language,
        **request.app[GUEST_FRAME](request, language),
        **_lease(request, language),
        title=request.app[WORDS].say(language, "You are online"),
        answered=guest.started,
        continue_url=visit.wanted,
        announcements=request.app[FIRST_PAGES].notices(guest.network, language),
        offer="new" if not visit.started else "again" if visit.finished else "rest",
        survey_url=_survey_url(request, guest, visit, language),
        again_url=f"/{language}/another-phone" if request.app[DEMO] else "",
        refresh_url="" if "again" in request.query else f"/{language}/online?again=1",
    )
    return html(page)


def _lease(request: web.Request, language: str) -> dict[str, Any]:
    """What the page says about the grant: how long and how much it still is, and what can be done about it."""
    app, device = request.app, request[DEVICE]
    grants, zone = app[DOOR].grants, ZoneInfo(app[SETTINGS].venue.timezone)
    now, left = app[CLOCK]().astimezone(zone), grants.seconds_left(device)
    amount, near_end = grants.bytes_left(device), grants.is_near_end(device)

    def at(seconds: int) -> str:
        moment = now + timedelta(seconds=seconds)
        return f"{moment:%H:%M}" if moment.date() == now.date() else f"{moment:%H:%M %d/%m}"

    return {
        "until": at(left) if left and is_sound(now) else "",
        "ends": bool(left),
        "left": duration(app[WORDS], language, max(1, left // 60)),
        "megabytes": "" if amount is None else str(amount // MEGABYTE),
        "near_end": near_end,
        "longer_until": at(grants.extended(device)) if near_end and grants.can_extend(device) else "",
        "obstacle": grants.obstacle(device) if near_end else None,
    }


def _survey_url(request: web.Request, guest: Guest, visit: Visit, language: str) -> str:
    """Where the survey goes on; "" when there is nothing more to ask."""
    first = first_question(request.app[VERSION](guest.network).questionnaire)
    key = visit.resume if visit.started else first.key
    return f"/{language}/survey/{key}?r={guest.response}" if key else ""


@public
async def extend(request: web.Request) -> web.StreamResponse:
    """Stay online longer. The page that follows says until when, or why not."""
    with contextlib.suppress(UserError):
        await read_body(request)
    grants, device = request.app[DOOR].grants, request[DEVICE]
    if grants.is_near_end(device):
        try:
            await grants.extend(device)
        except GatewayError as error:
            log.error("an extension is waiting for the gateway", reason=str(error))  # noqa: TRY400
            raise UserError(PREPARED, 503) from None
    return see_other(f"/{request.match_info['language']}/online?again=1")


@public
async def venue(request: web.Request) -> web.StreamResponse:
    """What the centre tells its visitors, online or not (RFC 8908, ``venue-info-url``)."""
    language = guest_language(request, request.app[SETTINGS])
    if "language" not in request.match_info:
        return see_other(f"/{language}/venue")
    network = _network(request)
    page = render(
        request.app,
        "captive/venue.html",
        language,
        **request.app[GUEST_FRAME](request, language),
        title=request.app[WORDS].say(language, "Information for visitors"),
        announcements=request.app[FIRST_PAGES].notices(network.name, language),
        hours=in_spans(parse_hours(network.grant.opening)),
        services=service_hosts(network.walled_garden),
        online=request.app[DOOR].grants.is_online(request[DEVICE]),
    )
    return html(page)


@public
async def rules(request: web.Request) -> web.Response:
    """The rules of use in full."""
    language = request.match_info["language"]
    title = request.app[WORDS].say(language, "Rules of use of the Wi-Fi")
    place = _network(request)
    frame = request.app[GUEST_FRAME](request, language)
    return html(
        render(
            request.app,
            "captive/rules.html",
            language,
            **frame,
            title=title,
            minutes=place.grant.minutes,
            # Who is behind a thin router is known by a cookie alone; no address of theirs could be recorded.
            by_cookie=not isinstance(place, Network),
            connection_log=request.app[SETTINGS].connection_log if isinstance(place, Network) else NO_LOG,
        )
    )


def _network(request: web.Request) -> Place:
    name = key_parts(request[DEVICE])[0]
    return next(each for each in request.app[SETTINGS].places if each.name == name)


@public
async def api(request: web.Request) -> web.Response:
    """Tell phones whether they are captive (RFC 8908); over TLS only, as its section 4.1 demands."""
    if not request.secure:
        raise web.HTTPNotFound
    grants, device = request.app[DOOR].grants, request[DEVICE]
    portal = f"https://{request.app[SETTINGS].portal.name}"
    headers = {hdrs.CACHE_CONTROL: "no-store", hdrs.VARY: hdrs.ACCEPT, hdrs.CONNECTION: "close"}
    if prefers_page(",".join(request.headers.getall(hdrs.ACCEPT, ()))):
        return web.Response(status=302, headers=headers | {hdrs.LOCATION: f"{portal}/"})
    state = api_state(
        online=grants.is_online(device),
        portal=portal,
        seconds=grants.seconds_left(device),
        bytes_left=grants.bytes_left(device),
        can_extend=grants.can_extend(device),
    )
    return web.Response(body=msgspec.json.encode(state), headers=headers | {hdrs.CONTENT_TYPE: MEDIA_TYPE})


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
    web.post(_LANGUAGE + "/extend", extend),
    web.get("/venue", venue),
    web.get(_LANGUAGE + "/venue", venue),
    web.get(_LANGUAGE + "/rules", rules),
    web.post(_LANGUAGE + "/another-phone", another_phone),
]
