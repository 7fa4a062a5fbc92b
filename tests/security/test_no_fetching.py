"""Case 11: the portal fetches nothing, so nobody can make it fetch.

PacketFence proxies for guests and keeps a list of spellings of localhost (``proxy.go``); not to proxy at
all needs none.
"""

import ast
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.stranger import Stranger

ROOT = Path(__file__).parents[2]
CALLS_OUT = {"urllib.request", "http.client", "requests", "httpx", "ftplib", "smtplib", "aiohttp.client"}
MAY_CALL = {
    "captive/certificate.py",  # shakes hands with the portal itself, at the address that the settings give it
    "captive/doctor/phone/web.py",  # the doctor's phone, in a process and a namespace of its own
    "captive/watch/webhook.py",  # the watch's, to the one address that the settings name
}
ELSEWHERE = ("captive.doctor", "captive.watch")
"""What is never read into the portal."""


@pytest.fixture
def bait() -> Iterator[tuple[str, list[str]]]:
    """An address that takes calls, and who called."""
    calls: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, address = listener.accept()
                    caller.close()
                    calls.append(str(address))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", calls
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_no_address_in_a_request_is_called(stranger: Stranger, bait: tuple[str, list[str]]) -> None:
    """As a proxy, as host, in any parameter, header or field; in odd spellings of localhost."""
    where, calls = bait
    port = where.partition(":")[2]
    token = stranger.token()
    for host in (
        where,
        f"localhost:{port}",
        f"[::ffff:127.0.0.1]:{port}",
        f"0x7f.1:{port}",
        f"2130706433:{port}",
    ):
        url = f"http://{host}/x"
        stranger.get(url, host=host)
        stranger.get("/", host=host, headers="Accept: text/html\r\n")
        stranger.raw(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        for name in ("url", "next", "r", "redirurl", "callback"):
            stranger.get(f"/en?{name}={url}")
        stranger.get("/en", headers=f"Referer: {url}\r\nOrigin: {url}\r\nX-Forwarded-Host: {host}\r\n")
        stranger.post("/en/survey/A0", {"r": token, "value": url, "url": url})
        stranger.post("/en/skip", {"url": url})
        stranger.get(f"/sign-in?next={url}", port=stranger.portal.console)
    assert calls == []


def test_the_portal_imports_nothing_that_calls_out() -> None:
    found = []
    for package in ("crm", "surveys", "campaigns", "captive"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            tree = ast.parse(path.read_text("utf-8"))
            modules = {
                alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
            }
            modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            used = {
                ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)
            }
            if name not in MAY_CALL and (
                modules & CALLS_OUT or {u for u in used if u.endswith(("ClientSession", "create_connection"))}
            ):
                found.append(name)
    assert found == []


def test_what_may_call_is_no_part_of_the_portal() -> None:
    asks = (
        f"import sys, captive.commands.serve; print([m for m in sys.modules if m.startswith({ELSEWHERE!r})])"
    )
    done = subprocess.run([sys.executable, "-c", asks], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
