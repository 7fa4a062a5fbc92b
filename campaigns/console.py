"""The staff side of announcements: the list, writing and changing one, taking one away and putting it back."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from babel.numbers import format_decimal

from campaigns.announcements import (
    NETWORK,
    ON,
    Announcement,
    Draft,
    Problem,
    State,
    as_form,
    body_html,
    check_draft,
    state_on,
    text_in,
)
from campaigns.store import (
    Centre,
    Counts,
    insert_announcement,
    restore_announcement,
    select_announcement,
    select_announcements,
    select_centres,
    select_counts,
    update_announcement,
    withdraw_announcement,
)
from crm.console import render_console
from crm.errors import UserError
from crm.frame import console_language
from crm.staff import Staff, current_staff, staff_only
from crm.times import local_moment
from crm.web import CLOCK, SETTINGS, STORE, read_form

STATES: Mapping[State, str] = {
    "shown": "Shown now",
    "coming": "Coming",
    "past": "Past",
    "withdrawn": "Withdrawn",
}


def _today(request: web.Request) -> date:
    zone = ZoneInfo(request.config_dict[SETTINGS].venue.timezone)
    return local_moment(request.config_dict[CLOCK](), zone).day


def _no_such(kind: str = "announcement") -> UserError:
    if kind == "centre":
        return UserError("There is no such centre here.", 404)
    return UserError("There is no such announcement here.", 404)


def _number(request: web.Request) -> int:
    return int(request.match_info["id"])


# ------------------------------------------------------------------------------------------ the list


@staff_only("official")
async def list_page(request: web.Request) -> web.StreamResponse:
    """Announcements of the venues this account covers, by where they stand today."""
    staff, today = current_staff(request), _today(request)
    venue = _chosen_venue(request, staff)
    async with request.config_dict[STORE].read() as conn:
        centres = {centre.code: centre for centre in await select_centres(conn, staff.venue)}
        found = await select_announcements(conn, venue)
        counts = await select_counts(conn, venue)
    if venue is not None and venue not in centres:
        raise _no_such("centre")
    by_state: dict[State, list[Announcement]] = {state: [] for state in STATES}
    for announcement in found:
        by_state[state_on(announcement, today)].append(announcement)
    state: State = next((each for each in STATES if each == request.query.get("state")), "shown")
    return render_console(
        request,
        "campaigns/announcements.html",
        state=state,
        tabs=[(key, name, len(by_state[key])) for key, name in STATES.items()],
        rows=[_row(request, each, centres, counts.get(each.id, Counts())) for each in by_state[state]],
        changed=_changed(request, found),
        centres=_named(request, list(centres.values())),
        venue=venue or "",
        may_change=staff.role == "manager",
    )


def _chosen_venue(request: web.Request, staff: Staff) -> str | None:
    """The venue to look at: the account's own, else the one that was chosen, else all (None)."""
    return staff.venue or request.query.get("venue", "")[:32].replace("\0", "") or None


def _row(
    request: web.Request, announcement: Announcement, centres: dict[str, Centre], counts: Counts
) -> dict[str, Any]:
    language = console_language(request)
    centre = centres[announcement.venue]
    texts = {code: announcement.texts[code] for code in centre.languages if code in announcement.texts}
    return {
        "id": announcement.id,
        "title": text_in(announcement.texts, language, centre.languages[0])[1],
        "centre": _name(centre, language) if len(centres) > 1 else "",
        "starts": _day(announcement.starts),
        "ends": _day(announcement.ends),
        "urgent": announcement.urgent,
        "networks": ", ".join(announcement.networks),
        "withdrawn": announcement.withdrawn,
        "texts": _rendered(texts),
        "shown": format_decimal(counts.shown, locale=language),
        "opened": format_decimal(counts.opened, locale=language),
    }


def _day(day: date | None) -> str:
    return f"{day:%d/%m/%Y}" if day else ""


def _rendered(texts: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    return [
        {"language": code, "title": text["title"], "body": body_html(text["body"])}
        for code, text in texts.items()
    ]


def _name(centre: Centre, language: str) -> str:
    return centre.names.get(language) or next(iter(centre.names.values()))


def _named(request: web.Request, centres: list[Centre]) -> list[tuple[str, str]]:
    language = console_language(request)
    return [(centre.code, _name(centre, language)) for centre in centres]


def _changed(request: web.Request, found: list[Announcement]) -> dict[str, Any] | None:
    """The announcement that was just changed, for the notice that says so and offers to undo it."""
    for announcement in found:
        if str(announcement.id) == request.query.get("changed"):
            title = text_in(announcement.texts, console_language(request))[1]
            return {"id": announcement.id, "title": title, "withdrawn": announcement.withdrawn}
    return None


# ---------------------------------------------------------------------------------- writing and changing


@staff_only("manager")
async def new_page(request: web.Request) -> web.StreamResponse:
    """An empty form; who covers several venues first says for which one."""
    staff = current_staff(request)
    async with request.config_dict[STORE].read() as conn:
        centres = await select_centres(conn, staff.venue)
    wanted = request.query.get("venue", "")
    chosen = [centre for centre in centres if centre.code == wanted] or centres
    if len(chosen) != 1:
        if not centres:
            raise _no_such("centre")
        return render_console(
            request,
            "campaigns/announcement_form.html",
            choose=_named(request, centres),
            problems=[],
            announcement=None,
        )
    return _form(request, chosen[0], {"starts": _today(request).isoformat()})


@staff_only("manager")
async def create(request: web.Request) -> web.StreamResponse:
    """Keep a new announcement, or show the form again with what was typed."""
    form = await read_form(request)
    centre = await _centre(request, form.get("venue", ""))
    draft, problems = check_draft(form, centre.languages)
    if problems or form.get("action") == "preview":
        return _form(request, centre, form, draft, problems)
    async with request.config_dict[STORE].begin() as conn:
        number = await insert_announcement(conn, centre.code, draft)
    raise _done(request, draft, number)


@staff_only("manager")
async def edit_page(request: web.Request) -> web.StreamResponse:
    """The form with an announcement in it."""
    announcement = await _announcement(request)
    centre = await _centre(request, announcement.venue)
    return _form(request, centre, as_form(announcement), announcement=announcement)


@staff_only("manager")
async def change(request: web.Request) -> web.StreamResponse:
    """Keep the changes, or show the form again with what was typed."""
    form = await read_form(request)
    announcement = await _announcement(request)
    centre = await _centre(request, announcement.venue)
    draft, problems = check_draft(form, centre.languages)
    if problems or form.get("action") == "preview":
        return _form(request, centre, form, draft, problems, announcement)
    async with request.config_dict[STORE].begin() as conn:
        if not await update_announcement(conn, announcement.id, current_staff(request).venue, draft):
            raise _no_such()
    raise _done(request, draft, announcement.id, withdrawn=announcement.withdrawn)


@staff_only("manager")
async def withdraw(request: web.Request) -> web.StreamResponse:
    """Take an announcement away from guests."""
    async with request.config_dict[STORE].begin() as conn:
        if not await withdraw_announcement(conn, _number(request), current_staff(request).venue):
            raise _no_such()
    raise web.HTTPSeeOther(f"/announcements?changed={_number(request)}")


@staff_only("manager")
async def restore(request: web.Request) -> web.StreamResponse:
    """Put an announcement back."""
    async with request.config_dict[STORE].begin() as conn:
        if not await restore_announcement(conn, _number(request), current_staff(request).venue):
            raise _no_such()
    announcement = await _announcement(request)
    state = state_on(announcement, _today(request))
    raise web.HTTPSeeOther(f"/announcements?state={state}&changed={announcement.id}")


async def _announcement(request: web.Request) -> Announcement:
    async with request.config_dict[STORE].read() as conn:
        found = await select_announcement(conn, _number(request), current_staff(request).venue)
    if found is None:
        raise _no_such()
    return found


async def _centre(request: web.Request, code: str) -> Centre:
    async with request.config_dict[STORE].read() as conn:
        for centre in await select_centres(conn, current_staff(request).venue):
            if centre.code == code:
                return centre
    raise _no_such("centre")


def _done(request: web.Request, draft: Draft, number: int, *, withdrawn: bool = False) -> web.HTTPSeeOther:
    saved = Announcement(number, "", draft.texts, draft.starts, draft.ends, draft.urgent, withdrawn)
    return web.HTTPSeeOther(f"/announcements?state={state_on(saved, _today(request))}&changed={number}")


def _networks(request: web.Request, centre: Centre, form: Mapping[str, str]) -> list[str]:
    """The networks to choose from: those of the settings where they are this centre's, and those chosen."""
    settings = request.config_dict[SETTINGS]
    known = [network.name for network in settings.places] if centre.code == settings.venue.code else []
    chosen = [key.removeprefix(ON) for key in form if key.startswith(ON)]
    return [*known, *sorted({name for name in chosen if NETWORK.fullmatch(name)} - set(known))]


def _form(
    request: web.Request,
    centre: Centre,
    form: Mapping[str, str],
    draft: Draft | None = None,
    problems: list[Problem] | None = None,
    announcement: Announcement | None = None,
) -> web.Response:
    """The form with what was typed, what is wrong with it, and how it will look when that was asked for."""
    preview = draft is not None and not problems
    return render_console(
        request,
        "campaigns/announcement_form.html",
        status=422 if problems else 200,
        choose=[],
        centre=(centre.code, _name(centre, console_language(request))),
        fields=centre.languages,
        networks=_networks(request, centre, form),
        form=form,
        problems=problems or [],
        wrong={problem.field: problem for problem in problems or []},
        preview=_rendered(draft.texts) if draft and preview else [],
        announcement=announcement,
        here=f"{request.path}?venue={centre.code}" if announcement is None else request.path,
    )


ROUTES: list[web.RouteDef] = [
    web.get("/announcements", list_page),
    web.get("/announcements/new", new_page),
    web.post("/announcements/new", create),
    web.get("/announcements/{id:[0-9]{1,9}}/edit", edit_page),
    web.post("/announcements/{id:[0-9]{1,9}}/edit", change),
    web.post("/announcements/{id:[0-9]{1,9}}/withdraw", withdraw),
    web.post("/announcements/{id:[0-9]{1,9}}/restore", restore),
]
