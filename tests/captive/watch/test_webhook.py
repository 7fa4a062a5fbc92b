"""Messages reach a real HTTP or HTTPS server, however often it is away; nothing waits for it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from captive.watch import webhook
from captive.watch.webhook import MAX_WAITING, Webhook
from tests.free_ports import free_port
from tests.lab.certificates import Authority
from tests.waiting import LONG, until

SOON = (0.02, 0.05)


class Receiver:
    """A web server of somebody else's: answers with *statuses* in turn, then with 204."""

    def __init__(self, *statuses: int, context: ssl.SSLContext | None = None) -> None:
        self.got: list[dict[str, Any]] = []
        self.asked = 0
        self._statuses, self._context = list(statuses), context
        self._runner: web.AppRunner | None = None
        self.port = free_port()  # it comes back there

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._context)
        await site.start()

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"{'https' if self._context else 'http'}://localhost:{self.port}/hook"

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        status = self._statuses.pop(0) if self._statuses else 204
        if status == 204:
            assert request.content_type == "application/json"
            self.got.append(await request.json())
        return web.Response(status=status, headers={"Location": self.address} if status == 307 else {})


@contextlib.asynccontextmanager
async def receiving(*statuses: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(*statuses, context=context)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


async def test_messages_arrive_in_order():
    async with receiving() as receiver:
        hook = Webhook(receiver.address, SOON)
        for number in range(3):
            hook.post({"n": number})
        await until(lambda: len(receiver.got) == 3)
        await hook.close()
    assert receiver.got == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_a_server_that_is_away_gets_its_message_later(capsys: pytest.CaptureFixture[str]):
    async with receiving() as receiver:
        pass
    hook = Webhook(receiver.address, SOON)
    hook.post({"n": 1})
    said = ""

    def has_failed() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "takes no message" in said

    await until(has_failed)
    await asyncio.sleep(0.1)  # more attempts
    await receiver.start()
    try:
        await until(lambda: receiver.got)
        hook.post({"n": 2})
        await until(lambda: len(receiver.got) == 2)
    finally:
        await hook.close()
        await receiver.stop()
    assert receiver.got == [{"n": 1}, {"n": 2}]
    said += capsys.readouterr().out
    assert said.count("the webhook takes no message") == 1, "not once per attempt"
    assert "takes messages again" in said
    assert "/hook" not in said, "the path of an address is often its password"


@pytest.mark.parametrize(("status", "asked"), [(500, 2), (503, 2), (429, 2), (404, 1), (400, 1), (307, 1)])
async def test_what_may_pass_is_tried_again_and_a_refusal_is_not(status: int, asked: int):
    async with receiving(status) as receiver:
        hook = Webhook(receiver.address, SOON)
        hook.post({"n": 1})
        await until(lambda: receiver.asked == asked)
        hook.post({"n": 2})
        await until(lambda: {"n": 2} in receiver.got)
        await hook.close()
    assert receiver.asked == asked + 1
    assert ({"n": 1} in receiver.got) == (asked == 2)


async def test_what_is_too_old_goes_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(webhook, "EXPIRES", 0.1)
    async with receiving() as receiver:
        pass
    hook = Webhook(receiver.address, SOON)
    hook.post({"n": 1})
    await until(lambda: not hook._waiting)
    await hook.close(patience=0)
    assert "takes messages again" not in capsys.readouterr().out, "nobody took any"


async def test_only_the_latest_wait_and_posting_never_does():
    async with receiving() as receiver:
        pass
    hook = Webhook(receiver.address, (30.0,))
    for number in range(MAX_WAITING + 50):
        hook.post({"n": number})
    assert [letter.body["n"] for letter in hook._waiting] == list(range(50, MAX_WAITING + 50))
    async with asyncio.timeout(LONG / 2):
        await hook.close(patience=0.1)


async def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("hook", "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with receiving(context=context) as receiver:
        stranger = Webhook(receiver.address, SOON)
        stranger.post({"n": 1})
        await asyncio.sleep(0.3)
        assert len(stranger._waiting) == 1
        await stranger.close(patience=0)
        assert receiver.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        friend = Webhook(receiver.address, SOON)
        friend.post({"n": 2})
        await until(lambda: receiver.got)
        await friend.close()
    assert receiver.got == [{"n": 2}]
