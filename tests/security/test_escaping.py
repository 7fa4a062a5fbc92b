"""Cases 9 and 10: what a stranger sends is shown as text, to guests and to staff; errors tell nothing inside.

Reflected: pfSense PR 3288, FortiOS CVE-2022-23438, Untangle PR 1221, PacketFence PR 291. Stored: PacketFence
720 (a DHCP host name shown to staff).
"""

import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

import captive.portal.pages
from crm.settings import Settings, StoreSection
from crm.store import Store
from crm.web import SETTINGS
from surveys.console import ROUTES
from tests.captive.portal_app import Clock, portal_at
from tests.captive.small_venue import PHONE4, SmallVenue, needs_root, small_venue
from tests.console_app import Client, add_people, fill, make_console, open_client, sign_in
from tests.lab.loopback import Portal
from tests.security.stranger import FORM, Reply, Stranger, assert_told, stored
from tests.surveys.test_console import PERIOD, answer_much

MARK = "q7z"
ACTIVE = [
    f"<script>{MARK}()</script>",
    f'"><img src=x onerror={MARK}()>',
    f"' autofocus onfocus={MARK}() '",
    f"</title><svg onload={MARK}()>",
    f"javascript:{MARK}()",
    f"<a href=//{MARK}>",
    f"{{{{{MARK}}}}}",
]
ADDRESSES = ("href", "src", "action", "formaction", "data", "poster", "xlink:href")


class Active(HTMLParser):
    """Collects what a browser would act on in a page; ``found`` is empty when there is nothing."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._tag = ""
        self.feed(body)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            address = name in ADDRESSES and not re.match(
                r"(/(?!/)|https?://|data:(,$|image/)|#|$)", value or ""
            )
            if MARK in tag or MARK in name or name.startswith("on") or name == "autofocus" or address:
                self.found.append(f"<{tag} {name}={value}")
        if tag in ("img", "iframe", "object", "embed", "base"):
            self.found.append(f"<{tag}")

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and MARK in data:
            self.found.append(data)


def assert_text_only(reply: Reply) -> None:
    """Whatever it shows of what was sent is text, to a browser too."""
    if "text/html" in reply.headers.get("Content-Type", ""):
        assert Active(reply.body).found == []
    elif reply.body:
        assert reply.headers["Content-Type"].startswith(("text/plain", "application/json"))


@pytest.mark.parametrize("text", ACTIVE)
def test_guest_pages_reflect_nothing_active(stranger: Stranger, text: str) -> None:
    """Case 9: path, query, fields, headers, method, host; found pages, redirects and errors."""
    token, encoded = stranger.token(), quote(text, safe="")
    stranger.post("/en/survey/A0", {"r": token, "value": "with"})
    for reply in (
        stranger.get(f"/en?{encoded}={encoded}"),
        stranger.get(f"/en/rules?{encoded}"),
        stranger.get(f"/en/rules?a='{encoded}\"><"),
        stranger.get(f"/{encoded}"),
        stranger.get(f"/en/{encoded}"),
        stranger.get(f"/en/survey/A0?r={encoded}"),
        stranger.get(f"/en/survey/A4?r={token}&{encoded}"),
        stranger.get(f"/{text.replace(' ', '')}"),
        stranger.get(f"/{text.replace(' ', '')}", host="neverssl.example", headers="Accept: text/html\r\n"),
        stranger.get("/", host=text, headers="Accept: text/html\r\n"),
        stranger.get("/en", headers=f"Accept-Language: {text}\r\nUser-Agent: {text}\r\nReferer: {text}\r\n"),
        stranger.post("/en/survey/A0", {"r": token, "value": text}),
        stranger.post("/en/survey/A4", {"r": token, "value": text * 100}),
        stranger.post("/en/survey/A4", {"r": token, text: text}),
        stranger.ask("POST", "/en/survey/A0", headers=f"Content-Type: {text}\r\n", body=b"x"),
        stranger.ask("POST", "/en/survey/A0", headers=f"Content-Type: {FORM}; charset={text}\r\n", body=b"x"),
        stranger.raw(f"{text.split(' ')[0]} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()),
    ):
        assert_text_only(reply)
        assert MARK not in reply.location or reply.status != 302
        if "text/html" in reply.headers.get("Content-Type", ""):
            assert reply.status == 302 or "script-src" not in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize("text", ACTIVE)
def test_staff_pages_reflect_nothing_active(stranger: Stranger, text: str) -> None:
    """Case 9: the page that FortiOS and pfSense lost is the one before sign-in."""
    encoded, console = quote(text, safe=""), stranger.portal.console
    for reply in (
        stranger.get(f"/sign-in?next={encoded}&{encoded}={encoded}", port=console),
        stranger.get(f"/{encoded}", port=console),
        stranger.get(f"/reports?venue={encoded}&from={encoded}", port=console),
        stranger.get(
            "/sign-in", headers=f"Accept-Language: {text}\r\nCookie: wificrm_before={text}\r\n", port=console
        ),
        stranger.ask(
            "POST",
            "/sign-in",
            headers=f"Content-Type: {FORM}\r\n",
            body=f"name={encoded}&next={encoded}".encode(),
            port=console,
        ),
    ):
        assert_text_only(reply)


def test_a_store_that_fails_is_told_without_details(stranger: Stranger, portal: Portal) -> None:
    """Case 9: with a table gone, a page says to try again."""
    token, before = stranger.token(), portal.log
    with contextlib.closing(sqlite3.connect(portal.home / "crm.db", timeout=10)) as store:
        store.execute("ALTER TABLE response RENAME TO gone")
        try:
            reply = stranger.post("/en/survey/A0", {"r": token, "value": "done"})
        finally:
            store.execute("ALTER TABLE gone RENAME TO response")
    (portal.home / "log").write_text(before)  # this error was meant
    assert_told(reply, 500, 503)
    for inside in ("sqlite", "table", str(portal.home), "operationalerror"):
        assert inside not in reply.body.lower()


async def test_an_error_tells_nothing_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 9 (Untangle: the traceback was shown): whatever nobody thought of is a page with a way on."""

    def fail(*_: object, **__: object) -> str:
        raise ValueError(f"{MARK} <script> /etc/wificrm/secrets")

    async with portal_at(tmp_path, Clock()) as portal:
        monkeypatch.setattr(captive.portal.pages, "render", fail)
        page = await portal.guest().get("/en/rules")
    assert page.status == 500
    assert "/en/skip" in page.text
    for inside in (MARK, "/etc/", "ValueError", "Traceback", ".py"):
        assert inside not in page.text


@pytest.fixture
async def console(store: Store, sqlite_dsn: str) -> AsyncIterator[Client]:
    """The console with the report pages, and people who may read them."""
    await fill(store)
    app = make_console(store, ROUTES, packages=("crm", "surveys"))
    app[SETTINGS] = Settings(store=StoreSection(crm=sqlite_dsn))
    opened = await open_client(app)
    await add_people(opened)
    yield opened
    await opened.close()


async def test_a_comment_is_text_on_the_report_page(console: Client, store: Store) -> None:
    """Case 10: the only free text of a guest that staff see."""
    await answer_much(store, "DEMO-P01", 60, " ".join(ACTIVE))
    await sign_in(console, "mai")
    answer = await console.get(f"/reports?venue=DEMO-P01&{PERIOD}")
    page = await answer.text()
    assert page.count(MARK) >= len(ACTIVE), "it must be shown, or this proves nothing"
    assert Active(page).found == []
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_nothing_of_a_browser_is_kept(stranger: Stranger, portal: Portal) -> None:
    """Case 10: a User-Agent that is not stored can be shown to nobody."""
    token = stranger.token()
    headers = f"Content-Type: {FORM}\r\n" + "".join(
        f"{name}: {MARK}-{name}\r\n" for name in ("User-Agent", "Referer", "X-Name")
    )
    body = f"r={token}&value=done".encode()
    assert stranger.ask("POST", "/en/survey/A0", headers=headers, body=body).status == 303
    assert stored(portal, "SELECT count(*) FROM response")[0][0]
    for path in portal.home.rglob("*"):
        assert not path.is_file() or f"{MARK}-".encode() not in path.read_bytes(), path


@needs_root
@pytest.mark.lab
def test_the_name_of_a_device_goes_nowhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Case 10: dnsmasq keeps no host name that a phone tells it, and answers for none."""
    with small_venue(tmp_path_factory.mktemp("venue")) as venue:
        assert venue.command("box.apply(settings)").returncode == 0
        lease = leased(venue, "evil-q7z")
        assert PHONE4.rpartition(".")[0] in lease
        assert "q7z" not in lease
        assert venue.resolve("evil-q7z", 1) != (0, [lease_address(lease)])


def leased(venue: SmallVenue, name: str) -> str:
    """The line of dnsmasq's lease file after a phone called *name* asked for an address."""
    venue.phone.run(
        "udhcpc", "-n", "-q", "-i", "wlan0", "-s", "/bin/true", "-x", f"hostname:{name}", "-F", name
    )
    return (venue.folder / "state/dnsmasq.leases").read_text()


def lease_address(line: str) -> bytes:
    """The address in it, packed."""
    return bytes(int(part) for part in line.split()[2].split("."))
