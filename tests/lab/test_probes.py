"""Every probe of every system: the portal before the grant, the Internet itself after it."""

import pytest

from tests.lab.client import Answer
from tests.lab.conftest import NewPhone
from tests.lab.gateway import NAME
from tests.lab.journey import is_online, skip
from tests.lab.phone import Phone
from tests.lab.probes import HTTPS_PROBES, PROBES
from tests.lab.venue import Venue

pytestmark = pytest.mark.lab

PORTAL = f"https://{NAME}/"


def assert_captive(answer: Answer, *, head: bool = False) -> None:
    """The one shape that every client calls a portal: see what each accepts in tests/lab/probes.py."""
    assert answer.status == 302
    assert answer.location == PORTAL
    assert answer.body == b"" if head else 4 < len(answer.body) < 1000
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Content-Length"] is not None
    assert answer.headers["Set-Cookie"] is None


@pytest.mark.parametrize("family", [4, 6])
def test_every_probe_meets_the_portal_before_the_grant(phone: Phone, family: int) -> None:
    for probe in PROBES:
        assert_captive(phone.get(probe.url, family=family))
        assert_captive(phone.request("HEAD", probe.url, family=family), head=True)
    for url in HTTPS_PROBES:
        with pytest.raises(ConnectionRefusedError):
            phone.get(url, family=family)


@pytest.mark.parametrize("family", [4, 6])
def test_every_probe_meets_the_internet_after_the_grant(phone: Phone, family: int, venue: Venue) -> None:
    skip(phone)
    before = len(venue.internet.seen())
    for probe in PROBES:
        answer = phone.get(probe.url, family=family)
        assert (answer.status, answer.text) == (probe.status, probe.body), probe
    for url in HTTPS_PROBES:
        assert phone.get(url, family=family).status == 204
    assert len(venue.internet.seen()) - before == len(PROBES) + len(HTTPS_PROBES)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_and_path_of_a_foreign_host_meets_the_portal(phone: Phone, method: str) -> None:
    for path in ("/", "/vi", "/vi/skip", "/captive-portal/api", "/a/../b?c=d#e", "/%00%ff", "/" + "x" * 2000):
        answer = phone.request(method, f"http://odd.example{path}", body=b"x=y" if method == "POST" else None)
        assert_captive(answer, head=method == "HEAD")


def test_a_probe_by_bare_address_meets_the_portal(phone: Phone, venue: Venue) -> None:
    four, six = venue.internet.addresses["odd.example"]
    assert_captive(phone.get(f"http://{four}/"))
    assert_captive(phone.get(f"http://[{six}]/", family=6))


def test_the_helper_and_the_sheet_of_apple_get_the_same_answer(phone: Phone) -> None:
    url = "http://captive.apple.com/hotspot-detect.html"
    for agent in (
        "CaptiveNetworkSupport-443.120.2 wispr",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)",
    ):
        assert_captive(phone.get(url, headers={"User-Agent": agent}))


def test_a_probe_does_not_count_as_a_page_shown(phone: Phone, venue: Venue) -> None:
    before = venue.gateway.funnel()
    for probe in PROBES:
        phone.get(probe.url)
    assert venue.gateway.funnel() == before


def test_the_answer_changes_for_one_phone_only(new_phone: NewPhone) -> None:
    online, waiting = new_phone(), new_phone()
    skip(online)
    assert is_online(online)
    assert is_online(online, family=6)
    assert_captive(waiting.get(PROBES[0].url))
    assert_captive(waiting.get(PROBES[0].url, family=6))
