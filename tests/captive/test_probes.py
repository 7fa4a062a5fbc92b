import pytest
from hypothesis import given
from hypothesis import strategies as st

from captive.portal.probes import MAX_URL, host_name, wanted_page

PAGE = "text/html,application/xhtml+xml"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Captive.Apple.com", "captive.apple.com"),
        ("192.168.50.1:8080", "192.168.50.1"),
        ("[fd50::1]:80", "fd50::1"),
        ("[fd50::1]", "fd50::1"),
        ("portal.example.vn.", "portal.example.vn"),
        ("", ""),
    ],
)
def test_host_names(header: str, name: str) -> None:
    assert host_name(header) == name


def test_the_page_a_person_asked_for_is_remembered() -> None:
    assert wanted_page("GET", "neverssl.example", "/a?b=1", PAGE) == "http://neverssl.example/a?b=1"
    assert wanted_page("GET", "news.example:8080", "/", PAGE) == "http://news.example:8080/"


@pytest.mark.parametrize(
    ("method", "host", "path", "accept"),
    [
        ("POST", "neverssl.example", "/", PAGE),
        ("GET", "captive.apple.com", "/hotspot-detect.html", PAGE),
        ("GET", "some.unknown.probe.example", "/generate_204", PAGE),
        ("GET", "neverssl.example", "/pixel.png", "image/png"),
        ("GET", "neverssl.example", "/favicon.ico", PAGE),
        ("GET", "", "/", PAGE),
        ("GET", "neverssl.example", "/" + "a" * MAX_URL, PAGE),
        ("GET", 'x.example" onclick="y', "/", PAGE),
        ("GET", "neverssl.example", "/<script>", PAGE),
    ],
)
def test_probes_and_strange_addresses_are_not(method: str, host: str, path: str, accept: str) -> None:
    assert wanted_page(method, host, path, accept) == ""


@given(st.text(max_size=50), st.text(max_size=50))
def test_whatever_is_remembered_is_a_plain_short_http_address(host: str, path: str) -> None:
    url = wanted_page("GET", host, path, PAGE)
    assert url == "" or (url.startswith("http://") and url.isascii() and not set(url) & set("\"'<> \r\n"))
