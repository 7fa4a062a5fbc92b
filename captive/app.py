"""The composition root: builds the guest portal and the staff console, runs both, closes what it opened."""

import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from aiohttp import web

import campaigns.console
import campaigns.pages
import captive.portal.enter
import captive.portal.pages
import surveys.console
import surveys.pages
from campaigns.notices import VenueNotices
from captive.certificate import Certificate
from captive.connections.retention import Retention
from captive.connections.start import start_journal
from captive.gateway import GateClient, Gateway, OpenGateway
from captive.grants.grants import Grants
from captive.grants.policy import Policy
from captive.kernel.neighbours import Loopback, Neighbours, NoGuests, follow_neighbours
from captive.metrics.listener import start_metrics
from captive.metrics.sources import Sources
from captive.metrics.timed_gateway import TimedGateway
from captive.portal.door import Door
from captive.portal.first_page import FirstPages
from captive.portal.guest_web import (
    CERTIFICATE,
    DOOR,
    GATED,
    HEADERS,
    guest_headers,
    guest_style,
    make_frame,
    make_guest_middleware,
)
from captive.portal.listening import listen
from captive.portal.pages import DEMO, FIRST_PAGES
from captive.portal.published import Published
from captive.regular import Step, repeating
from captive.routers.gateways import Gateways
from captive.routers.link import RouterLink
from captive.routers.listener import meet_routers
from captive.routers.state import StateFile
from captive.store_care import StoreCare
from crm.console import MAX_CONSOLE_FORM, add_console
from crm.settings import Settings, secret
from crm.store import STORE_ERRORS, Store, open_store
from crm.times import UNDATED, is_sound, local_moment
from crm.web import (
    BACKGROUND,
    CLOCK,
    DOORKEEPER,
    GUEST_FRAME,
    MAX_FORM,
    NOTICES,
    SETTINGS,
    STORE,
    TEMPLATES,
    WORDS,
    Background,
    Clock,
    make_templates,
)
from crm.words import Words, load_words
from surveys.pages import VERSION
from surveys.questions import in_language
from surveys.store import Version

log = structlog.get_logger()

TICK = 2.0
"""Seconds between two looks at the gateway, the announcements, the day and the certificate."""

_PACKAGES = {name: name for name in ("crm", "surveys", "campaigns", "captive")}


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Deps:
    """What both applications share; built once in `running`."""

    settings: Settings
    store: Store
    words: Words
    clock: Clock
    background: Background


def _share(app: web.Application, deps: Deps) -> None:
    app[SETTINGS], app[STORE], app[WORDS], app[CLOCK] = deps.settings, deps.store, deps.words, deps.clock
    app[BACKGROUND] = deps.background
    app[TEMPLATES] = make_templates(_PACKAGES, deps.words)
    app[TEMPLATES].globals["in_language"] = in_language


def make_portal(
    deps: Deps,
    door: Door,
    version: Callable[[str], Version],
    certificate: Certificate,
    *,
    demo: bool = False,
) -> web.Application:
    """The guest portal."""
    settings = deps.settings
    style = guest_style(settings.venue.accent)
    headers = guest_headers(style)
    guarding = make_guest_middleware(settings, headers, door, certificate)
    app = web.Application(client_max_size=MAX_FORM, middlewares=[guarding])
    _share(app, deps)
    app[DOOR] = door
    app[DOORKEEPER] = door
    app[HEADERS], app[GATED] = headers, settings.gate.gateway != "open"
    app[CERTIFICATE] = certificate
    app[GUEST_FRAME] = make_frame(settings, style)
    app[NOTICES] = VenueNotices(deps.store, settings.venue.code)
    app[VERSION], app[DEMO] = version, demo
    first_frame = {
        "venue_phone": settings.venue.phone,
        "style": style,
        "here": "",
        "languages": settings.venue.languages,
    }
    app[FIRST_PAGES] = FirstPages(app, settings, first_frame, demo=demo)
    # Looked through in this order for each request: first what is asked for most.
    own, asked, told = captive.portal.pages, surveys.pages, campaigns.pages
    app.add_routes([*own.ENTRANCE, *asked.ROUTES, *own.ROUTES, *told.ROUTES, *captive.portal.enter.ROUTES])
    return app


def make_console(deps: Deps) -> web.Application:
    """The staff console."""
    app = web.Application(client_max_size=MAX_CONSOLE_FORM)
    _share(app, deps)
    add_console(app)
    app.add_routes([*surveys.console.ROUTES, *campaigns.console.ROUTES])
    return app


def make_gate(settings: Settings) -> TimedGateway | None:
    """The gate of this box that the settings name; None where it has no guests of its own."""
    if not settings.networks:
        return None
    is_open = settings.gate.gateway == "open"
    return TimedGateway(OpenGateway() if is_open else GateClient(settings.gate.socket))


async def make_neighbours(settings: Settings) -> Neighbours:
    """Who tells devices by their addresses."""
    if not settings.networks:
        return NoGuests()
    return (
        Loopback(settings.networks[0].name, settings.networks)
        if settings.gate.gateway == "open"
        else await follow_neighbours(settings.networks)
    )


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    host: str | None = None,
    demo: bool = False,
    clock: Clock = utc_now,
    open_crm: Callable[[str], Store] = open_store,
) -> AsyncIterator[None]:
    """Serve portal and console while the context is open. Raises `SetupError` when they cannot start.

    *host* binds the portal to one address (None: all); *open_crm* opens the crm store.
    """
    async with contextlib.AsyncExitStack() as stack:
        store, access = open_crm(settings.store.crm), open_store(settings.store.access)
        stack.push_async_callback(store.close)
        stack.push_async_callback(access.close)
        background = Background()
        stack.push_async_callback(background.finish)
        deps = Deps(settings, store, load_words(), clock, background)
        care = StoreCare(settings)
        await care.prepare(clock())
        published = Published(settings, store, clock)

        today = local_moment(clock(), ZoneInfo(settings.venue.timezone)).day
        gate = make_gate(settings)
        door = await _open_door(stack, settings, access, clock, today, gate)
        certificate = Certificate(settings)
        portal = make_portal(deps, door, published.version, certificate, demo=demo)
        with contextlib.suppress(*STORE_ERRORS):  # guests go online all the same; it is tried again below
            await published.look()
        with contextlib.suppress(*STORE_ERRORS):
            await _refresh_pages(deps, portal)
        await listen(stack, settings, portal, make_console(deps), certificate, host)
        await meet_routers(stack, settings, door.links, certificate, host)
        await door.grants.reconcile()
        book, guests, pages = door.grants, door.figures, portal[FIRST_PAGES]
        parts = (settings, clock, store, access, care, book, guests, gate, door.links.values, certificate)
        await start_metrics(stack, Sources(*parts, lambda: pages.is_rendered))
        gc.freeze()  # what is there now stays: the collector need not walk through it again and again
        regular = _regular(deps, portal, certificate), _regular_of_store(deps, portal, care, published)
        async with repeating(TICK, regular):
            yield


async def _open_door(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    access: Store,
    clock: Clock,
    today: date,
    gate: Gateway | None,
) -> Door:
    """The door with all behind it: the *gate* and routers elsewhere, neighbours, the book of grants."""
    links = {router.name: RouterLink(router, settings.portal.name) for router in settings.routers}
    gateway = Gateways(gate, [network.name for network in settings.networks], links)
    stack.push_async_callback(gateway.close)
    neighbours = await make_neighbours(settings)
    stack.push_async_callback(neighbours.close)
    zone = ZoneInfo(settings.venue.timezone)
    policies = {place.name: Policy(place) for place in settings.places}
    journal = await start_journal(stack, settings, access, clock, neighbours)
    key = secret(settings, "forms")
    grants = Grants(
        access,
        gateway,
        clock,
        policies,
        local=lambda: _local_time(clock(), zone),
        journal=journal,
        note=Path(settings.secrets) / "access-store-is-behind",
        silent=gateway.silent,
    )
    await grants.load(today)
    door = Door(grants, neighbours, key, settings.venue.code, links)
    await door.start_day(today)
    neighbours.on_join = door.on_join
    for link in links.values():
        link.on_join = door.on_join
    return door


def _local_time(now: datetime, zone: ZoneInfo) -> datetime | None:
    return now.astimezone(zone) if is_sound(now) else None


def _regular(deps: Deps, portal: web.Application, certificate: Certificate) -> dict[str, Step]:
    """What follows the time: the day, the grants, the certificate. Nothing here waits for the crm store."""
    zone = ZoneInfo(deps.settings.venue.timezone)
    door = portal[DOOR]
    retention = Retention(deps.settings, deps.clock)

    async def look_aside() -> None:
        deps.background.spawn(retention.look())
        certificate.refresh()

    states = StateFile(deps.settings, door.links)

    return {
        "day": lambda: door.start_day(local_moment(deps.clock(), zone).day),
        "grants": door.grants.reconcile,
        "certificate": look_aside,
        "routers": states.look,
    }


def _regular_of_store(
    deps: Deps, portal: web.Application, care: StoreCare, published: Published
) -> dict[str, Step]:
    """What follows the crm store, which may make us wait."""
    return {
        "stores": lambda: care.mend(deps.clock()),
        "questionnaire": published.look,
        "announcements": lambda: _refresh_pages(deps, portal),
    }


async def _refresh_pages(deps: Deps, portal: web.Application) -> None:
    """The first pages of today; while no day is known, of the last that was."""
    today = local_moment(deps.clock(), ZoneInfo(deps.settings.venue.timezone)).day
    await portal[FIRST_PAGES].refresh(portal[DOOR].grants.last_day if today == UNDATED else today)
