import asyncio
from pathlib import Path

import pytest

from captive import gateway
from captive.gateway import GateClient, GatewayError, Lease, OpenGateway, Terms


async def test_the_open_gateway_remembers_until_a_lease_ends():
    now = 100.0
    everyone = OpenGateway(clock=lambda: now)
    await everyone.allow({"guest 02:00:00:00:00:01": Terms(60), "guest 02:00:00:00:00:02": Terms(10)})
    now = 109.0
    assert await everyone.list() == {
        "guest 02:00:00:00:00:01": Lease(51),
        "guest 02:00:00:00:00:02": Lease(1),
    }
    now = 110.0
    await everyone.deny(["guest 02:00:00:00:00:09"])
    assert set(await everyone.list()) == {"guest 02:00:00:00:00:01"}
    await everyone.deny(["guest 02:00:00:00:00:01"])
    assert await everyone.list() == {}
    await everyone.close()


async def test_without_a_gate_a_call_ends_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gateway, "TIMEOUT", 0.1)
    client = GateClient(str(tmp_path / "gate.sock"))
    with pytest.raises(GatewayError, match=r"does not answer at .*gate\.sock; is it running"):
        await client.allow({"guest 02:00:00:00:00:01": Terms(60)})
    await client.close()


async def test_a_gate_that_says_nothing_does_not_hold_a_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateway, "TIMEOUT", 0.2)

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(hear, tmp_path / "gate.sock")
    client = GateClient(str(tmp_path / "gate.sock"))
    with pytest.raises(GatewayError, match="does not answer"):
        await client.list()
    await client.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("answer", [b"garbage\n", b"", b'{"id":1'])
async def test_a_gate_that_breaks_off_is_asked_again(tmp_path: Path, answer: bytes):
    calls = 0

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await reader.readline()
        writer.write(answer if calls < 3 else b'{"id":1,"leases":{"guest 02:00:00:00:00:01":[5,6,7]}}\n')
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(hear, tmp_path / "gate.sock")
    client = GateClient(str(tmp_path / "gate.sock"))
    assert await client.list() == {"guest 02:00:00:00:00:01": Lease(5, 6, 7)}
    assert calls == 3
    await client.close()
    server.close()
    await server.wait_closed()
