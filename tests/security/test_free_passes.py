"""Case 18: no address gives Internet by being called; the way online is a form that a person sends.

apfree-wifidog 7efaa92 switched its public "temporary pass" off.
"""

import pytest
from aiohttp import web

import campaigns.pages
import captive.portal.pages
import surveys.pages
from tests.security.conftest import NewStranger
from tests.security.stranger import Stranger

ROUTES = [
    *captive.portal.pages.ENTRANCE,
    *captive.portal.pages.ROUTES,
    *surveys.pages.ROUTES,
    *campaigns.pages.ROUTES,
]
WAYS_ONLINE = {"/{language:[a-z]{2,3}}/skip", "/{language:[a-z]{2,3}}/survey/{question:[A-Za-z0-9_]{1,32}}"}
"""The two forms: *Skip*, and the answer to the last question."""
GUESSED = [
    *("/auth", "/login", "/guest", "/tmp", "/temp", "/temporary-pass", "/pass", "/free", "/trial", "/grant"),
    *("/wifidog/temporary_pass", "/wifidog/auth?token=1", "/nodogsplash_auth/?tok=1", "/opennds_auth/?tok=x"),
    *("/opennds_preauth/", "/api/captiveportal/access/logon/0", "/generate_204", "/hotspot-detect.html"),
    *(
        "/logon",
        "/json/status",
        "/reply",
        "/success",
        "/en/success",
        "/en/grant",
        "/en/open",
        "/en/another-phone",
    ),
]


def is_online(stranger: Stranger) -> bool:
    """Whether the portal let it through: it then shows no first page any more."""
    return stranger.get("/en").location == "/en/online"


def filled(path: str, token: str) -> str:
    """A route's pattern with something right in each place."""
    for pattern, value in {"{language:[a-z]{2,3}}": "en", "{question:[A-Za-z0-9_]{1,32}}": "A0"}.items():
        path = path.replace(pattern, value)
    return path.partition("{")[0] + ("1" if "{" in path else "") + f"?r={token}&value=done"


def test_there_are_two_ways_online() -> None:
    """Whoever adds a form asks here whether it opens the door."""
    posts = {
        route.path
        for route in ROUTES
        if isinstance(route, web.RouteDef) and route.method not in ("GET", "HEAD")
    }
    assert posts <= WAYS_ONLINE | {"/{language:[a-z]{2,3}}/another-phone", "/{language:[a-z]{2,3}}/extend"}
    assert posts >= WAYS_ONLINE


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_no_address_opens_the_door(stranger: Stranger, method: str) -> None:
    """Every page there is, called in every way but sending its form, as a link, picture or prefetch would."""
    token = stranger.token()
    for path in [
        *(filled(route.path, token) for route in ROUTES if isinstance(route, web.RouteDef)),
        *GUESSED,
    ]:
        assert stranger.ask(method, path).status in (0, 200, 302, 303, 400, 404, 405, 409), path
        stranger.ask(method, path, host="neverssl.example", headers="Accept: text/html\r\n")
        assert not is_online(stranger), path


@pytest.mark.parametrize("path", GUESSED)
def test_no_other_form_opens_the_door(stranger: Stranger, path: str) -> None:
    stranger.post(path, {"r": stranger.token(), "tok": "1", "value": "done"})
    assert not is_online(stranger)


def test_only_who_is_online_stays_longer(stranger: Stranger) -> None:
    """A form that lengthens a grant begins none."""
    stranger.post("/en/extend", {"r": stranger.token()})
    assert not is_online(stranger)


def test_half_a_survey_opens_nothing(stranger: Stranger) -> None:
    token = stranger.token()
    assert stranger.post("/en/survey/A0", {"r": token, "value": "done"}).status == 303
    assert not is_online(stranger)
    assert stranger.get("/en/online").location == "/en"


def test_the_forms_open_it_for_who_sends_them_only(new_stranger: NewStranger) -> None:
    """The other side of the coin, or all of this could not fail."""
    one, other = new_stranger(), new_stranger()
    assert one.post("/en/skip").location == "/en/online"
    assert is_online(one)
    assert not is_online(other)
