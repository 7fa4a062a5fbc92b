"""A thin router in Python: speaks the contract of docs/thin-routers.md, keeps a table, and can be told to misbehave.

For tests of the portal; the router's own programs are in router_scripts/thin.
"""

import asyncio
import contextlib
import hashlib
import hmac
import io
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest


def sign(key: bytes, text: bytes | str) -> str:
    data = text.encode() if isinstance(text, str) else text
    return hmac.new(key, data, hashlib.sha256).hexdigest()


class RefusedError(Exception):
    """The portal answered with another status than 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text.strip()}")
        self.status = status


async def refused(sending: Awaitable[None], status: int = 403) -> None:
    """The portal answers *sending* with *status*."""
    with pytest.raises(RefusedError, match=f"^{status} "):
        await sending


@dataclass
class Entry:
    """A device that is let through: until when (monotonic), bytes since its counts began."""

    ends: float
    up: int = 0
    down: int = 0

    @property
    def seconds(self) -> int:
        return max(0, round(self.ends - time.monotonic()))


@dataclass
class Heard:
    """One line of the stream: when it came (monotonic), what it says."""

    at: float
    number: int
    text: str


@dataclass
class ThinRouter:
    """One router. `connect` it; `table` and `present` are what it reports."""

    name: str
    key: bytes
    port: int
    authority: Path
    host: str = "127.0.0.1"
    portal: str = "portal.lab"
    version: str = "test-1"
    reporting: bool = True
    """Whether it reports by itself what it carried out."""
    table: dict[str, Entry] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    heard: list[Heard] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    salts: list[str] = field(default_factory=list)
    session: str = ""
    challenge: str = ""
    nonce: str = ""
    applied: int = 0
    reports: int = 0
    ended: str = ""
    """Why the stream ended."""
    on_line: Callable[[Heard], None] | None = None
    _reporting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _client: aiohttp.ClientSession | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def down(self) -> bytes:
        return sign(self.key, f"down {self.challenge} {self.nonce}").encode()

    @property
    def up(self) -> bytes:
        return sign(self.key, f"up {self.challenge} {self.nonce}").encode()

    @property
    def client(self) -> aiohttp.ClientSession:
        if self._client is None:
            context = ssl.create_default_context(cafile=str(self.authority))
            connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=0)
            self._client = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self._client

    def ask(self, method: str, what: str, data: bytes = b"") -> "aiohttp.client._RequestContextManager":
        url = f"https://{self.host}:{self.port}/router/v1/{what}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        return self.client.request(
            method, url, data=io.BytesIO(data) if data else None, server_hostname=self.portal, timeout=timeout,
            headers={"Host": f"{self.portal}:{self.port}"},
        )  # fmt: skip

    async def get_challenge(self) -> str:
        async with self.ask("GET", "challenge") as answer:
            return (await answer.text()).strip()

    def stream_request(self, challenge: str) -> bytes:
        """The line that asks for a stream, with a new nonce."""
        self.challenge, self.nonce = challenge, os.urandom(16).hex()
        text = f"{self.name} {self.challenge} {self.nonce}"
        return f"{text} {sign(self.key, f'stream {text}')}\n".encode()

    async def connect(self) -> None:
        """Open the stream; returns after the first three lines and the first report. Raises `RefusedError`."""
        body = self.stream_request(await self.get_challenge())
        context = self.ask("POST", "stream", body)
        answer = await context.__aenter__()
        if answer.status != 200:
            text = await answer.text()
            await context.__aexit__(None, None, None)
            raise RefusedError(answer.status, text)
        self.applied, self.reports, self.session, self.ended = 0, 0, "", ""
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._listen(answer, ready))
        async with asyncio.timeout(10):
            await ready.wait()
        if self.ended:
            raise ConnectionError(self.ended)
        if self.reporting:
            await self.report()

    async def _listen(self, answer: aiohttp.ClientResponse, ready: asyncio.Event) -> None:
        number = 0
        try:
            async for raw in answer.content:
                at = time.monotonic()
                told, signature, text = raw.decode().rstrip("\n").split(" ", 2)
                number += 1
                if int(told) != number:
                    raise ValueError(f"line {told} where {number} was due")
                if signature != sign(self.down, f"{told} {text}"):
                    raise ValueError(f"line {told} is not signed by the portal")
                line = Heard(at, number, text)
                self.heard.append(line)
                self._carry_out(line)
                if self.on_line:
                    self.on_line(line)
                if number == 3:
                    ready.set()
                elif number > 3 and self.reporting and not text.startswith("ping"):
                    await self.report()
            self.ended = "the portal ended it"
        except (aiohttp.ClientError, ValueError, OSError, RefusedError) as error:
            self.ended = f"{type(error).__name__}: {error}"
        finally:
            ready.set()
            answer.close()

    def _carry_out(self, line: Heard) -> None:
        word, *rest = line.text.split(" ")
        if word == "hello":
            self.session = rest[0]
        elif word == "config":
            self.config = dict(pair.split("=", 1) for pair in rest)
        elif word == "salt":
            self.salts.append(rest[0])
        elif word == "allow":
            for mac, seconds, fresh in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
                ends = time.monotonic() + int(seconds)
                had = self.table.get(mac)
                counts = (had.up, had.down) if had and fresh == "0" else (0, 0)
                self.table[mac] = Entry(ends, *counts)
        elif word == "deny":
            for mac in rest:
                self.table.pop(mac, None)
        self.applied = line.number

    def report_text(self) -> str:
        now = time.monotonic()
        self.table = {mac: entry for mac, entry in self.table.items() if entry.ends > now}
        lines = [f"applied {self.applied}", f"version {self.version}", "uptime 100", "mode thin", "away 3"]
        lines += [f"lease {mac} {entry.seconds} {entry.up} {entry.down}" for mac, entry in self.table.items()]
        return "\n".join([*lines, *(f"present {mac}" for mac in sorted(self.present))]) + "\n"

    def signed_report(
        self, text: str | None = None, *, number: int = 0, up: bytes = b"", session: str = ""
    ) -> bytes:
        """A report as it is sent; whatever is given replaces the truth."""
        if not number:
            self.reports += 1
            number = self.reports
        body = self.report_text() if text is None else text
        signature = sign(up or self.up, f"{number}\n{body}")
        return f"{session or self.session} {number} {signature}\n{body}".encode()

    async def report(self, text: str | None = None) -> None:
        """Report once, after those under way: their numbers must arrive in order. Raises `RefusedError`."""
        async with self._reporting:
            await self.send_report(self.signed_report(text))

    async def send_report(self, data: bytes) -> None:
        """Send these bytes as a report. Raises `RefusedError`."""
        async with self.ask("POST", "report", data) as answer:
            if answer.status != 200:
                raise RefusedError(answer.status, await answer.text())

    def enter_path(self, mac: str, wanted: str = "", *, salt: str = "") -> str:
        """Where this router sends the device *mac*, which asked for the page *wanted* (host and path)."""
        text = wanted.encode().hex()
        signature = sign((salt or self.salts[-1]).encode(), f"enter {self.name} {mac} {text}")
        return f"/enter?r={self.name}&d={mac}&u={text}&s={signature}"

    def said(self, word: str) -> list[str]:
        """The lines heard so far that begin with *word*."""
        return [line.text for line in self.heard if line.text.split(" ")[0] == word]

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until *condition* holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def hang_up(self) -> None:
        """Lose the stream, as a cut cable does."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def close(self) -> None:
        """End everything."""
        await self.hang_up()
        if self._client:
            await self._client.close()
            self._client = None


@contextlib.asynccontextmanager
async def connected(router: ThinRouter) -> AsyncIterator[ThinRouter]:
    """*router*, connected while the context is open."""
    try:
        await router.connect()
        yield router
    finally:
        await router.close()
