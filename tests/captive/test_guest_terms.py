"""What guests meet of the terms: refusals in words, what is left of a lease, staying longer, answering later."""

import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import captive.app
from captive.gateway import Lease, OpenGateway
from captive.grants import book, grants
from crm.settings import Grant, Network
from tests.captive.portal_app import Clock, Guest, Page, Portal, portal_at
from tests.waiting import until

MB = 1_000_000
SKIP = "Skip, go online now"


class Watch:
    """Moves on the monotonic clock and the one on the wall together."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.ahead, real = clock, 0.0, book.now_on_loop
        for module in (book, grants):
            monkeypatch.setattr(module, "now_on_loop", lambda: real() + self.ahead)

    def pass_by(self, minutes: float) -> None:
        self.ahead += minutes * 60
        self.clock.pass_by(minutes=minutes)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(captive.app, "TICK", 0.1)
    return Watch(Clock(), monkeypatch)  # a Friday, 10:00


@contextlib.asynccontextmanager
async def portal_with(folder: Path, watch: Watch, /, **grant: Any) -> AsyncIterator[Portal]:
    network = Network(interface="loopback", grant=Grant(**grant), walled_garden=("dichvucong.gov.vn",))
    async with portal_at(folder, watch.clock, networks=(network,)) as portal:
        yield portal


def answers(portal: Portal) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{portal.settings.store.crm}?mode=ro", uri=True)) as store:
        return sorted(text for (text,) in store.execute("SELECT answers FROM response"))


def survey_of(page: Page) -> tuple[str, str]:
    """(the way to the survey that *page* offers, the token in it)."""
    found = re.search(r'href="(/\w+/survey/\w+)\?r=([^"]+)"', page.text)
    assert found is not None, page.text
    return found.group(1), found.group(2)


async def online(guest: Guest) -> Page:
    page = await guest.get("/en/online?again=1")
    assert page.status == 200, page.location
    return page


# -- refused --------------------------------------------------------------------------------------


async def test_after_hours_the_first_page_says_so_before_anybody_answers(
    tmp_path: Path, watch: Watch
) -> None:
    hours = ("mon-fri 07:30-09:30", "mon-fri 13:30-17:00")
    async with portal_with(tmp_path, watch, opening=hours) as portal:
        guest = portal.guest()
        page = await guest.get("/en")
        assert "The Wi-Fi is closed now" in page.text
        assert "It opens again today at 13:30." in page.text
        assert "Monday to Friday: 07:30–09:30, 13:30–17:00" in page.words
        assert SKIP not in page.text
        assert "they do not bring you online now" in page.text
        assert "https://dichvucong.gov.vn/" in page.text
        assert "Wi-Fi mở lại lúc 13:30 hôm nay." in (await guest.get("/vi")).text

        where, token = survey_of(page)
        question = await guest.get(f"{where}?r={token}")
        assert SKIP not in question.text
        assert "they do not bring you online now" in question.text
        await guest.post(where, r=token, value="with")
        reply = await guest.post("/en/survey/A4", r=token, value="Thanks")
        assert (reply.status, reply.location) == (303, "/en")
        assert answers(portal) == ['{"A0": "with", "A4": "Thanks"}']
        after = await guest.get("/en")
        assert "Thank you for your feedback." in after.text
        assert (await guest.get("/en/online")).location == "/en"

        watch.pass_by(3.5 * 60)
        page = await guest.get("/en")
        assert "Welcome back" in page.text, "nobody is asked twice"
        assert (await guest.post("/en/skip")).location == "/en/online"


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ("sat 07:30-17:00", "It opens again tomorrow at 07:30."),
        ("mon-fri 07:30-09:30", "It opens again on Monday, 23/11, at 07:30."),
    ],
)
async def test_when_it_opens_again_is_said_as_people_say_it(
    tmp_path: Path, watch: Watch, hours: str, words: str
) -> None:
    async with portal_with(tmp_path, watch, opening=(hours,)) as portal:
        assert words in (await portal.guest().get("/en")).text


async def test_a_skip_from_an_old_page_leads_to_the_reason(tmp_path: Path, watch: Watch) -> None:
    async with portal_with(tmp_path, watch, opening=("fri 09:00-10:30",)) as portal:
        guest = portal.guest()
        assert SKIP in (await guest.get("/en")).text
        watch.pass_by(40)
        assert (await guest.post("/en/skip")).location == "/en"
        assert "The Wi-Fi is closed now" in (await guest.get("/en")).text


async def until_ended(portal: Portal) -> None:
    """Wait for the regular look that ends what has run out."""

    def ended() -> bool:
        with contextlib.closing(sqlite3.connect(portal.settings.store.access)) as store:
            return not store.execute('SELECT 1 FROM "grant"').fetchall()

    await until(ended)


async def test_the_days_time_used_up_is_told_with_its_measure(tmp_path: Path, watch: Watch) -> None:
    async with portal_with(tmp_path, watch, minutes=240, daily_minutes=100) as portal:
        guest = portal.guest()
        await guest.post("/en/skip")
        watch.pass_by(101)
        await until_ended(portal)
        page = await guest.get("/en")
        assert "Your time for today is used up" in page.text
        assert "Each device may be online for 1 h 40 min a day." in page.words
        assert "From midnight on you can go online again." in page.text
        assert "MB a day" not in page.text
        assert SKIP not in page.text
        assert "Your time for today" not in (await portal.guest().get("/en")).text


async def test_a_blocked_device_is_sent_to_the_desk(tmp_path: Path, watch: Watch) -> None:
    """On loopback no device has a MAC, so the list is asked about an address."""
    network = Network(interface="loopback", never=("127.0.1.1",))
    async with portal_at(tmp_path, watch.clock, networks=(network,)) as portal:
        guest, other = portal.guest(), portal.guest()
        page = await guest.get("/en")
        assert "This device cannot go online here" in page.text
        assert "guidance desk" in page.text
        assert SKIP not in page.text
        assert (await guest.post("/en/skip")).location == "/en"
        assert SKIP in (await other.get("/en")).text


async def test_an_error_page_offers_no_way_online_that_there_is_not(tmp_path: Path, watch: Watch) -> None:
    async with portal_with(tmp_path, watch, opening=("sat 09:00-10:30",)) as portal:
        assert "/skip" not in (await portal.guest().get("/en/nothing")).text
    async with portal_with(tmp_path, watch) as portal:
        assert "/skip" in (await portal.guest().get("/en/nothing")).text


async def test_who_took_a_connections_data_is_told_and_offered_the_next(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken(monkeypatch)
    async with portal_with(tmp_path, watch, total_mb=5) as portal:
        guest = portal.guest()
        await guest.post("/en/skip")
        taken.bytes = 4 * MB - 1
        watch.pass_by(1)
        await eventually(guest, "1 MB of data are left.")
        taken.bytes = 5 * MB
        watch.pass_by(1)
        await until_ended(portal)
        page = await guest.get("/en")
        assert "The data of your connection is used up" in page.text
        assert "Tap the button to begin a new connection." in page.text
        taken.bytes = 0
        assert (await guest.post("/en/skip")).location == "/en/online"
        assert "5 MB of data are left." in (await online(guest)).text


class Taken:
    """What the kernel counts for everybody, as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes, plain = 0, OpenGateway.list

        async def counted(gateway: OpenGateway, *, counts: bool = False) -> dict[str, Lease]:
            leases = await plain(gateway, counts=counts)
            return {key: msgspec.structs.replace(lease, down=self.bytes) for key, lease in leases.items()}

        monkeypatch.setattr(OpenGateway, "list", counted)


async def eventually(guest: Guest, words: str) -> None:
    async def said() -> bool:
        return words in (await online(guest)).text

    await until(said)


# -- online ---------------------------------------------------------------------------------------


async def test_the_page_tells_what_is_left_and_offers_more_near_the_end_only(
    tmp_path: Path, watch: Watch
) -> None:
    async with portal_with(tmp_path, watch, minutes=200, extend_minutes=60, extensions=1) as portal:
        guest = portal.guest()
        await guest.post("/en/skip")
        page = await online(guest)
        assert "The connection lasts until 13:20 (3 h 20 min left)." in page.words
        assert "/en/extend" not in page.text
        assert "MB of data" not in page.text
        assert (await guest.post("/en/extend")).location == "/en/online?again=1"
        assert "until 13:20" in (await online(guest)).text, "not before the end is near"

        watch.pass_by(175)
        page = await online(guest)
        assert "Stay online longer, until 14:20" in page.text
        assert (await guest.post("/en/extend")).location == "/en/online?again=1"
        page = await online(guest)
        assert "The connection lasts until 14:20 (1 h 25 min left)." in page.words

        watch.pass_by(60)
        page = await online(guest)
        assert "/en/extend" not in page.text, "once was all"
        assert "When the connection ends, this page opens again." in page.text
        await guest.post("/en/extend")
        assert "until 14:20" in (await online(guest)).text


async def test_closing_time_is_said_instead_of_a_button_that_does_nothing(
    tmp_path: Path, watch: Watch
) -> None:
    async with portal_with(tmp_path, watch, minutes=60, opening=("fri 09:00-11:20",)) as portal:
        guest = portal.guest()
        await guest.post("/en/skip")
        watch.pass_by(50)
        assert "Stay online longer, until 11:20" in (await online(guest)).text
        await guest.post("/en/extend")
        watch.pass_by(20)
        page = await online(guest)
        assert "/en/extend" not in page.text
        assert "The Wi-Fi closes at 11:20." in page.text


async def test_the_days_allowance_is_said_instead_too(tmp_path: Path, watch: Watch) -> None:
    async with portal_with(tmp_path, watch, minutes=60, daily_minutes=60) as portal:
        guest = portal.guest()
        await guest.post("/en/skip")
        watch.pass_by(50)
        page = await online(guest)
        assert "/en/extend" not in page.text
        assert "With that your time for today is used up." in page.text


async def test_a_device_that_is_always_online_has_no_end(tmp_path: Path, watch: Watch) -> None:
    network = Network(interface="loopback", always=("127.0.1.1",))
    async with portal_at(tmp_path, watch.clock, networks=(network,)) as portal:
        page = await online(portal.guest())
        assert "You are online" in page.text
        assert "lasts until" not in page.text
        assert "/en/extend" not in page.text


async def test_the_survey_goes_on_where_it_was_left(tmp_path: Path, watch: Watch) -> None:
    async with portal_with(tmp_path, watch) as portal:
        guest = portal.guest()
        await guest.answer("done", "4", language="en")
        await guest.post("/en/skip")
        page = await online(guest)
        assert "Go on with the survey" in page.text
        where, token = survey_of(page)
        assert where == "/en/survey/A2"
        question = await guest.get(f"{where}?r={token}")
        assert SKIP not in question.text, "who is online skips nothing by going online"
        assert 'href="/en/online"' in question.text
        await guest.post(where, r=token, value="nothing")
        assert (await guest.post("/en/survey/A4", r=token, value="")).location == "/en/online"
        assert "/en/survey/" not in (await online(guest)).text, "finished, and nothing of it held only then"
        assert answers(portal) == ['{"A0": "done", "A1": "4", "A2": "nothing"}']


async def test_who_was_waiting_is_asked_again_at_the_end(tmp_path: Path, watch: Watch) -> None:
    again = "Have you been served by now?"
    async with portal_with(tmp_path, watch) as portal:
        guest, companion = portal.guest(), portal.guest()
        await guest.answer("waiting", "4", "", language="en")
        await companion.answer("with", "", language="en")
        assert again not in (await online(guest)).text
        watch.pass_by(220)
        page = await online(guest)
        assert again in page.text
        assert again not in (await online(companion)).text
        where, token = survey_of(page)
        reply = await guest.post(where, r=token, value="done")
        for value in ("5", "nothing", ""):
            reply = await guest.post(reply.location.partition("?")[0], r=token, value=value)
        assert reply.location == "/en/online"
        page = await online(guest)
        assert again not in page.text
        assert "Thank you for your feedback." in page.text
        assert '{"A0": "done", "A1": "5", "A2": "nothing"}' in answers(portal)


async def test_after_the_lease_who_was_asked_today_is_let_in_unasked(tmp_path: Path, watch: Watch) -> None:
    async with portal_with(tmp_path, watch, minutes=30) as portal:
        guest = portal.guest()
        await guest.post("/en/skip")
        watch.pass_by(31)
        await until_ended(portal)
        page = await guest.get("/news", Host="neverssl.example", Accept="text/html")
        assert (page.status, page.location) == (302, "http://neverssl.example/news")
        assert "You are online" in (await online(guest)).text


# -- the venue's page -----------------------------------------------------------------------------


async def test_the_venues_page_is_there_online_or_not(tmp_path: Path, watch: Watch) -> None:
    async with portal_with(tmp_path, watch, opening=("mon-sun 00:00-24:00",)) as portal:
        guest = portal.guest()
        assert (await guest.get("/venue", **{"Accept-Language": "en"})).location == "/en/venue"
        for way in ("Go online", "Your connection"):
            page = await guest.get("/en/venue")
            assert "Information for visitors" in page.text
            assert "Every day: 00:00–24:00" in page.words
            assert 'href="https://dichvucong.gov.vn/"' in page.text
            assert way in page.text
            await guest.post("/en/skip")
        assert 'href="/vi/venue"' in (await guest.get("/en/venue")).text
