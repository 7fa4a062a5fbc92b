"""On what terms a device is let through."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from captive.gateway import Allow, Request, Terms
from captive.grants.policy import Policy, Refusal, Taken, Usage
from crm.settings import Grant, Network

MAC = "02:00:00:00:00:01"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))  # a Friday
MB = 1_000_000


def policy(never: tuple[str, ...] = (), **grant: Any) -> Policy:
    return Policy(Network(never=never, grant=Grant(**grant)))


def reason(of: Policy, now: datetime | None = NOON, today: Usage | None = None) -> str:
    with pytest.raises(Refusal) as told:
        of.seconds(MAC, now, today or Usage())
    return told.value.reason


def test_plain_minutes() -> None:
    assert policy(minutes=60).seconds(MAC, NOON, Usage(seconds=10**6, bytes=10**12)) == 3600


def test_a_grant_ends_at_closing_time_and_none_begins_after() -> None:
    office = policy(minutes=240, opening=("mon-fri 07:30-13:00",))
    assert office.seconds(MAC, NOON, Usage()) == 3600
    assert reason(office, NOON.replace(hour=13)) == "closed"
    assert reason(office, NOON.replace(day=21)) == "closed"
    assert office.seconds(MAC, None, Usage()) == 240 * 60  # a clock known to be wrong closes nothing


def test_a_refusal_for_the_hour_says_when_it_opens_again() -> None:
    office = policy(opening=("mon-fri 07:30-11:30", "mon-fri 13:30-17:00"))
    for now, opens in (
        (NOON, NOON.replace(hour=13, minute=30)),
        (NOON.replace(hour=17), NOON.replace(day=23, hour=7, minute=30)),
    ):
        with pytest.raises(Refusal) as told:
            office.seconds(MAC, now, Usage())
        assert told.value.opens == opens
    with pytest.raises(Refusal) as told:
        policy(daily_minutes=1).seconds(MAC, NOON, Usage(seconds=60))
    assert told.value.opens is None


def test_what_keeps_an_extension_short_is_named() -> None:
    office = policy(minutes=60, extend_minutes=60, opening=("fri 07:00-13:30",), daily_minutes=120)
    assert office.obstacle(MAC, NOON, Usage(), 600) is None
    assert office.obstacle(MAC, NOON.replace(hour=13), Usage(), 600) == "closed"
    assert office.obstacle(MAC, NOON, Usage(seconds=4800), 600) == "used_up"


@pytest.mark.parametrize("minutes", [60, 7 * 24 * 60 - 30, 7 * 24 * 60])
def test_no_extension_makes_a_grant_longer_than_the_gate_takes(minutes: int) -> None:
    """It would hang up on the portal, and refuse with it whoever else is to be let in."""
    week = policy(minutes=minutes, extend_minutes=24 * 60, extensions=100)
    left = week.seconds(MAC, NOON, Usage())
    for _ in range(100):
        left = week.extended(MAC, NOON, Usage(), left)
        asked = Allow(1, {f"guest {MAC}": Terms(left)})
        assert msgspec.json.decode(msgspec.json.encode(asked), type=Request) == asked
    assert left == week.longest == 7 * 24 * 3600


def test_the_days_allowance_counts_all_grants() -> None:
    daily = policy(minutes=60, daily_minutes=90, daily_mb=10)
    assert daily.seconds(MAC, NOON, Usage()) == 3600
    assert daily.seconds(MAC, NOON, Usage(seconds=3600)) == 1800
    assert reason(daily, today=Usage(seconds=5400)) == "used_up"
    assert reason(daily, today=Usage(bytes=10 * MB)) == "used_up"
    assert daily.is_daily
    assert not policy().is_daily


def test_who_is_blocked_is_told_so_before_anything_else() -> None:
    assert reason(policy(never=(MAC,), opening=("mon 07:00-08:00",))) == "blocked"


def test_an_extension_keeps_within_the_same_limits() -> None:
    office = policy(
        minutes=60, extend_minutes=60, extensions=2, opening=("fri 07:00-13:30",), daily_minutes=120
    )
    assert office.extended(MAC, NOON, Usage(), 600) == 4200
    assert office.extended(MAC, NOON.replace(hour=13), Usage(), 600) == 1800
    assert office.extended(MAC, NOON, Usage(seconds=4800), 600) == 2400
    assert office.longest == 180 * 60


@pytest.mark.parametrize(
    ("grant", "up", "down", "left"),
    [
        ({}, 10**12, 10**12, None),
        ({"up_mb": 1}, MB - 1, 5 * MB, 1),
        ({"up_mb": 1}, MB, 0, 0),
        ({"down_mb": 2}, 9 * MB, 2 * MB - 7, 7),
        ({"total_mb": 3}, MB, MB, MB),
        ({"total_mb": 3}, 2 * MB, MB, 0),
        ({"total_mb": 3, "down_mb": 1}, 0, MB + 1, 0),
    ],
)
def test_amounts(grant: dict[str, Any], up: int, down: int, left: int | None) -> None:
    terms = policy(**grant)
    taken = Taken(up=up, down=down)
    assert terms.bytes_left(taken, Usage()) == left
    assert terms.is_spent(taken, Usage(), now=0) is (left == 0)


def test_idle_means_nothing_taken_for_so_long() -> None:
    terms = policy(idle_minutes=5)
    taken = Taken(quiet_since=100.0)
    assert not terms.is_idle(taken, 100 + 299)
    assert terms.is_idle(taken, 100 + 300)
    taken.read(1, 0, 399.0)
    assert not terms.is_spent(taken, Usage(), 400 + 298)
    assert not policy().is_idle(Taken(), 10**9)


def test_counts_go_on_when_the_kernel_begins_anew() -> None:
    taken = Taken()
    assert taken.read(100, 1000, 1.0) == 1100
    assert taken.read(150, 1000, 2.0) == 50
    assert taken.read(150, 1000, 3.0) == 0
    assert taken.quiet_since == 2.0
    assert taken.read(20, 5, 4.0) == 25  # the table was lost and is back
    assert (taken.up, taken.down) == (170, 1005)
