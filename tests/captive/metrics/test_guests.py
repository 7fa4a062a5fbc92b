"""Figures of guests: told when a way opens or after a while, and the same whether somebody answered or skipped."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from captive.metrics import figures
from captive.metrics.guests import BOUNDS, HOLD, MAX_HELD, GuestFigures
from tests.captive.metrics.scrapes import Samples, gained, read, value
from tests.captive.portal_app import Clock, Portal, portal_at
from tests.free_ports import free_port

DEVICE = "guest 02:00:00:00:00:01"
PROBE = {"Host": "captive.apple.com"}


@dataclass
class Watch:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_came_before_is_told_when_the_way_opens() -> None:
    told = GuestFigures(watch := Watch())
    told.note(DEVICE, "joined")
    watch.now = 40
    told.note(DEVICE, "shown")
    told.settle()
    assert not told.steps
    told.let_in(DEVICE, "granted", 0.02)
    assert dict(told.steps) == {("guest", "joined"): 1, ("guest", "shown"): 1}
    watch.now = HOLD + 100
    told.settle()
    assert told.steps.total() == 2


def test_who_never_goes_online_is_told_after_a_quarter_of_an_hour() -> None:
    told = GuestFigures(watch := Watch())
    told.note(DEVICE, "joined")
    watch.now = HOLD - 1
    told.note("hall " + DEVICE[6:], "joined")
    told.settle()
    assert not told.steps
    watch.now = HOLD
    told.settle()
    assert dict(told.steps) == {("guest", "joined"): 1}


def test_nothing_gathers_where_nobody_asks() -> None:
    told = GuestFigures(watch := Watch())
    for number in range(100):
        watch.now = number * HOLD
        told.note(f"guest {number}", "joined")
    assert told.steps["guest", "joined"] == 99


def test_a_crowd_that_never_goes_online_fills_no_memory() -> None:
    told = GuestFigures(Watch())
    for number in range(MAX_HELD + 10):
        told.note(f"guest {number}", "joined")
    assert told.steps["guest", "joined"] == 10


@pytest.mark.parametrize(("seconds", "bucket"), [(0.001, 0), (0.05, 0), (0.051, 1), (5.0, 6), (60.0, 7)])
def test_a_wait_is_told_as_its_bucket_and_no_finer(seconds: float, bucket: int) -> None:
    told = GuestFigures(Watch())
    told.let_in(DEVICE, "granted", seconds)
    assert told.waits.index(1) == bucket
    assert told.waited in BOUNDS


def test_who_is_refused_waited_for_nothing() -> None:
    told = GuestFigures(Watch())
    told.let_in(DEVICE, "closed", 0.1)
    assert (told.outcomes["guest", "closed"], sum(told.waits)) == (1, 0)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FRESH", 0)


async def scrape(portal: Portal) -> Samples:
    return read((await portal.told()).text)


@pytest.mark.usefixtures("at_once")
async def test_an_answer_and_a_skip_leave_the_same_trace(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        clean = await scrape(portal)
        answering, skipping = portal.guest(), portal.guest()
        await answering.get("/hotspot-detect.html", **PROBE)
        page = await answering.get("/vi")
        await answering.get("/hotspot-detect.html", **PROBE)  # who stays longer is redirected and shown again
        await answering.get("/vi")
        assert gained(clean, await scrape(portal)) == {}, "nothing is told before the way opens"
        for question, answer in (("A0", "done"), ("A1", "5")):
            saved = await answering.post(f"/vi/survey/{question}", r=page.token, value=answer)
            assert saved.status == 303
            assert gained(clean, await scrape(portal)) == {}, "nor while somebody answers"
        for question, answer in (("A2", "nothing"), ("A4", "")):
            saved = await answering.post(f"/vi/survey/{question}", r=page.token, value=answer)
        assert saved.location == "/vi/online"
        answered = await scrape(portal)

        await skipping.get("/hotspot-detect.html", **PROBE)
        page = await skipping.get("/vi")
        assert gained(answered, await scrape(portal)) == {}
        await skipping.post("/vi/skip", r=page.token)
        skipped = await scrape(portal)
        assert gained(clean, answered) == gained(answered, skipped)
        assert value(skipped, "wificrm_portal_shown_total", place="guest") == 2
        assert value(skipped, "wificrm_devices_redirected_total", place="guest") == 2
        assert value(skipped, "wificrm_grants_total", place="guest", outcome="granted") == 2

        token = re.search(r"/vi/survey/A0\?r=([^\"]+)", (await skipping.get("/vi/online")).text)
        assert token
        late = await skipping.post("/vi/survey/A0", r=token.group(1), value="done")
        assert late.status == 303
        assert gained(skipped, await scrape(portal)) == {}, "nor does an answer given later"


@pytest.mark.usefixtures("at_once")
async def test_answers_are_told_for_finished_days_only_and_few_are_withheld(tmp_path: Path) -> None:
    clock = Clock()
    async with portal_at(tmp_path, clock, metrics=free_port()) as portal:
        for _ in range(5):
            await portal.guest().answer("done", "5")
        skipping = portal.guest()
        await skipping.post("/vi/skip", r=(await skipping.get("/vi")).token)
        clock.pass_by(hours=14, minutes=5)  # five past midnight
        today = await scrape(portal)
        assert value(today, "wificrm_survey_visitors", step="answered") == 0
        clock.pass_by(minutes=10)
        finished = await scrape(portal)
        assert {
            dict(labels)["step"]: number
            for (name, labels), number in finished.items()
            if name == "wificrm_survey_visitors"
        } == {"shown": 6, "answered": 5, "skipped": 1}
        began = value(finished, "wificrm_survey_day_timestamp_seconds")
        assert began == value(today, "wificrm_survey_day_timestamp_seconds") + 86_400

        for _ in range(4):
            await portal.guest().answer("done", "5")
        clock.pass_by(days=1)
        few = await scrape(portal)
        assert ("wificrm_survey_visitors", (("step", "answered"),)) not in few
        assert value(few, "wificrm_survey_visitors", step="shown") == 4
