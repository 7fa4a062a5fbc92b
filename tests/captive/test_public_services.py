"""Which hosts of a walled garden are shown as links."""

from pathlib import Path

from captive.demo import demo_settings
from captive.portal.public_services import service_hosts


def test_pages_of_the_state_are_links_and_what_serves_them_is_not() -> None:
    garden = ("dichvucong.gov.vn", "*.gov.vn", "cdn.example.com", "gov.vn.example.com", "vneid.gov.vn")
    assert service_hosts(garden) == ["dichvucong.gov.vn", "vneid.gov.vn"]
    assert service_hosts(()) == []


def test_the_demo_shows_the_national_portal_first(tmp_path: Path) -> None:
    (network,) = demo_settings(8000, tmp_path).networks
    assert service_hosts(network.walled_garden)[0] == "dichvucong.gov.vn"
