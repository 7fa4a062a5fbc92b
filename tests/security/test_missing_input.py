"""Case 3: whatever is left out, there is an answer.

CVE-2023-38313, 38314, 38315 (openNDS dies of a query that is missing or short), 38320, 38322 (no
User-Agent).
"""

import itertools

import pytest

from tests.security.stranger import FORM, Stranger, assert_refused, assert_silent, assert_told

HEADERS = {
    "Host": "127.0.0.1",
    "User-Agent": "Mozilla/5.0 (iPhone)",
    "Accept": "text/html",
    "Accept-Language": "en",
    "Accept-Encoding": "gzip",
    "Connection": "close",
    "Referer": "http://neverssl.example/",
    "Cookie": "a=b",
    "Content-Type": FORM,
}
REQUESTS = [
    ("GET", "/", ""),
    ("GET", "/en", ""),
    ("GET", "/en/rules", ""),
    ("GET", "/en/online", ""),
    ("GET", "/en/survey/A0?r={token}", ""),
    ("GET", "/captive-portal/api", ""),
    ("GET", "/generate_204", ""),
    ("POST", "/en/survey/A0", "r={token}&value=done"),
    ("POST", "/en/skip", "r={token}"),
]
STAFF = [
    ("GET", "/sign-in?next=/reports", ""),
    ("POST", "/sign-in", "name=mai&password=x&key=y&next=/"),
    ("POST", "/language", "language=en&next=/"),
    ("POST", "/sign-out", "key=x"),
    ("GET", "/reports?venue=x&from=2026-01-01&to=2026-01-31", ""),
]


def request(method: str, target: str, headers: dict[str, str], body: str) -> bytes:
    """A request with just these headers, its length told when it has a body."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] * (method == "POST")
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", body]).encode()


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS, ids=[each[1] for each in REQUESTS])
def test_each_header_left_out(stranger: Stranger, method: str, target: str, body: str) -> None:
    """One at a time, any two of them, and all of them."""
    token = stranger.token()
    target, body = target.format(token=token), body.format(token=token)
    pairs = itertools.combinations([*HEADERS, ""], 2)
    for gone in [*pairs, tuple(HEADERS)]:
        left = {name: value for name, value in HEADERS.items() if name not in gone} | {"Connection": "close"}
        reply = stranger.raw(request(method, target, left, body))
        assert reply.status in (200, 302, 303, 400, 404, 409, 415), (gone, reply.status)
        assert_silent(reply)


@pytest.mark.parametrize(
    ("method", "target", "body"), [*REQUESTS, *STAFF], ids=[e[1] for e in [*REQUESTS, *STAFF]]
)
def test_each_field_left_out_or_empty(stranger: Stranger, method: str, target: str, body: str) -> None:
    """The path's parts, the query's and the form's fields: gone, empty, without ``=``, cut short."""
    staff, token = (method, target, body) in STAFF, stranger.token()
    target, body = target.format(token=token), body.format(token=token)
    path, _, query = target.partition("?")
    targets = {
        path,
        *(f"{path}?{short}" for short in shortened(query)),
        *(path[:at] for at in range(1, len(path))),
    }
    port = stranger.portal.console if staff else 0
    for one, form in [(each, body) for each in sorted(targets)] + [
        (target, each) for each in shortened(body)
    ]:
        reply = stranger.raw(request(method, one, HEADERS, form), port=port)
        assert reply.status in (200, 302, 303, 400, 403, 404, 405, 409, 415, 429), (one, form, reply.status)
        assert_silent(reply)


def shortened(fields: str) -> set[str]:
    """*fields* with each of them gone, empty, or bare; and cut after every letter."""
    parts = fields.split("&") if fields else []
    found = {fields[:at] for at in range(len(fields))}
    for number, part in enumerate(parts):
        name = part.partition("=")[0]
        for other in ([], [f"{name}="], [name], [f"={part}"], [part, part]):
            found.add("&".join([*parts[:number], *other, *parts[number + 1 :]]))
    return found


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", ""])
def test_no_header_at_all(stranger: Stranger, version: str) -> None:
    """Without ``Host`` nobody can tell what was meant: the portal, or a refusal."""
    for head in (f"GET /en {version}\r\n\r\n", f"GET /en {version}\r\nHost:\r\n\r\n"):
        reply = stranger.raw(head.encode())
        assert reply.status in (302, 400)
        assert "127.0.0.1" in (reply.location or "127.0.0.1")


def test_a_form_without_its_kind(stranger: Stranger) -> None:
    assert_told(stranger.post("/en/survey/A0", b"value=done", kind=""), 400, 415)
    assert_told(stranger.post("/en/survey/A0", {"r": stranger.token()}), 400)
    assert_told(stranger.post("/en/survey/A0"), 400)


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_a_request_that_ends_in_the_middle(stranger: Stranger, kept: int) -> None:
    whole = request("POST", "/en/survey/A0", HEADERS, "r=x&value=done")
    assert_refused(stranger.raw(whole[:kept], end=True))
    assert_refused(stranger.raw(whole[:-kept], end=True))
