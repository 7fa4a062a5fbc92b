"""Two hundred devices join within seconds of each other: all online, no error, the counts right to the one."""

import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.lab.crowd import Crowd, Device
from tests.lab.gateway import BRIDGE
from tests.lab.internet import STRAY4
from tests.lab.journey import Visit, answer_all, is_online, open_portal
from tests.lab.probes import PROBES
from tests.lab.venue import Venue

pytestmark = pytest.mark.lab

SIZE = 200
AT_ONCE = 40


class Played(NamedTuple):
    """What one device did."""

    device: Device
    language: str
    visit: Visit


class Scene(NamedTuple):
    """The venue after the crowd came."""

    venue: Venue
    crowd: Crowd
    played: list[Played]
    seconds: float


def plan_of(number: int) -> dict[str, str]:
    """What a device answers: everything, until a question that it leaves to *Skip*, or nothing."""
    chance = random.Random(number)
    plans = [
        {},
        {"A0": "waiting", "A3": chance.choice("12345"), "A4": ""},
        {"A0": "waiting"},
        {"A0": "with", "A4": "Cảm ơn" if number % 2 else ""},
        {
            "A0": "done",
            "A1": chance.choice("12345"),
            "A2": chance.choice(["nothing", "waiting", "attitude"]),
            "A4": "",
        },
        {"A0": "done", "A1": chance.choice(["4", "5", "na"])},
    ]
    return chance.choices(plans, weights=[3, 2, 1, 1, 4, 2])[0]


def play(device: Device) -> Played:
    """One device's way: its system's probe, the portal, the survey or *Skip*, then the Internet."""
    language = "en" if device.number % 3 == 0 else "vi"
    probe = PROBES[device.number % len(PROBES)]
    assert device.get(probe.url).status == 302
    visit = answer_all(device, open_portal(device, language=language), plan_of(device.number))
    assert is_online(device)
    assert device.tcp(STRAY4, 5222) == "open"
    assert device.udp(STRAY4, 443) == "answer"
    return Played(device, language, visit)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """A venue of its own; the crowd came, joined, answered or skipped, and is online."""
    with contextlib.ExitStack() as stack:
        venue = stack.enter_context(Venue(prefix4=23))
        crowd = Crowd(venue.run, venue.gateway.namespace, BRIDGE, SIZE, venue.authority.certificate)
        stack.callback(crowd.close)
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        start = time.monotonic()
        crowd.join()
        played = list(pool.map(play, crowd.devices))
        yield Scene(venue, crowd, played, time.monotonic() - start)


def test_everybody_is_online(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    record_property(
        "seconds", scene.seconds
    )  # a figure of this machine and its load; bench/crowd.py has the limit
    assert scene.venue.gateway.allowed().keys() == {device.mac for device in scene.crowd.devices}


def test_every_device_has_an_address_of_its_own(scene: Scene) -> None:
    assert len({device.address4 for device in scene.crowd.devices}) == SIZE


def test_nothing_went_wrong_on_the_way(scene: Scene) -> None:
    for name in ("portal", "gate", "migrate"):
        log = scene.venue.gateway.log(name)
        assert "Traceback" not in log
        assert "level='error'" not in log
        assert "level='warning'" not in log


def expected_funnel(played: list[Played]) -> Counter[str]:
    """What the crowd itself did, step by step."""
    steps = Counter(shown=len(played))
    for _, _, visit in played:
        steps["started"] += bool(visit.given)
        steps["completed"] += bool(visit.given) and not visit.skipped
        steps["skipped"] += not visit.given
    return steps


def expected_counts(played: list[Played]) -> Counter[tuple[str, str, str]]:
    """(language, question, value) of every closed answer the crowd gave."""
    return Counter(
        (language, question, value)
        for _, language, visit in played
        for question, value in visit.given.items()
        if question != "A4"
    )


def test_the_store_counts_right_to_the_one(scene: Scene) -> None:
    path = scene.venue.gateway.home / "data/crm.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        funnel = dict(store.execute("SELECT step, sum(n) FROM daily_funnel GROUP BY step"))
        counts = {
            (language, question, value): n
            for language, question, value, n in store.execute(
                "SELECT language, question, value, sum(n) FROM daily_count GROUP BY language, question, value"
            )
            if question != "A4"
        }
        responses = store.execute("SELECT count(*), sum(complete) FROM response").fetchone()
    assert funnel == expected_funnel(scene.played)
    assert counts == expected_counts(scene.played)
    assert responses == (funnel["started"], funnel["completed"])


def test_the_report_is_right_to_the_one(scene: Scene) -> None:
    (centre,) = scene.venue.gateway.report()["venues"]
    steps = expected_funnel(scene.played)
    assert {step: centre["funnel"][step] for step in steps} == steps
    expected: Counter[tuple[str, str]] = Counter()
    for (_, question, value), n in expected_counts(scene.played).items():
        expected[question, value] += n
    told = {(q["key"], option["key"]): option["n"] for q in centre["questions"] for option in q["options"]}
    assert {key: n for key, n in told.items() if n is not None} == {
        key: expected[key] for key, n in told.items() if n is not None
    }
    assert [key for key, n in told.items() if n is None and 0 < expected[key] < 5 and key[0] == "A0"] == []
    assert all(told["A0", value] is not None for value in ("done", "waiting", "with"))
    assert sum(n is not None for n in told.values()) >= 10
    assert sorted(comment["text"] for comment in centre["comments"]) == sorted(
        visit.given["A4"] for _, _, visit in scene.played if visit.given.get("A4")
    )
