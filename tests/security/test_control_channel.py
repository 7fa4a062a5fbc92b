"""Case 19: what commands the gateway is spoken to by the portal alone, and no web page reaches it.

apfree-wifidog (TLS without a CA, 4e0a2db), uspot's DAS ("does not implement any security defense
mechanism"), OPNsense (CORS ``*`` on its access API). Who may speak to the gate at all is tried in
`tests.captive.test_gate`.
"""

import socket
import time
from collections.abc import Iterator

import msgspec
import pytest

from crm.settings import Settings
from tests.captive.small_venue import SmallVenue, eventually, needs_root, small_venue
from tests.security.stranger import Stranger

DEVICE = "guest 02:00:00:00:04:01"
LIST = b'{"do":"list","id":1}\n'


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallVenue]:
    with small_venue(tmp_path_factory.mktemp("venue")) as made:
        assert made.command("box.apply(settings)").returncode == 0
        made.gate()
        yield made


@pytest.fixture
def line(venue: SmallVenue) -> Iterator[socket.socket]:
    """A connection to the gate."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(60)
        caller.connect(venue.settings.gate.socket)
        yield caller


def answers(line: socket.socket, number: int) -> list[dict[str, object]]:
    """The next *number* answers, or as many as come before the gate hangs up."""
    heard = b""
    while heard.count(b"\n") < number and (piece := line.recv(65536)):
        heard += piece
    return [msgspec.json.decode(each) for each in heard.splitlines()]


def is_alive(venue: SmallVenue) -> bool:
    """Whether the gate answers somebody else, and nobody was let through."""
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(60)
        other.connect(venue.settings.gate.socket)
        other.sendall(LIST)
        return answers(other, 1) == [{"id": 1}]


@needs_root
@pytest.mark.lab
@pytest.mark.parametrize(
    "number",
    [b"0", b"-1", b"1", b"99999999999999999999", b"1.5", b"true", b"null", b'"1"', b"[1]", b"1e400", b"{}"],
)
def test_odd_numbers_of_requests(venue: SmallVenue, line: socket.socket, number: bytes) -> None:
    """The number that a request carries is repeated or refused; it never makes one more than a request."""
    line.sendall(b'{"do":"list","id":' + number + b"}\n")
    (answer,) = answers(line, 1)
    assert answer.get("error") == "this is no request" or answer == {"id": msgspec.json.decode(number)}
    assert is_alive(venue)


@needs_root
@pytest.mark.lab
@pytest.mark.parametrize(
    "keys",
    ['"id":1,"id":2', '"id":1,"ID":2', '"id":1,"do":"allow"', '"id":1,"leases":{}', '"id":1,"x":{"id":2}'],
)
def test_keys_twice_or_too_many(venue: SmallVenue, line: socket.socket, keys: str) -> None:
    line.sendall(f'{{"do":"list",{keys}}}\n'.encode())
    (answer,) = answers(line, 1)
    assert answer.get("error") == "this is no request" or answer in ({"id": 1}, {"id": 2})
    assert is_alive(venue)


@needs_root
@pytest.mark.lab
def test_a_thousand_at_once_are_each_answered_once(venue: SmallVenue, line: socket.socket) -> None:
    """More than wait at once (256): what comes beyond waits in the socket, and the same number may come twice."""
    line.sendall(b"".join(b'{"do":"list","id":%d}\n' % (number % 900) for number in range(1000)))
    numbers = sorted(int(str(answer["id"])) for answer in answers(line, 1000))
    assert numbers == sorted(number % 900 for number in range(1000))
    assert is_alive(venue)


@needs_root
@pytest.mark.lab
def test_half_a_request_holds_nobody_up_and_does_nothing(venue: SmallVenue, line: socket.socket) -> None:
    line.sendall(f'{{"do":"allow","id":1,"leases":{{"{DEVICE}":[60]}}}}'.encode())  # no end of line
    assert is_alive(venue)
    line.shutdown(socket.SHUT_RDWR)
    time.sleep(0.2)
    assert is_alive(venue)


@needs_root
@pytest.mark.lab
def test_nested_without_end_is_refused(venue: SmallVenue, line: socket.socket) -> None:
    line.sendall(b"[" * 60_000 + b"\n")
    (answer,) = answers(line, 1)
    assert answer["error"] == "this is no request"
    assert eventually(lambda: is_alive(venue))


@needs_root
@pytest.mark.lab
def test_the_gate_listens_nowhere_else(venue: SmallVenue) -> None:
    """A file for root and one group; no port, so no web page of anybody can speak to it."""
    listening = venue.box.run("ss", "-Hlntup").stdout
    assert "python" not in listening
    names = venue.box.run("ss", "-Hlx").stdout
    assert "@" not in "".join(each for each in names.splitlines() if "wificrm" in each)


ORIGINS = ["http://evil.example", "null", "http://127.0.0.1", "https://portal.example"]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("place", ["portal", "console"])
def test_no_other_site_may_read_an_answer(stranger: Stranger, origin: str, place: str) -> None:
    """No CORS header on anything, and no answer to a browser that asks beforehand."""
    port = stranger.portal.console if place == "console" else 0
    asks = f"Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x\r\n"
    for path in (
        "/",
        "/en",
        "/captive-portal/api",
        "/en/skip",
        "/sign-in",
        "/reports",
        "/static/console.css",
    ):
        for method in ("GET", "OPTIONS"):
            reply = stranger.ask(method, path, headers=asks, port=port)
            assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
            assert method == "GET" or reply.status in (302, 303, 404, 405)


def test_the_console_is_for_this_box_alone_unless_told_otherwise() -> None:
    assert Settings().console.address == "127.0.0.1"
