"""A guest's journey through the running portal, with real stores and the open gateway."""

import hmac
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import captive.app
from captive.certificate import API_PATH
from captive.kernel.neighbours import Loopback
from crm import tokens
from crm.settings import secret
from tests.captive.portal_app import Clock, Portal, portal_at
from tests.waiting import until


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    async with portal_at(tmp_path, Clock()) as running_portal:
        yield running_portal


def rows(portal: Portal, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{portal.settings.store.crm}?mode=ro", uri=True) as store:
        return store.execute(query).fetchall()


def answers(portal: Portal) -> list[str]:
    return sorted(text for (text,) in rows(portal, "SELECT answers FROM response"))


def funnel(portal: Portal) -> dict[str, int]:
    """Pages shown are counted without anybody waiting for it: all are, once the portal has ended."""
    return dict(rows(portal, "SELECT step, sum(n) FROM daily_funnel GROUP BY step"))


async def test_every_tap_is_stored_before_the_next_question(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock()) as portal:
        guest = portal.guest()
        first = await guest.get("/vi")
        reply = await guest.post("/vi/survey/A0", r=first.token, value="done")
        assert reply.status == 303
        assert reply.location == f"/vi/survey/A1?r={first.token}"
        assert answers(portal) == ['{"A0": "done"}']
        assert (await guest.get("/vi/online")).location == "/vi", "not online yet"

        await guest.post("/vi/survey/A1", r=first.token, value="5")
        await guest.post("/vi/survey/A2", r=first.token, value="nothing")
        reply = await guest.post("/vi/survey/A4", r=first.token, value="Rất tốt, gọi tôi 0912 345 678")
        assert reply.location == "/vi/online"
        [stored] = answers(portal)
        assert "0912" not in stored
        assert "A4" in stored
        online = await guest.get("/vi/online")
        assert online.status == 200
        assert "Ông/bà đã vào mạng" in online.text
    assert funnel(portal) == {"shown": 1, "started": 1, "completed": 1}


async def test_who_looks_without_reading_was_shown_nothing(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock()) as portal:
        assert (await portal.guest().head("/vi")).status == 200
    assert funnel(portal) == {}
    async with portal_at(tmp_path, Clock()) as portal:
        assert (await portal.guest().get("/vi")).token
    assert funnel(portal) == {"shown": 1}


async def test_the_page_is_compressed_for_who_takes_that_only(portal: Portal) -> None:
    guest = portal.guest()
    for accept, coding in (("gzip, br", "gzip"), ("identity, gzip;q=0", None), ("br", None)):
        page = await guest.get("/vi", **{"Accept-Encoding": accept})
        assert page.headers.get("Content-Encoding") == coding, accept
        assert page.headers["Vary"] == "Accept-Encoding, Accept-Language"
        assert page.token


async def test_skip_brings_online_just_as_answering_does(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock()) as portal:
        guest = portal.guest()
        page = await guest.get("/en")
        reply = await guest.post("/en/skip", r=page.token)
        assert (reply.status, reply.location) == (303, "/en/online")
        assert "You are online" in (await guest.get("/en/online")).text
        assert answers(portal) == []
    assert funnel(portal) == {"shown": 1, "skipped": 1}


async def test_who_leaves_half_way_leaves_the_answers_so_far_and_skip_is_then_no_skip(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock()) as portal:
        guest = portal.guest()
        reply = await guest.answer("waiting")
        assert reply.location.startswith("/vi/survey/A3")
        await guest.post("/vi/skip")
        assert answers(portal) == ['{"A0": "waiting"}']
    assert funnel(portal) == {"shown": 1, "started": 1}


async def test_going_back_and_changing_the_route_drops_what_is_not_asked_any_more(portal: Portal) -> None:
    guest = portal.guest()
    await guest.answer("done", "4")
    page = await guest.get("/vi")
    await guest.post("/vi/survey/A0", r=page.token, value="with")
    assert answers(portal) == ['{"A0": "with"}']
    assert rows(portal, "SELECT question, value, n FROM daily_count") == [("A0", "with", 1)]


async def test_two_pages_open_in_one_phone_are_one_response(portal: Portal) -> None:
    guest = portal.guest()
    one, two = await guest.get("/vi"), await guest.get("/en")
    assert one.token == two.token
    await guest.post("/vi/survey/A0", r=one.token, value="done")
    await guest.post("/en/survey/A0", r=two.token, value="done")
    assert answers(portal) == ['{"A0": "done"}']
    assert rows(portal, "SELECT n FROM daily_count") == [(1,)]


async def test_the_same_person_the_same_day_is_not_asked_again(portal: Portal) -> None:
    guest = portal.guest()
    await guest.answer("with", "")
    assert (await guest.get("/")).location == "/vi/online"
    portal.clock.pass_by(hours=1)
    probe = await guest.get("/generate_204", Host="connectivitycheck.gstatic.com")
    assert probe.status == 302


async def test_a_page_is_offered_again_after_a_restart_in_the_middle(tmp_path: Path) -> None:
    clock = Clock()
    async with portal_at(tmp_path, clock) as portal:
        guest = portal.guest()
        token = (await guest.get("/vi")).token
        await guest.post("/vi/survey/A0", r=token, value="done")
    async with portal_at(tmp_path, clock) as portal:
        guest = portal.guest()
        reply = await guest.post("/vi/survey/A1", r=token, value="3")
        assert reply.status == 303
        assert answers(portal) == ['{"A0": "done", "A1": "3"}']
        assert (await guest.get("/vi")).token == token


async def test_asked_today_survives_a_restart_and_ends_at_midnight(tmp_path: Path) -> None:
    clock = Clock()
    async with portal_at(tmp_path, clock) as portal:
        await portal.guest().post("/vi/skip")
    clock.pass_by(hours=5)
    async with portal_at(tmp_path, clock) as portal:
        page = await portal.guest().get("/vi")
        assert "Chào mừng" in page.text or 'class="ask"' not in page.text, "asked today: no question"
    clock.pass_by(hours=12)
    async with portal_at(tmp_path, clock) as portal:
        assert 'class="ask"' in (await portal.guest().get("/vi")).text


async def test_a_strangers_token_opens_nothing(portal: Portal) -> None:
    owner, stranger = portal.guest(), portal.guest()
    token = (await owner.get("/vi")).token
    await owner.post("/vi/survey/A0", r=token, value="done")
    own = (await stranger.get("/vi")).token
    await stranger.post("/vi/survey/A0", r=own, value="with")
    reply = await stranger.post("/vi/survey/A0", r=token, value="waiting")
    assert reply.status == 400
    assert answers(portal) == ['{"A0": "done"}', '{"A0": "with"}']


async def test_forged_tokens_are_refused_in_words_with_a_way_on(portal: Portal) -> None:
    guest = portal.guest()
    yesterday = portal.clock.now.date()
    forged = tokens.sign(uuid.uuid4(), yesterday, b"guess" * 8)
    good = (await guest.get("/vi")).token
    for token in ("", "x", forged, "A" * 40, good[:-1] + ("A" if good[-1] != "A" else "B"), "é" * 40):
        reply = await guest.post("/vi/survey/A0", r=token, value="done")
        assert reply.status == 400, token
        assert "/vi/skip" in reply.text
        assert "Traceback" not in reply.text
    assert answers(portal) == []


async def test_a_token_of_the_day_before_yesterday_is_out_of_date(portal: Portal) -> None:
    guest, day = portal.guest(), portal.clock.now.date()
    device = (await Loopback("guest").device(guest.address)) or ""
    key = hmac.digest(secret(portal.settings, "forms"), device.encode(), "sha256")
    for age, status in ((1, 303), (2, 409)):
        token = tokens.sign(uuid.uuid4(), day.replace(day=day.day - age), key)
        assert (await guest.post("/vi/survey/A0", r=token, value="done")).status == status


@pytest.mark.parametrize(
    ("question", "value", "status"), [("A0", "nonsense", 400), ("Z9", "done", 404), ("A0", "", 400)]
)
async def test_unknown_questions_and_answers_are_told(
    portal: Portal, question: str, value: str, status: int
) -> None:
    guest = portal.guest()
    token = (await guest.get("/vi")).token
    reply = await guest.post(f"/vi/survey/{question}", r=token, value=value)
    assert reply.status == status
    assert answers(portal) == []


async def test_a_long_comment_is_refused_and_kept_in_the_form(portal: Portal) -> None:
    guest = portal.guest()
    await guest.answer("with")
    token = (await guest.get("/vi")).token
    reply = await guest.post("/vi/survey/A4", r=token, value="Dài quá " * 200)
    assert reply.status == 400
    assert "Dài quá Dài quá" in reply.text
    huge = await guest.post("/vi/survey/A4", r=token, value="x" * 20_000)
    assert huge.status == 413
    assert answers(portal) == ['{"A0": "with"}']


async def test_what_a_guest_typed_is_escaped(portal: Portal) -> None:
    guest = portal.guest()
    await guest.answer("with")
    token = (await guest.get("/vi")).token
    reply = await guest.post("/vi/survey/A4", r=token, value="<script>x</script>" * 100)
    assert "<script>" not in reply.text
    assert "&lt;script&gt;" in reply.text


async def test_languages(portal: Portal) -> None:
    guest = portal.guest()
    assert '<html lang="vi"' in (await guest.get("/")).text
    assert '<html lang="en"' in (await guest.get("/", **{"Accept-Language": "en-GB,en;q=0.8,vi;q=0.5"})).text
    assert '<html lang="vi"' in (await guest.get("/", **{"Accept-Language": "fr"})).text
    assert (await guest.get("/km")).status == 404, "a draft is not offered unless the settings list it"


async def test_a_draft_is_served_where_the_settings_list_it(tmp_path: Path) -> None:
    names = {"vi": "Phum Sen", "en": "Phum Sen", "km": "Phum Sen"}
    async with portal_at(tmp_path, Clock(), languages=("vi", "km"), names=names) as portal:
        page = await portal.guest().get("/km")
        assert page.status == 200
        assert '<html lang="km"' in page.text
        assert "ភាសាខ្មែរ" in page.text


async def test_the_page_a_person_asked_for_is_offered_once_online(portal: Portal) -> None:
    guest = portal.guest()
    probe = await guest.get("/news?id=1", Host="neverssl.example", Accept="text/html")
    assert probe.status == 302
    await guest.get("/generate_204", Host="connectivitycheck.gstatic.com", Accept="text/html")
    await guest.post("/vi/skip")
    assert 'href="http://neverssl.example/news?id=1"' in (await guest.get("/vi/online")).text


async def test_the_api_is_for_tls_only(portal: Portal) -> None:
    assert (await portal.guest().get(API_PATH)).status == 404


async def test_headers_of_every_guest_page(portal: Portal) -> None:
    guest = portal.guest()
    for path in ("/", "/vi", "/vi/rules", "/vi/nothing", "/vi/survey/A0?r=x"):
        page = await guest.get(path)
        assert "script-src" not in page.headers["Content-Security-Policy"]
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Server"] == "wificrm"
    probe = await guest.get("/generate_204", Host="connectivitycheck.gstatic.com")
    assert probe.headers["Server"] == "wificrm", "nor is a stranger told our libraries by the redirect"


async def test_only_the_demo_lets_a_browser_play_another_phone(portal: Portal) -> None:
    assert (await portal.guest().post("/vi/another-phone")).status == 404


async def test_midnight_makes_everybody_a_new_guest_but_ends_no_grant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(captive.app, "TICK", 0.1)
    async with portal_at(tmp_path, Clock()) as portal:
        guest = portal.guest()
        before = (await guest.get("/vi")).token
        await guest.post("/vi/skip")
        portal.clock.pass_by(hours=15)

        async def is_new() -> bool:
            return before not in (await guest.get("/vi/online")).text

        await until(is_new)  # once the regular look has seen the new day
        assert (await guest.get("/")).location == "/vi/online"


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (b"value=T%E1%BB%91t", "T\\u1ed1t"),
        ("value=Tốt".encode(), "T\\u1ed1t"),  # some phones do not percent-encode
        ("value=Tốt".encode("utf-16-le"), ""),
        (b"value=%FF%FE", ""),
        (b"value=a&value=b", ""),
        (b"&".join(b"f%d=1" % number for number in range(200)), ""),
    ],
)
async def test_letters_are_read_as_utf_8_or_refused(portal: Portal, body: bytes, stored: str) -> None:
    guest = portal.guest()
    await guest.answer("with")
    token = (await guest.get("/vi")).token
    reply = await guest.send(b"r=" + token.encode() + b"&" + body, path="/vi/survey/A4")
    assert reply.status == (303 if stored else 400)
    assert (stored in answers(portal)[0]) if stored else answers(portal) == ['{"A0": "with"}']
