"""The guest's side of announcements: what the first page lists, and the page of one announcement."""

from datetime import date
from zoneinfo import ZoneInfo

import structlog
from aiohttp import web

from campaigns.announcements import body_html, is_for, shown_on, text_in
from campaigns.store import Seen, count_seen, select_announcement, select_shown
from crm.errors import UserError
from crm.store import Store
from crm.times import UNDATED, local_moment
from crm.web import CLOCK, DOORKEEPER, GUEST_FRAME, SETTINGS, STORE, Notice, html, public, render

log = structlog.get_logger()


async def announcements_for(
    store: Store, venue: str, day: date, language: str
) -> tuple[list[Notice], list[Notice]]:
    """What guests of *venue* who read *language* see on *day*: (urgent ones, the others), each in order."""
    async with store.read() as conn:
        found = await select_shown(conn, venue, day)
    notices = []
    for announcement in found:
        _, title, body = text_in(announcement.texts, language)
        notices.append(
            Notice(announcement.id, title, body_html(body), announcement.urgent, announcement.networks)
        )
    return [each for each in notices if each.urgent], [each for each in notices if not each.urgent]


@public
async def announcement_page(request: web.Request) -> web.StreamResponse:
    """One announcement in full; that it was opened is counted, by whom is not."""
    settings, store = request.config_dict[SETTINGS], request.config_dict[STORE]
    venue, language = settings.venue.code, request.match_info["language"]
    day = local_moment(request.config_dict[CLOCK](), ZoneInfo(settings.venue.timezone)).day
    async with store.read() as conn:
        announcement = await select_announcement(conn, int(request.match_info["id"]), venue)
    network = request.app[DOORKEEPER].guest(request).network
    if (
        announcement is None
        or language not in settings.venue.languages
        or not (day == UNDATED or shown_on(announcement, day))
        or not is_for(announcement, network)
    ):
        raise UserError("This announcement is not shown any more.", 404)
    if request.method == "GET":
        await _count_opened(store, Seen(announcement.id, venue, day, language, "opened"))
    written_in, title, body = text_in(announcement.texts, language, settings.venue.languages[0])
    frame = request.config_dict[GUEST_FRAME](request, language)
    page = {"id": announcement.id, "title": title, "body": body_html(body), "language": written_in}
    values = {**frame, "title": title, "announcement": page}
    values.pop("language", None)
    return html(render(request.app, "campaigns/announcement.html", language, **values))


async def _count_opened(store: Store, seen: Seen) -> None:
    """Count, but never refuse to show a page because counting failed."""
    try:
        await store.write(count_seen, seen)
    except Exception as error:
        log.error("an opened announcement was not counted", error=type(error).__name__)  # noqa: TRY400


ROUTES: list[web.RouteDef] = [
    web.get("/{language:[a-z]{2,3}}/announcements/{id:[0-9]{1,9}}", announcement_page),
]
