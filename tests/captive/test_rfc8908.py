"""What phones are told over the Captive Portal API, on a real portal with a certificate."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from captive.certificate import API_PATH
from captive.portal.rfc8908 import api_state, prefers_page
from crm.settings import Grant, Network
from tests.captive.portal_app import Clock, Portal, portal_at
from tests.free_ports import free_port
from tests.lab.certificates import Authority

NAME = "portal.example.vn"
PORTAL = f"https://{NAME}"
TYPE = "application/captive+json"
ANDROID = {"Accept": TYPE}
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
NETWORK = Network(
    interface="loopback",
    grant=Grant(minutes=20, total_mb=3000, opening=("fri 09:00-12:00",)),
    always=("127.0.1.9",),
)


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("", False),
        ("*/*", False),
        (TYPE, False),
        ("application/json", False),
        ("application/*", False),
        (f"{TYPE}, text/html;q=0.5", False),
        (f"text/html, {TYPE}", False),
        ("text/html;q=0.4, */*;q=0.5", False),
        (f"text/html;q=0, {TYPE};q=0.001", False),
        (CHROMIUM, True),
        ("text/html", True),
        ("text/*", True),
        ("TEXT/HTML;Q=0.9,*/*;q=0.1", True),
        (f"text/html;q=0.9, {TYPE};q=0.8", True),
        (f"*/*, {TYPE};q=0", True),
        ("text/html;level=1;q=0.7", True),
        (f"text/html;q=high, {TYPE};q=0.1", False),
        (f"text/html;q=nan, {TYPE};q=0.1", False),
        (f"text/html;q=1e9, {TYPE};q=1", False),
        (",;,q=1;;text/html" + "," * 5000, False),
    ],
)
def test_browsers_are_told_from_phones_by_what_they_accept(accept: str, page: bool) -> None:
    assert prefers_page(accept) is page


def test_the_largest_answer_is_one_that_android_reads_in_full() -> None:
    """It reads 4,096 characters (NetworkStack, CapportApiProbeResult); a name has 253 at most."""
    longest = api_state(
        online=True, portal="https://" + "n" * 253, seconds=10**9, bytes_left=10**18, can_extend=False
    )
    assert len(msgspec.json.encode(longest)) < 4096


def test_no_limit_is_no_number() -> None:
    assert api_state(online=True, portal=PORTAL, seconds=0, bytes_left=None, can_extend=False) == {
        "captive": False,
        "user-portal-url": f"{PORTAL}/",
        "venue-info-url": f"{PORTAL}/venue",
        "can-extend-session": False,
    }
    left = api_state(online=True, portal=PORTAL, seconds=1, bytes_left=0, can_extend=True)
    assert (left["seconds-remaining"], left["bytes-remaining"], left["can-extend-session"]) == (1, 0, True)
    captive = api_state(online=False, portal=PORTAL, seconds=9, bytes_left=9, can_extend=True)
    assert captive == {"captive": True, "user-portal-url": f"{PORTAL}/"}


class Phone:
    """Asks over TLS, by the portal's name; the certificate's authority is its own."""

    def __init__(self, portal: Portal, address: str, authority: Authority) -> None:
        self.address = address
        self._port = portal.settings.portal.tls_port
        self._tls = ssl.create_default_context(cafile=str(authority.certificate))

    async def ask(self, method: str = "GET", path: str = API_PATH, **headers: str) -> tuple[int, Any, bytes]:
        connector = aiohttp.TCPConnector(local_addr=(self.address, 0), ssl=self._tls)
        async with (
            aiohttp.ClientSession(
                connector=connector, skip_auto_headers=("Accept",), cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.request(
                method,
                f"https://127.0.0.1:{self._port}{path}",
                headers={"Host": NAME, **headers},
                server_hostname=NAME,
                allow_redirects=False,
            ) as answer,
        ):
            return answer.status, answer.headers, await answer.read()

    async def state(self) -> dict[str, Any]:
        status, _, body = await self.ask(**ANDROID)
        assert status == 200
        state: dict[str, Any] = msgspec.json.decode(body)
        return state


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def portal(tmp_path: Path, authority: Authority) -> AsyncIterator[Portal]:
    certificate, key = authority.issue("portal", NAME)
    tls = {"name": NAME, "certificate": str(certificate), "key": str(key), "tls_port": free_port()}
    async with portal_at(tmp_path, Clock(), networks=(NETWORK,), tls=tls) as running:
        yield running


@pytest.fixture
def phone(portal: Portal, authority: Authority) -> Phone:
    return Phone(portal, "127.0.1.1", authority)


async def test_the_state_flips_with_the_grant_and_holds_integers(phone: Phone) -> None:
    assert await phone.state() == {"captive": True, "user-portal-url": f"{PORTAL}/"}
    assert (await phone.ask("POST", "/en/skip"))[0] == 303
    state = await phone.state()
    assert 1190 <= state.pop("seconds-remaining") <= 1200
    assert state == {
        "captive": False,
        "user-portal-url": f"{PORTAL}/",
        "venue-info-url": f"{PORTAL}/venue",
        "can-extend-session": True,
        "bytes-remaining": 3_000_000_000,
    }
    status, headers, _ = await phone.ask(path="/venue")
    assert (status, headers["Location"]) == (303, "/vi/venue")


async def test_a_device_that_is_always_online_is_told_no_end(portal: Portal, authority: Authority) -> None:
    state = await Phone(portal, "127.0.1.9", authority).state()
    assert state["captive"] is False
    assert state["can-extend-session"] is False
    assert not {"seconds-remaining", "bytes-remaining"} & state.keys()


async def test_who_is_refused_stays_captive(portal: Portal, phone: Phone) -> None:
    portal.clock.pass_by(hours=3)
    assert (await phone.ask("POST", "/en/skip"))[0] == 303
    assert await phone.state() == {"captive": True, "user-portal-url": f"{PORTAL}/"}


@pytest.mark.parametrize("accept", [{}, ANDROID, {"Accept": "*/*"}, {"Accept": CHROMIUM}])
async def test_headers_and_head_as_with_get(phone: Phone, accept: dict[str, str]) -> None:
    status, headers, body = await phone.ask(**accept)
    assert headers["Cache-Control"] == "no-store"
    assert "Accept" in headers["Vary"]
    if "Accept" in accept and "html" in accept["Accept"]:
        assert (status, headers["Location"]) == (302, f"{PORTAL}/")
        assert body == b""
    else:
        assert (status, headers["Content-Type"]) == (200, TYPE)
        assert int(headers["Content-Length"]) == len(body) < 4096
        assert b"null" not in body
    head = await phone.ask("HEAD", **accept)
    assert (head[0], head[2]) == (status, b"")
    same = ["Content-Type", "Location", "Vary", "Cache-Control", *(["Content-Length"] if body else [])]
    assert [head[1].get(name) for name in same] == [headers.get(name) for name in same]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_none_of_the_apis(phone: Phone, method: str) -> None:
    status, headers, _ = await phone.ask(method, **ANDROID)
    assert status == 405
    assert set(headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_over_http_there_is_no_api(portal: Portal) -> None:
    page = await portal.guest().get(API_PATH, Host=NAME)
    assert page.status == 302, "the portal's name is served over https"
    assert "captive+json" not in page.headers["Content-Type"]
