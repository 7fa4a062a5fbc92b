"""Thin routers when portal, link or clocks fail: nobody who is online notices, nobody is asked twice."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.lab import thin
from tests.lab.internet import STRAY4, STRAY6
from tests.lab.journey import BROWSER, is_online, page_of, skip
from tests.lab.thin import PORTAL, PORTAL4, PORTAL6, ThinPhone, ThinRouter, ThinVenue
from tests.lab.venue import eventually

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(thin.missing()), reason=thin.missing() or "-")]

PROBE = "http://connectivitycheck.gstatic.com/generate_204"
DAY = 86_400


@pytest.fixture(scope="module")
def halls() -> Iterator[ThinVenue]:
    """Two routers; the second lets everybody through while the portal is away."""
    with ThinVenue("shut", "open", settings={"open": "away=open\naway_after=0\n"}) as built:
        yield built


@pytest.fixture
def phone(halls: ThinVenue) -> Iterator[ThinPhone]:
    """A phone that is online at the first router."""
    with halls.phone(halls.routers[0]) as made:
        skip(made)
        assert eventually(lambda: is_online(made))
        yield made


def is_away(router: ThinRouter) -> bool:
    return (router.run_folder / "state").read_text().startswith("away")


def check_not_asked_again(phone: ThinPhone) -> None:
    """The portal knows the phone, and that it is online."""
    page = page_of(phone.follow(phone.get(f"https://{PORTAL}/en", headers=BROWSER), headers=BROWSER))
    assert page.survey is None
    assert "You are online" in page.text


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_a_restart_of_the_portal_is_not_noticed(halls: ThinVenue, phone: ThinPhone, kill: bool) -> None:
    shut, open_ = halls.routers
    flow = phone.flow(STRAY4)
    with contextlib.closing(flow), halls.phone(shut) as stranger, halls.phone(open_) as guest:
        before = shut.allowed()[phone.mac]
        assert guest.tcp(STRAY4, 443) == "reset"
        (halls.portal.kill9 if kill else halls.portal.stop)("portal")
        assert eventually(lambda: is_away(shut) and is_away(open_))
        assert is_online(phone)
        # Closed: nobody new, and the router says why, also in IPv6. Open: everybody.
        for family, own in ((4, "192.168.60.1"), (6, "[fd50:7c3a:1::1]")):
            probe = stranger.get(PROBE, family=family)
            assert (probe.status, probe.location) == (302, f"http://{own}/wificrm-away")
            page = stranger.follow(probe)
            assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
            assert "paused" in page.text
        assert stranger.tcp(STRAY4, 443) == stranger.tcp(STRAY6, 443) == "reset"
        assert eventually(lambda: guest.tcp(STRAY4, 443) == guest.tcp(STRAY6, 443) == "open")
        assert is_online(guest)
        assert guest.tcp("10.1.2.3", 80) == "reset"
        open_.namespace.run("nft", "flush", "ruleset")  # put back although nobody asks for reports now
        assert eventually(lambda: guest.tcp("10.1.2.3", 80, timeout=2) == "reset")
        assert eventually(lambda: guest.tcp(STRAY4, 443) == "open")
        halls.portal.restart()
        halls.wait()
        assert flow.alive and flow.grows()  # noqa: PT018
        assert eventually(lambda: guest.tcp(STRAY4, 443) == "reset")
        assert guest.get(PROBE).location.startswith(f"https://{PORTAL}/enter?r=open")
        time.sleep(3)  # the book and the router are compared every two seconds
        assert before - 60 < shut.allowed()[phone.mac] <= before
        assert flow.alive
        check_not_asked_again(phone)


def test_while_the_link_is_cut_leases_run_on_and_afterwards_all_is_put_right(
    halls: ThinVenue, phone: ThinPhone
) -> None:
    shut = halls.routers[0]
    short, strange = "02:1a:b0:99:00:01", "02:1a:b0:99:00:02"
    before = shut.allowed()[phone.mac]
    with halls.phone(shut) as leaving:
        skip(leaving)
        shut.cut()
        shut.namespace.run(
            "nft",
            "add",
            "element",
            "inet",
            "wificrm",
            "allowed",
            f"{{ {short} timeout 3s, {strange} timeout 1h }}",
        )
        with halls.phone(shut):  # who comes is to be reported: the cut is noticed at once
            assert eventually(lambda: is_away(shut))
        assert {phone.mac, leaving.mac, strange} <= shut.allowed().keys()
        assert eventually(lambda: short not in shut.allowed())
        halls.portal.wificrm("device", "end", leaving.mac)
        assert leaving.mac in shut.allowed()
        shut.heal()
        halls.wait(only=shut)
        assert eventually(lambda: not {leaving.mac, strange} & shut.allowed().keys())
    assert before - 120 < shut.allowed()[phone.mac] <= before
    assert eventually(lambda: is_online(phone))
    check_not_asked_again(phone)


def test_an_agent_that_is_killed_leaves_nobody_behind(halls: ThinVenue, phone: ThinPhone) -> None:
    shut = halls.routers[0]
    before = shut.allowed()[phone.mac]
    said = shut.log("agent").count("connected")
    shut.stop("agent", kill=True)
    assert is_online(phone)
    shut.start_agent()
    assert eventually(lambda: shut.log("agent").count("connected") > said)
    halls.wait(only=shut)
    assert before - 60 < shut.allowed()[phone.mac] <= before
    assert is_online(phone)
    streams = f"data-binary.*{shut.run_folder}/greeting"
    assert eventually(lambda: shut.namespace.run("pgrep", "-fc", streams).strip() == "1")


def test_a_table_that_somebody_flushed_is_put_back(halls: ThinVenue, phone: ThinPhone) -> None:
    shut = halls.routers[0]
    before = shut.allowed()[phone.mac]
    shut.namespace.run("nft", "flush", "ruleset")
    assert eventually(lambda: "chain upstream" in shut.namespace.run("nft", "list", "ruleset"))
    assert eventually(lambda: before - 60 < shut.allowed().get(phone.mac, 0) <= before)
    assert eventually(lambda: is_online(phone))
    check_not_asked_again(phone)
    with halls.phone(shut) as stranger:
        assert eventually(lambda: stranger.tcp(PORTAL4, 443) == stranger.tcp(PORTAL6, 443) == "open")


def test_clocks_that_jump_end_nothing(halls: ThinVenue, phone: ThinPhone) -> None:
    shut = halls.routers[0]
    before = shut.allowed()[phone.mac]
    clocks = [halls.run.folder / f"clock-{name}" for name in ("portal", "router")]
    for clock in clocks:
        clock.write_text("+0")
    halls.portal.clock, shut.clock = clocks
    halls.portal.stop("portal")
    shut.stop("agent")
    halls.portal.restart()
    shut.start_agent()
    halls.wait(only=shut)
    for portal, router in ((2 * DAY, -DAY // 2), (-DAY // 2, 30 * DAY), (0, 0)):
        clocks[0].write_text(f"{portal:+d}")
        clocks[1].write_text(f"{router:+d}")
        time.sleep(2.5)  # the book and the router are compared every two seconds
        assert before - 120 < shut.allowed()[phone.mac] <= before
        assert is_online(phone)
    halls.wait(only=shut)

    def is_known() -> bool:
        """The phone's cookie is of today, which the portal must have noticed."""
        return phone.follow(phone.get(f"https://{PORTAL}/en", headers=BROWSER), headers=BROWSER).status == 200

    assert eventually(is_known)
    check_not_asked_again(phone)
    with halls.phone(shut) as other:
        skip(other)
        assert eventually(lambda: is_online(other))
