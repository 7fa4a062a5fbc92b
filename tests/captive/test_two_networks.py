"""One box, two networks: each has its own questionnaire, announcements and terms; the report shows both."""

import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import captive.app
from campaigns.announcements import Draft
from campaigns.store import insert_announcement
from crm.settings import Grant, Network
from crm.store import open_store
from crm.times import local_moment
from surveys.results import build_report
from tests.captive.portal_app import Clock, Page, Portal, portal_at
from tests.waiting import until

HALL, DESKS = 1, 2  # subnets
NETWORKS = (
    Network(name="guest", interface="hall0", address4=f"127.0.{HALL}.254/24", address6=""),
    Network(
        name="desks",
        interface="desks0",
        address4=f"127.0.{DESKS}.254/24",
        address6="",
        questionnaire="chuan",
        grant=Grant(minutes=30),
    ),
)


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    async with portal_at(tmp_path, Clock(), networks=NETWORKS) as running:
        yield running


def asked(page: Page) -> str:
    found = re.search(r'action="/\w+/survey/(\w+)"', page.text)
    assert found is not None, page.text
    return found.group(1)


async def test_each_network_has_its_own_survey_and_the_report_shows_both(portal: Portal) -> None:
    assert asked(await portal.guest(HALL).get("/en")) == "A0"
    assert asked(await portal.guest(DESKS).get("/en")) == "B1"
    for _ in range(6):
        assert (await portal.guest(HALL).answer("done", "5", "nothing", "")).location == "/vi/online"
        assert (await portal.guest(DESKS).answer("4", "4", "4", "notyet", "never")).location == "/vi/online"
    store = open_store(portal.settings.store.crm)
    moment = local_moment(portal.clock(), ZoneInfo("Asia/Ho_Chi_Minh"))
    try:
        async with store.read() as conn:
            report = await build_report(conn, ["DEMO-P01"], moment.day, moment.day, now=portal.clock())
    finally:
        await store.close()
    (venue,) = report.venues
    counts = {(each.questionnaire, each.key): each.n for each in venue.questions}
    assert counts["nhanh", "A1"] == counts["chuan", "B1"] == counts["chuan", "B5"] == 6
    assert {each.questionnaire for each in venue.versions} == {"nhanh", "chuan"}
    assert (venue.funnel.started, venue.funnel.completed) == (12, 12)


async def test_a_question_of_the_other_network_is_not_asked_here(portal: Portal) -> None:
    guest = portal.guest(HALL)
    token = (await guest.get("/en")).token
    assert (await guest.post("/en/survey/B1", r=token, value="5")).status == 404


async def test_each_network_has_its_own_terms(portal: Portal) -> None:
    for subnet, words in ((HALL, "lasts until 14:00 (4 h left)"), (DESKS, "lasts until 10:30 (30 min left)")):
        guest = portal.guest(subnet)
        await guest.post("/en/skip")
        assert words in (await guest.get("/en/online?again=1")).words


async def test_each_network_has_its_own_announcements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.app, "TICK", 0.1)
    async with portal_at(tmp_path, Clock(), networks=NETWORKS) as portal:
        numbers = await look_at_announcements(portal)
    # What was shown is counted without anybody waiting for it: all is, once the portal has ended.
    with contextlib.closing(sqlite3.connect(portal.settings.store.crm)) as crm:
        query = "SELECT announcement_id, n FROM announcement_count WHERE event = 'shown'"
        shown = dict(crm.execute(query).fetchall())
    assert shown == {numbers["Xin lấy số"]: 1, numbers["Xin trả phí"]: 1, numbers["Nghỉ lễ"]: 2}


async def look_at_announcements(portal: Portal) -> dict[str, int]:
    """A guest of each network reads every page, and meets what is announced there; returns {title: number}."""
    hall, desks = portal.guest(HALL), portal.guest(DESKS)
    numbers: dict[str, int] = {}
    store = open_store(portal.settings.store.crm)
    for title, networks in (("Xin lấy số", ("guest",)), ("Xin trả phí", ("desks",)), ("Nghỉ lễ", ())):
        texts = {"vi": {"title": title, "body": "Xin cảm ơn."}}
        async with store.begin() as conn:
            draft = Draft(texts, date(2026, 11, 20), None, urgent=title == "Xin lấy số", networks=networks)
            numbers[title] = await insert_announcement(conn, "DEMO-P01", draft)
    await store.close()

    async def announced() -> bool:
        return "Nghỉ lễ" in (await hall.get("/vi/venue")).text

    await until(announced)
    for path in ("/vi", "/vi/venue", "/vi/online?again=1"):
        for guest, here, not_here in (
            (hall, "Xin lấy số", "Xin trả phí"),
            (desks, "Xin trả phí", "Xin lấy số"),
        ):
            page = await guest.get(path)
            assert page.status == 200, path
            assert here in page.text
            assert "Nghỉ lễ" in page.text
            assert not_here not in page.text
            assert (await guest.get(f"/vi/announcements/{numbers[here]}")).status == 200
            assert (await guest.get(f"/vi/announcements/{numbers[not_here]}")).status == 404
            if path == "/vi/venue":
                await guest.post("/vi/skip")
    return numbers
