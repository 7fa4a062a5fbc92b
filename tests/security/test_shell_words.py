"""Cases 1 and 6: nothing that a stranger sends is ever executed.

openNDS thread 727 (query string in a shell), 724 (argument in ``$(...)``); CVE-2023-38316 (callback
unescaped, then executed).
"""

import ast
from pathlib import Path
from urllib.parse import quote, quote_plus

import msgspec
import pytest

from captive.gateway import Request
from tests.security.stranger import FORM, SHELL, Stranger

ROOT = Path(__file__).parents[2]
EXECUTES = {"eval", "exec", "compile", "system", "popen", "getoutput", "getstatusoutput", "__import__"}
ODD_HEADERS = ("User-Agent", "Cookie", "X-Forwarded-For", "Accept-Language", "Accept", "Referer", "Origin")


@pytest.mark.parametrize("text", SHELL)
def test_metacharacters_in_every_place(stranger: Stranger, text: str) -> None:
    """Cases 1, 6: path, query, host, headers, fields; plain, and behind percent signs once and twice."""
    token, line = stranger.token(), text.replace("\n", " ")
    once = quote(text, safe="")
    replies = [
        *(
            reply
            for encoded in (once, quote(once, safe=""), quote_plus(text))
            for reply in (
                stranger.get(f"/en?{encoded}={encoded}"),
                stranger.get(f"/{encoded}"),
                stranger.get(f"/en/survey/A0?r={encoded}"),
                stranger.get(f"/generate_204?{encoded}", host=encoded, headers="Accept: text/html\r\n"),
            )
        ),
        stranger.get("/", host=line, headers="Accept: text/html\r\n"),
        *(stranger.get("/en", headers=f"{name}: {line}\r\n") for name in ODD_HEADERS),
        stranger.post("/en/survey/A0", {"r": token, "value": text}),
        stranger.post("/en/survey/A0", {"r": text, "value": "done"}),
        stranger.post("/en/survey/A0", {text: text}),
        stranger.post("/en/survey/A0", f"r={token}&value=".encode() + once.encode()),
        stranger.ask("POST", "/en/skip", headers=f"Content-Type: {FORM}; charset={line}\r\n", body=b"r=x"),
    ]
    for reply in replies:
        assert reply.status < 500
        assert str(7919 * 104729) not in reply.body, "a template evaluated it"
        assert "script" not in reply.location


@pytest.mark.parametrize("text", SHELL)
def test_a_comment_is_kept_as_text(stranger: Stranger, text: str) -> None:
    """Case 6: what is unescaped is stored, not looked at."""
    token = stranger.token()
    assert stranger.post("/en/survey/A0", {"r": token, "value": "with"}).status == 303
    reply = stranger.post("/en/survey/A4", {"r": token, "value": text})
    assert reply.status in (303, 400)
    assert stranger.post("/en/skip").status == 303


@pytest.mark.parametrize("text", SHELL)
def test_nothing_but_a_mac_reaches_the_firewalls_language(text: str) -> None:
    """Case 1: the gate writes nft's language; a request whose device is anything else is refused."""
    mac = "02:00:00:00:00:01"
    for device in (
        text,
        f"guest {mac}{text}",
        f"{text}guest {mac}",
        f"guest {text}",
        f"{text} {mac}",
        f"guest {mac}\n",
    ):
        for request in (
            {"do": "allow", "id": 1, "leases": {device: [60]}},
            {"do": "deny", "id": 1, "devices": [device]},
        ):
            with pytest.raises(msgspec.ValidationError):
                msgspec.json.decode(msgspec.json.encode(request), type=Request)
    assert msgspec.json.decode(f'{{"do":"deny","id":1,"devices":["guest {mac}"]}}', type=Request)


def test_no_module_can_execute_a_text() -> None:
    """Cases 1, 6: no shell, no ``eval``; a command is a list of words."""
    found = []
    for package in ("crm", "surveys", "campaigns", "captive"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = node.func
                name = called.id if isinstance(called, ast.Name) else ""
                if isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("os", "subprocess"):
                    name = called.attr
                shell = any(keyword.arg == "shell" for keyword in node.keywords)
                if name in EXECUTES or shell or "_shell" in name:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(called)}")
    assert found == []
