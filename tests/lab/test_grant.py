"""How a guest gets online: by skipping just as by answering, all ports at once, told to the phone at once."""

import http.client
import socket
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.lab.conftest import NewPhone
from tests.lab.gateway import ADDRESS4, NAME
from tests.lab.internet import STRAY4, STRAY6
from tests.lab.journey import BROWSER, WANTED, answer_all, is_online, open_portal, page_of, send, skip
from tests.lab.page import Page
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

SERVED = {"A0": "done", "A1": "5", "A2": "nothing", "A4": "Thank you"}
WAITING = {"A0": "waiting", "A3": "4", "A4": ""}


def test_skip_gives_internet_just_as_answering_does(new_phone: NewPhone, venue: Venue) -> None:
    plans = [{}, {"A0": "with"}, {"A0": "done", "A1": "1"}, SERVED, WAITING]
    phones = [new_phone() for _ in plans]
    for phone, plan in zip(phones, plans, strict=True):
        visit = answer_all(phone, open_portal(phone), plan)
        assert visit.given == plan
        assert "You are online" in visit.page.text
        assert WANTED in visit.page.links
    for phone in phones:
        assert is_online(phone)
        assert is_online(phone, family=6)
        assert phone.ping(STRAY4) == phone.ping(STRAY6) == "answer"
    seconds = [venue.gateway.allowed()[phone.mac] for phone in phones]
    assert max(seconds) - min(seconds) < 60
    assert min(seconds) > 230 * 60


def test_every_page_that_asks_offers_to_skip(phone: Phone) -> None:
    page = open_portal(phone)
    asked = []
    while page.survey:
        assert page.skip
        asked.append(page.survey.question)
        page = page_of(phone.follow(send(phone, page, page.survey, SERVED[asked[-1]])))
    assert asked == ["A0", "A1", "A2", "A4"]


@pytest.mark.parametrize("family", [4, 6])
def test_packets_flow_when_the_reply_is_there(new_phone: NewPhone, family: int) -> None:
    for _ in range(8):
        phone = new_phone()
        page = open_portal(phone, family=family)
        assert page.skip
        reply = send(phone, page, page.skip, family=family)
        assert phone.tcp(STRAY4, 443) == phone.tcp(STRAY6, 443) == "open"
        assert phone.udp(STRAY4, 443) == phone.udp(STRAY6, 443) == "answer"
        assert is_online(phone)
        assert reply.status == 303
        assert msgspec.json.decode(phone.get(phone.api).body)["captive"] is False


@pytest.mark.parametrize("family", [4, 6])
def test_a_flow_from_before_the_grant_does_not_go_on_to_the_portal(
    phone: Phone, venue: Venue, family: int
) -> None:
    """NAT is decided on a flow's first packet; the same addresses and ports must be decided anew."""
    target = venue.internet.addresses["odd.example"][family == 6]

    def ask() -> int:
        with phone.open_socket(target, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("" if family == 4 else "::", 45678))
            sock.settimeout(5)
            sock.connect((target, 80))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: odd.example\r\nConnection: close\r\n\r\n")
            reply = http.client.HTTPResponse(sock)
            reply.begin()
            return reply.status

    assert ask() == 302
    skip(phone)
    assert ask() == 200


def test_a_connection_held_open_across_the_grant_does_not_reach_the_portal(
    phone: Phone, venue: Venue
) -> None:
    target = venue.internet.addresses["odd.example"][0]
    with phone.connect(target, 80, timeout=1) as held:
        skip(phone)
        try:
            held.sendall(b"GET / HTTP/1.1\r\nHost: odd.example\r\n\r\n")
            assert held.recv(100) == b""
        except (TimeoutError, ConnectionResetError):
            pass


def test_the_api_tells_the_state_of_the_kernel(phone: Phone, venue: Venue) -> None:
    answer = phone.get(phone.api, headers={"Accept": "application/captive+json"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/captive+json"
    assert answer.headers["Cache-Control"] in ("no-store", "private")
    assert msgspec.json.decode(answer.body) == {"captive": True, "user-portal-url": f"https://{NAME}/"}
    skip(phone)
    state = msgspec.json.decode(phone.get(phone.api).body)
    assert state.pop("captive") is False
    assert abs(state.pop("seconds-remaining") - venue.gateway.allowed()[phone.mac]) <= 2
    assert state == {
        "user-portal-url": f"https://{NAME}/",
        "venue-info-url": f"https://{NAME}/venue",
        "can-extend-session": True,
    }
    assert b"null" not in phone.get(phone.api).body
    info = page_of(phone.follow(phone.get(state["venue-info-url"], headers=BROWSER)))
    assert "Information for visitors" in info.text
    page = phone.get(phone.api, headers=BROWSER)
    assert (page.status, page.headers["Location"]) == (302, f"https://{NAME}/")


def test_the_api_is_served_over_tls_only(phone: Phone) -> None:
    answer = phone.get(phone.api.replace("https://", "http://"))
    assert answer.status in (302, 404)
    assert b"captive" not in answer.body.replace(b"captive-portal/api", b"")
    assert phone.get(phone.api, family=6).status == 200


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("en-GB,en", "en"),
        ("fr-FR", "vi"),
        ("", "vi"),
        ("km;q=1, en;q=0.5", "en"),
    ],
)
def test_the_phones_language_is_used_to_the_end(new_phone: NewPhone, accept: str, language: str) -> None:
    phone = new_phone()
    headers = {**BROWSER, "Accept-Language": accept}
    page = page_of(phone.follow(phone.get(WANTED, headers=headers), headers=headers))
    assert page.language == language
    visit = answer_all(phone, page, {"A0": "waiting"})
    assert visit.page.language == language
    assert ("You are online" if language == "en" else "Ông/bà đã vào mạng") in visit.page.text


def test_the_other_language_is_one_link_away(phone: Phone) -> None:
    page = open_portal(phone, language="vi")
    other = page_of(phone.get(page.address(next(link for link in page.links if link.startswith("/en")))))
    assert (page.language, other.language) == ("vi", "en")


@pytest.mark.parametrize(
    "target", ["@evil.example/", ".evil.example/", "//evil.example/", "/\\\\evil.example", "/%0d%0aX: y"]
)
def test_the_way_to_https_leads_nowhere_else(phone: Phone, target: str) -> None:
    with phone.connect(ADDRESS4, 80) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        reply = http.client.HTTPResponse(sock)
        reply.begin()
    if reply.status in (301, 302, 303, 307, 308):
        parts = urlsplit(reply.headers["Location"])
        assert (parts.scheme, parts.netloc) == ("https", NAME)
        assert reply.headers["X"] is None
    else:
        assert 400 <= reply.status < 500


def test_nobody_forges_the_way_to_the_page_asked_for(phone: Phone) -> None:
    """What is offered once online is what the phone itself asked for, and only if it can be a page."""
    headers = {**BROWSER, "Host": 'x"><script>alert(1)</script>'}
    phone.get("http://odd.example/", headers=headers)
    final = skip_without_asking(phone)
    assert "script" not in " ".join(final.links)
    assert not any(link.startswith("http") and NAME not in link for link in final.links)


def skip_without_asking(phone: Phone) -> Page:
    """From the portal's own address to *You are online*."""
    page = page_of(phone.get(f"https://{NAME}/en", headers=BROWSER))
    assert page.skip
    return page_of(phone.follow(send(phone, page, page.skip)))


def test_a_guest_who_comes_back_while_online_is_online_at_once(phone: Phone) -> None:
    skip(phone)
    phone.leave()
    phone.join()
    assert is_online(phone)
    assert is_online(phone, family=6)


def test_the_page_asked_for_opens_after_the_grant(phone: Phone, venue: Venue) -> None:
    visit = skip(phone)
    before = len(venue.internet.seen())
    assert "You reached neverssl.example" in phone.get(next(x for x in visit.page.links if x == WANTED)).text
    assert eventually(lambda: len(venue.internet.seen()) > before)
