"""A phone behind a router: its way in, its cookie, and that every place has pages of its own."""

import contextlib
import re
import sqlite3
from datetime import date, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from nacl.public import PrivateKey

import captive.routers.link
from captive.connections.keys import write_public
from captive.kernel.neighbours import KernelNeighbours
from captive.portal import cookie
from captive.portal.door import Door
from crm.settings import ConnectionLogSection, Grant, Network, Router
from crm.times import UNDATED
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import ThinPortal, thin_portal
from tests.lab.certificates import Authority

KEY = cookie.cookie_key(b"s" * 32)
MAC = "02:00:00:00:00:01"
TODAY = date(2026, 11, 20)
Pair = tuple[Path, Path]


# -- the cookie --------------------------------------------------------------------------------------


def test_a_cookie_is_good_for_the_day_and_over_midnight() -> None:
    text = cookie.make_cookie(KEY, "hall1", MAC, TODAY)
    assert cookie.read_cookie(KEY, text, TODAY) == f"hall1 {MAC}"
    assert cookie.read_cookie(KEY, text, TODAY + timedelta(days=1)) == f"hall1 {MAC}"
    for later in (2, 30, -1):
        assert cookie.read_cookie(KEY, text, TODAY + timedelta(days=later)) is None


def test_while_the_clock_is_wrong_no_cookie_is_too_old() -> None:
    undated = cookie.make_cookie(KEY, "hall1", MAC, UNDATED)
    assert cookie.read_cookie(KEY, undated, UNDATED) == f"hall1 {MAC}"
    assert cookie.read_cookie(KEY, undated, TODAY, woke_today=True) == f"hall1 {MAC}"
    assert cookie.read_cookie(KEY, undated, TODAY) is None
    assert cookie.read_cookie(KEY, cookie.make_cookie(KEY, "hall1", MAC, TODAY), UNDATED) == f"hall1 {MAC}"


def test_no_letter_of_a_cookie_can_be_changed() -> None:
    text = cookie.make_cookie(KEY, "hall1", MAC, TODAY)
    for at in range(len(text)):
        other = "1" if text[at] != "1" else "2"
        assert cookie.read_cookie(KEY, text[:at] + other + text[at + 1 :], TODAY) is None, at
    for odd in ("", ".", text + "0", text[:-1], text + "\n", "é", "hall1.020000000001.x." + "0" * 64):
        assert cookie.read_cookie(KEY, odd, TODAY) is None
    assert cookie.read_cookie(cookie.cookie_key(b"t" * 32), text, TODAY) is None
    assert cookie.read_cookie(b"s" * 32, text, TODAY) is None


async def test_the_cookie_is_the_browsers_for_this_session_only(portal: ThinPortal) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    reply = await phone.get(router.enter_path(phone.mac))
    [told] = reply.headers.getall("Set-Cookie")
    value, _, attributes = told.partition("; ")
    assert value.startswith("wificrm=hall1.")
    assert {each.strip().lower() for each in attributes.split(";")} == {
        "httponly",
        "path=/",
        "samesite=lax",
        "secure",
    }
    assert reply.headers["Cache-Control"] == "no-store"


async def test_without_its_cookie_nobody_is_known(portal: ThinPortal) -> None:
    router, phone, other = portal.router(), portal.phone(), portal.phone()
    await router.connect()
    await phone.get(router.enter_path(phone.mac))
    for path in ("/", "/vi", "/vi/online", "/vi/venue", "/captive-portal/api"):
        page = await other.get(path)
        assert page.status == 403, path
        assert "Wi-Fi" in page.text
    assert (await other.get("/vi", Cookie="wificrm=" + phone.cookie.replace("hall1", "hall2"))).status == 403
    assert (await other.get("/vi", Cookie="wificrm=" + phone.cookie)).status == 200


async def test_a_cookie_of_a_router_that_is_no_more_is_nobodys(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        router, phone = portal.router("hall2"), portal.phone()
        await router.connect()
        await phone.get(router.enter_path(phone.mac))
        settings, kept = portal.settings, phone.cookie
    only = settings.routers[:1]
    async with thin_portal(tmp_path, Clock(), authority, pair, routers=only) as portal:
        assert (await portal.phone().get("/vi", Cookie=f"wificrm={kept}")).status == 403


# -- the signed link ---------------------------------------------------------------------------------


async def test_only_what_the_router_signed_lets_in(portal: ThinPortal) -> None:
    router, other, phone = portal.router(), portal.router("hall2"), portal.phone()
    await router.connect()
    await other.connect()
    good = router.enter_path(MAC, "bao.example/tin")
    for bad in (
        good.replace(MAC, "02:00:00:00:00:02"),
        good.replace("r=hall1", "r=hall2"),
        good.replace("r=hall1", "r=hall9"),
        good.replace(b"bao".hex(), b"xao".hex()),
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.partition("&s=")[0],
        good.partition("&s=")[0] + "&s=%C3%A9",
        router.enter_path("02:00:00:00:00:0G"),
        router.enter_path(f"{MAC} x").replace(" ", "%20"),
        router.enter_path(MAC, salt=other.salts[-1]),
        router.enter_path(MAC, "x" * 1025),
        "/enter",
        "/enter?r=hall1&d=&u=&s=",
    ):
        page = await phone.get(bad)
        assert page.status == 403, bad
        assert "Set-Cookie" not in page.headers
    assert (await phone.get(good)).status == 303
    assert (await phone.post("/enter")).status in (403, 405)


async def test_a_link_of_a_router_that_is_away_ends_too(
    portal: ThinPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ahead = captive.routers.link._now, 0.0
    monkeypatch.setattr(captive.routers.link, "_now", lambda: real() + ahead)
    router, phone = portal.router(), portal.phone()
    await router.connect()
    await router.hang_up()
    assert (await phone.get(router.enter_path(phone.mac))).status == 303
    ahead = captive.routers.link.SALT_LIFE
    assert (await phone.get(router.enter_path(phone.mac))).status == 403


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("bao.example/tin?so=1", "http://bao.example/tin?so=1"),
        ("captive.apple.com/hotspot-detect.html", ""),
        ("bao.example/generate_204", ""),
        ('bao.example/"><script>', ""),
        ("bao.example:99999999/", ""),
        ("bao.example@evil.example/", ""),
        ("//evil.example/", ""),
        ("no-slash.example", ""),
        ("", ""),
    ],
)
async def test_a_page_is_offered_and_never_gone_to(portal: ThinPortal, wanted: str, offered: str) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    reply = await phone.get(router.enter_path(phone.mac, wanted))
    assert (reply.status, reply.location) == (303, "/")
    await phone.post("/vi/skip")
    again = await phone.get(router.enter_path(phone.mac, wanted))
    assert (again.status, again.location) == (303, "/"), "online or not"
    page = (await phone.get("/vi/online")).text
    links = re.findall(r'href="(http[^"]*)"', page)
    assert [link for link in links if "example" in link or "apple" in link] == ([offered] if offered else [])


async def test_who_was_asked_today_is_online_before_the_page_is_shown(portal: ThinPortal) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    await phone.get(router.enter_path(phone.mac))
    await phone.post("/vi/skip")
    portal.clock.pass_by(minutes=1)
    router.present.add(phone.mac)
    await router.hang_up()
    await router.connect()
    reply = await phone.get(router.enter_path(phone.mac))
    assert reply.location == "/"
    assert (await phone.get("/")).location == "/vi/online"


async def test_tokens_are_of_one_device_behind_a_router_too(portal: ThinPortal) -> None:
    router, owner, thief = portal.router(), portal.phone(), portal.phone()
    await router.connect()
    for phone in (owner, thief):
        await phone.get(router.enter_path(phone.mac))
    token = (await owner.get("/vi")).token
    assert (await thief.post("/vi/survey/A0", r=token, value="done")).status in (400, 409)
    assert (await owner.post("/vi/survey/A0", r=token, value="done")).status == 303


# -- own networks beside routers ---------------------------------------------------------------------


class _Table:
    """Neighbours that know one address, and note whom they were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def device(self, address: str) -> str | None:
        self.asked.append(address)
        return "guest 02:00:00:00:00:99" if address == "192.168.50.9" else None


def request_from(address: str, text: str) -> web.Request:
    transport = type(
        "T", (), {"get_extra_info": lambda self, name: (address, 1) if name == "peername" else None}
    )()
    return make_mocked_request("GET", "/", headers={"Cookie": f"wificrm={text}"}, transport=transport)


async def test_the_address_decides_on_own_networks_and_the_cookie_elsewhere() -> None:
    door = Door(None, _Table(), b"s" * 32, "V", {"hall1": None})  # type: ignore[arg-type, dict-item]
    door._today = TODAY
    text = cookie.make_cookie(KEY, "hall1", MAC, TODAY)
    assert await door.recognise(request_from("192.168.50.9", text)) == "guest 02:00:00:00:00:99"
    assert await door.recognise(request_from("203.0.113.7", text)) == f"hall1 {MAC}"
    assert await door.recognise(request_from("203.0.113.7", "x")) is None
    assert await door.recognise(request_from("203.0.113.7", text.replace("hall1", "guest"))) is None
    own = cookie.make_cookie(KEY, "guest", MAC, TODAY)
    assert await door.recognise(request_from("203.0.113.7", own)) is None, (
        "no cookie stands for an own network"
    )


async def test_the_kernel_is_asked_for_no_address_outside_our_networks() -> None:
    """Each question costs 0.4 s; strangers from the Internet may come to a portal that serves routers."""
    neighbours = KernelNeighbours([Network(interface="lo")])
    asked: list[str] = []

    async def note() -> None:
        asked.append("read")

    neighbours._read_all = note  # type: ignore[method-assign]
    try:
        for address in ("203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7", "fe80::1%9", "192.168.51.1"):
            assert await neighbours.device(address) is None
        assert asked == []
        for address in ("192.168.50.77", "::ffff:192.168.50.77", "fd50:7c3a:1::77", "fe80::1%1"):
            await neighbours.device(address)
        assert len(asked) == 4
    finally:
        await neighbours.close()


# -- every place has its own -------------------------------------------------------------------------


async def test_each_router_has_its_own_questions_terms_and_pages(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    routers = (
        Router(
            name="hall1", walled_garden=("dichvucong.gov.vn",), grant=Grant(opening=("mon-fri 07:00-17:00",))
        ),
        Router(name="hall2", questionnaire="chuan", grant=Grant(minutes=30)),
    )
    log = ConnectionLogSection(
        enabled=True, public_key=write_public(PrivateKey.generate().public_key), path=str(tmp_path / "c.db")
    )
    async with thin_portal(tmp_path, Clock(), authority, pair, routers=routers, connection_log=log) as portal:
        found = {}
        for name in ("hall1", "hall2"):
            router, phone = portal.router(name), portal.phone()
            await router.connect()
            await phone.get(router.enter_path(phone.mac))
            first = await phone.get("/en")
            asked = re.search(r'action="/\w+/survey/(\w+)"', first.text)
            assert asked
            venue, rules = await phone.get("/en/venue"), await phone.get("/en/rules")
            await phone.post("/en/skip")
            online = await phone.get("/en/online?again=1")
            found[name] = (
                asked[1],
                "dichvucong" in first.text,
                "07:00" in venue.words,
                "30 min left" in online.words,
            )
            assert "connection log is kept" not in rules.text
            assert "keeps a cookie until it is closed" in rules.text
            assert router.config["garden"] == ("dichvucong.gov.vn" if name == "hall1" else "")
        assert found == {"hall1": ("A0", True, True, False), "hall2": ("B1", False, False, True)}
    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as kept:
        assert kept.execute("SELECT count(*) FROM record").fetchone() == (0,)
