"""What guests see of announcements."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from aiohttp import web

from campaigns.announcements import Draft
from campaigns.pages import ROUTES, announcements_for
from campaigns.samples import insert_samples
from campaigns.store import Counts, insert_announcement, select_counts, withdraw_announcement
from crm.console import console_errors
from crm.settings import Settings
from crm.store import Store
from crm.web import CLOCK, DOORKEEPER, GUEST_FRAME, SETTINGS, STORE, TEMPLATES, WORDS, Guest, make_templates
from crm.words import load_words
from tests.console_app import Client, Clock, fill, open_client

DAY = date(2026, 11, 20)


class Desk:
    """A doorkeeper whose guests are all on the network *desks*."""

    def guest(self, _request: web.Request) -> Guest:
        return Guest("DEMO-P01", "desks", "", asked_today=False, started=False, online=False)


def frame(request: web.Request, language: str) -> dict[str, Any]:
    return {
        "venue_name": "Trung tâm",
        "venue_phone": "",
        "style": "",
        "here": "/announcements/1",
        "languages": ("vi", "en"),
    }


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Client]:
    await fill(store)
    await insert_samples(store, "DEMO-P01", DAY)
    # The guest portal's own middleware belongs to another package; any that turns UserError into 404 will do.
    app = web.Application(middlewares=[console_errors])
    words = load_words()
    clock = Clock(datetime(2026, 11, 19, 18, 0, tzinfo=UTC))  # already the 20th at the venue
    app[SETTINGS], app[STORE], app[WORDS] = Settings(), store, words
    app.update({CLOCK: clock, GUEST_FRAME: frame, DOORKEEPER: Desk()})
    app[TEMPLATES] = make_templates({"crm": "crm", "campaigns": "campaigns"}, words)
    app.add_routes(ROUTES)
    opened = await open_client(app)
    yield opened
    await opened.close()


async def urgent_id(store: Store) -> int:
    urgent, _ = await announcements_for(store, "DEMO-P01", DAY, "vi")
    return urgent[0].id


async def test_the_first_page_gets_urgent_ones_apart_in_the_language_asked_for(
    client: Client, store: Store
) -> None:
    urgent, others = await announcements_for(store, "DEMO-P01", DAY, "en")
    assert [each.title for each in urgent] == ["Beware of fraud"]
    assert "<strong>never</strong>" in urgent[0].body
    assert len(others) == 4
    assert await announcements_for(store, "DEMO-P01", date(2026, 11, 19), "vi") == ([], [])
    assert await announcements_for(store, "DEMO-X02", DAY, "vi") == ([], [])


async def test_an_announcement_is_shown_and_counted_as_opened(client: Client, store: Store) -> None:
    number = await urgent_id(store)
    answer = await client.get(f"/vi/announcements/{number}")
    page = await answer.text()
    assert answer.status == 200
    assert "Cảnh giác lừa đảo" in page
    assert "<strong>không bao giờ</strong>" in page
    assert '<html lang="vi">' in page
    await client.get(f"/en/announcements/{number}")
    assert (await client.head(f"/en/announcements/{number}")).status == 200
    async with store.read() as conn:
        assert await select_counts(conn, "DEMO-P01") == {number: Counts(opened=2)}


async def test_one_that_is_not_shown_here_today_is_not_found(client: Client, store: Store) -> None:
    texts = {"vi": {"title": "Kín", "body": "Chưa đến ngày."}}
    async with store.begin() as conn:
        coming = await insert_announcement(
            conn, "DEMO-P01", Draft(texts, date(2026, 11, 21), None, urgent=False)
        )
        elsewhere = await insert_announcement(conn, "DEMO-X02", Draft(texts, DAY, None, urgent=False))
        withdrawn = await insert_announcement(conn, "DEMO-P01", Draft(texts, DAY, None, urgent=False))
        await withdraw_announcement(conn, withdrawn, None)
    number = await urgent_id(store)
    for path in (
        f"/vi/announcements/{coming}",
        f"/vi/announcements/{elsewhere}",
        f"/vi/announcements/{withdrawn}",
    ):
        answer = await client.get(path)
        assert answer.status == 404
        assert "Kín" not in await answer.text()
    for path in ("/vi/announcements/999999999", "/vi/announcements/x", f"/km/announcements/{number}"):
        assert (await client.get(path)).status == 404
    async with store.read() as conn:
        assert await select_counts(conn, None) == {}


async def test_an_announcement_for_another_network_is_not_found_here(client: Client, store: Store) -> None:
    texts = {"vi": {"title": "Chỉ tại quầy", "body": "Mời ông/bà lấy số."}}
    numbers = {}
    for networks in ((), ("desks",), ("guest", "desks"), ("guest",)):
        draft = Draft(texts, DAY, None, urgent=False, networks=networks)
        async with store.begin() as conn:
            numbers[networks] = await insert_announcement(conn, "DEMO-P01", draft)
    statuses = {
        networks: (await client.get(f"/vi/announcements/{number}")).status
        for networks, number in numbers.items()
    }
    assert statuses == {(): 200, ("desks",): 200, ("guest", "desks"): 200, ("guest",): 404}
    _, others = await announcements_for(store, "DEMO-P01", DAY, "vi")
    here = {each.id for each in others if each.is_for("desks")}
    assert set(numbers.values()) - here == {numbers["guest",]}


async def test_the_page_stands_when_counting_fails(client: Client, store: Store) -> None:
    number = await urgent_id(store)
    await store.close()  # no write is taken any more; reading goes on
    assert (await client.get(f"/vi/announcements/{number}")).status == 200


async def test_a_text_in_another_language_says_which(client: Client, store: Store) -> None:
    texts = {"vi": {"title": "Cúp điện", "body": "Từ 8 giờ."}}
    async with store.begin() as conn:
        number = await insert_announcement(conn, "DEMO-P01", Draft(texts, DAY, None, urgent=False))
    page = await (await client.get(f"/en/announcements/{number}")).text()
    assert '<html lang="en">' in page
    assert '<article lang="vi">' in page
    assert "Cúp điện" in page
