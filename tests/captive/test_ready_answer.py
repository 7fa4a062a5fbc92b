"""Answers with a ready head beside those that aiohttp writes itself: over the wire nobody can tell them apart."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from multidict import CIMultiDict

import captive.portal.ready_answer
from captive.portal.ready_answer import ReadyHead
from tests.free_ports import free_port
from tests.lab.certificates import Authority

PIECES = [b"<p>" + b"a" * 9_000, b"token", b"b" * 12_000, b"token", "</p>ỗ".encode()]
SIZE = sum(map(len, PIECES))
HEADERS = CIMultiDict({"Content-Type": "text/html; charset=utf-8", "Server": "wificrm", "X-Kept": "a; b='c'"})
END = "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Site:
    """An application with the page at /ready and, as aiohttp sends it, at /plain."""

    def __init__(self) -> None:
        self.port, self.tls_port, self.asked = free_port(), free_port(), 0
        self.head = ReadyHead(HEADERS)

    async def ready(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        return self.head.answer(request, PIECES)

    async def plain(self, _request: web.Request) -> web.Response:
        return web.Response(body=b"".join(PIECES), headers=HEADERS)

    async def end(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def ask(self, request: str, tls: ssl.SSLContext | None = None) -> tuple[list[str], bytes]:
        """(lines of the head, sorted but for the first; body) of the first answer to *request*, after which it ends."""
        port = self.tls_port if tls else self.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.write(request.encode())
        async with asyncio.timeout(30):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        first, *lines = head.decode().split("\r\n")
        return [first, *sorted(lines)], body.partition(b"HTTP/1.1 204 No Content\r\n")[0]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(the site's, a guest's)."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.issue("portal", "portal.lab.example"))
    client = ssl.create_default_context(cafile=str(authority.certificate))
    client.check_hostname = False
    return server, client


@pytest.fixture
async def site(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.add_routes([web.get("/ready", site.ready), web.get("/plain", site.plain), web.get("/end", site.end)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", site.port).start()
    await web.TCPSite(runner, "127.0.0.1", site.tls_port, ssl_context=contexts[0]).start()
    yield site
    await runner.cleanup()


def undated(answer: tuple[list[str], bytes]) -> tuple[list[str], bytes]:
    """*answer* without what the second tells."""
    lines, body = answer
    assert sum(line.startswith("Date: ") for line in lines) == 1
    return [line for line in lines if not line.startswith("Date: ")], body


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n" + END,
        "HEAD /{} HTTP/1.1\r\nHost: a\r\n\r\n" + END,
        "GET /{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /{} HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /{} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + END,
        "GET /{} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody" + END,
    ],
    ids=["plain", "HEAD", "close", "1.0", "1.0 kept", "with a body"],
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_nobody_can_tell(
    site: Site, contexts: tuple[ssl.SSLContext, ssl.SSLContext], request_text: str, secure: bool
) -> None:
    tls = contexts[1] if secure else None
    ready, plain = [undated(await site.ask(request_text.format(path), tls)) for path in ("ready", "plain")]
    assert ready == plain
    assert ready[0][0].endswith(" 200 OK")
    assert ready[1] == (b"" if request_text.startswith("HEAD") else b"".join(PIECES))
    assert site.asked == 1


async def test_many_on_one_connection_each_whole(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n" * 50 + END.encode())
    async with asyncio.timeout(30):
        answers = (await reader.read()).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(answers) == 50
    heads, bodies = zip(*(answer.partition(b"\r\n\r\n")[::2] for answer in answers), strict=True)
    assert all(f"Content-Length: {SIZE}".encode() in head for head in heads)
    assert {body[:SIZE] for body in bodies} == {b"".join(PIECES)}
    writer.close()


async def test_the_date_is_that_of_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    head = ReadyHead(HEADERS)
    monkeypatch.setattr(captive.portal.ready_answer, "time", lambda: 1_795_305_599.9)
    assert b"\r\nDate: Sat, 21 Nov 2026 23:59:59 GMT\r\n" in head._head(5)
    monkeypatch.setattr(captive.portal.ready_answer, "time", lambda: 1_795_305_600.0)
    made = head._head(5)
    assert b"\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\n" in made
    assert head._head(5) is made
    assert b"Content-Length: 7\r\n" in head._head(7)


async def test_who_reads_nothing_is_answered_no_further(site: Site) -> None:
    """Pages wait in memory only as far as sockets take them, however many are asked for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000)
    asked = -1
    async with asyncio.timeout(60):
        while site.asked != asked:
            asked = site.asked
            await asyncio.sleep(0.5)
    assert 0 < asked < 2_000
    writer.transport.abort()
    del reader
