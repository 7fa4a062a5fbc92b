"""The real gate over its real socket, changing a real kernel."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from captive.gateway import MAX_DEVICES, MAX_REQUEST, GateClient, GatewayError, Terms, device_key
from tests.captive.small_venue import (
    MAC,
    PHONE4,
    PHONE6,
    WORLD4,
    WORLD6,
    SmallVenue,
    eventually,
    needs_root,
    public_folder,
    small_venue,
)
from tests.waiting import LONG, until

pytestmark = [needs_root, pytest.mark.lab]

WORLD, RESET = "the world", "ConnectionRefusedError"


DEVICE = device_key("guest", MAC)


def device(number: int) -> str:
    return device_key("guest", mac(number))


def mac(number: int) -> str:
    return f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}"


@pytest.fixture(scope="module")
def wired() -> Iterator[SmallVenue]:
    with public_folder() as folder, small_venue(folder) as made:
        assert made.command("box.apply(settings)").returncode == 0
        for port in (80, 443):
            made.serve(made.world, port, WORLD)
        made.serve(made.box, made.settings.portal.port, "the portal")
        made.gate()
        yield made


@pytest.fixture
def venue(wired: SmallVenue) -> Iterator[SmallVenue]:
    yield wired
    wired.box.nft("flush set inet wificrm allowed_guest\n")


@pytest.fixture
def path(venue: SmallVenue) -> str:
    return venue.settings.gate.socket


@pytest.fixture
async def gate(path: str) -> AsyncIterator[GateClient]:
    client = GateClient(path)
    yield client
    await client.close()


def raw(path: str, data: bytes) -> list[dict[str, object]]:
    """Say *data* to the gate; what it answers until it hangs up."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(LONG)
        caller.connect(path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            caller.sendall(data)
            caller.shutdown(socket.SHUT_WR)
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := caller.recv(65536):
                heard += piece
    return [msgspec.json.decode(line) for line in heard.splitlines()]


async def test_allow_deny_list(venue: SmallVenue, gate: GateClient):
    assert await gate.list() == {}
    await gate.allow({DEVICE: Terms(600), device(1): Terms(60)})
    assert venue.ask_tcp(WORLD4, 443) == WORLD
    assert venue.ask_tcp(WORLD6, 443) == WORLD
    leases = await gate.list(counts=True)
    assert set(leases) == {DEVICE, device(1)}
    assert 600 - LONG <= leases[DEVICE].seconds <= 600
    assert leases[DEVICE].up > 2 * 2 * 40
    assert leases[DEVICE].down > 2 * 2 * 40
    assert (leases[device(1)].up, leases[device(1)].down) == (0, 0)
    await gate.deny([DEVICE])
    assert venue.ask_tcp(WORLD4, 443) == RESET
    assert set(await gate.list()) == {device(1)}
    await gate.deny([DEVICE, device(1), device(2)])  # twice, and one that never was: harmless
    assert await gate.list() == {}


async def test_a_lease_is_renewed_and_shortened(venue: SmallVenue, gate: GateClient):
    for seconds in (100, 5000, 50):
        await gate.allow({DEVICE: Terms(seconds)})
        assert seconds - LONG <= (await gate.list())[DEVICE].seconds <= seconds


async def test_renewing_never_lets_a_packet_be_refused(venue: SmallVenue, gate: GateClient):
    await gate.allow({DEVICE: Terms(600)})
    with venue.phone.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.connect((WORLD4, 443))
        assert caller.recv(100)
        for number in range(300):
            renewal = asyncio.create_task(gate.allow({DEVICE: Terms(600 + number)}))
            for _ in range(10):
                caller.send(b"x")  # a refused packet would be a reset
                assert caller.recv(1) == b"x"
                await asyncio.sleep(0)
            await renewal


async def test_more_devices_than_fit_into_one_message(venue: SmallVenue, gate: GateClient):
    macs = [device(number) for number in range(2 * MAX_DEVICES + 5)]
    await gate.allow(dict.fromkeys(macs, Terms(600)))
    assert set(await gate.list()) == set(macs)
    await gate.deny(macs[1:])
    assert set(await gate.list()) == {macs[0]}


async def test_calls_at_once_share_a_connection_and_each_is_done(venue: SmallVenue, gate: GateClient):
    await asyncio.gather(
        *(gate.allow({device(number): Terms(100 + number)}) for number in range(200)),
        *(gate.list() for _ in range(20)),
    )
    await asyncio.gather(*(gate.deny([device(number)]) for number in range(100)))
    assert set(await gate.list()) == {device(number) for number in range(100, 200)}


async def test_the_last_word_on_a_device_holds(venue: SmallVenue, gate: GateClient):
    for _ in range(20):
        await asyncio.gather(
            gate.allow({DEVICE: Terms(50)}),
            gate.deny([DEVICE]),
            gate.allow({DEVICE: Terms(70)}),
            gate.deny([DEVICE]),
        )
        assert await gate.list() == {}
        await asyncio.gather(gate.deny([DEVICE]), gate.allow({DEVICE: Terms(50)}))
        assert set(await gate.list()) == {DEVICE}


async def test_deny_ends_the_flows_of_that_device_and_no_others(venue: SmallVenue, gate: GateClient):
    await gate.allow({DEVICE: Terms(600)})
    assert venue.ask_udp(WORLD4, 443) == WORLD
    assert venue.ask_udp(WORLD6, 443) == WORLD
    other4, other6 = "192.168.50.200", "fd50:7c3a:1::200"
    for address, far in ((other4, "198.51.100.9"), (other6, "2001:db8::9")):
        venue.box.ip(f"neighbour replace {address} lladdr {mac(1)} dev br-guest nud permanent")
        flow = f"conntrack -I -s {address} -d {far} -p udp --sport 5 --dport 6 --timeout 99"
        venue.box.run(*flow.split())

    def begun_by() -> set[str]:
        listed = "".join(venue.box.run("conntrack", "-L", "-f", family).stdout for family in ("ipv4", "ipv6"))
        return {line.split(" src=")[1].split()[0] for line in listed.splitlines()}

    assert begun_by() >= {PHONE4, PHONE6, other4, other6}
    await gate.deny([DEVICE])
    left = begun_by()
    assert {PHONE4, PHONE6} & left == set()
    assert left >= {other4, other6}
    await gate.deny([device(1)])
    assert {other4, other6} & begun_by() == set()


async def test_the_office_that_got_other_addresses_is_not_reached_there_either(
    venue: SmallVenue, gate: GateClient
):
    moved = "2001:db8:77::1"
    await gate.allow({DEVICE: Terms(600)})
    venue.world.ip(f"address add {moved}/64 dev venue nodad")
    venue.box.ip("route add 2001:db8:77::/64 dev eth0")
    assert venue.ask_tcp(moved, 443) == WORLD
    venue.box.ip("address add 2001:db8:77::2/128 dev eth0 nodad")  # as DHCPv6 gives them
    await until(lambda: venue.ask_tcp(moved, 443) == RESET)
    assert venue.ask_tcp(WORLD6, 443) == WORLD
    venue.box.ip("address delete 2001:db8:77::2/128 dev eth0")
    await until(lambda: venue.ask_tcp(moved, 443) == WORLD)


@pytest.mark.parametrize(
    "request_",
    [
        b"garbage\n",
        b"[]\n",
        b"{}\n",
        b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:01":[0]}}\n',
        b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:01":[99999999]}}\n',
        b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:01 }; flush ruleset; #":[60]}}\n',
        b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:01\\n":[60]}}\n',
        b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:0G":[60]}}\n',
        b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:0A":[60]}}\n',
        b'{"do":"deny","id":1,"devices":["@allowed_guest"]}\n',
        b'{"do":"list","id":1,"then":"flush"}\n',
        b'{"do":"stop","id":1}\n',
        b'{"do":"deny","id":1,"devices":['
        + b",".join([b'"guest 02:00:00:00:00:01"'] * (MAX_DEVICES + 1))
        + b"]}\n",
        b"x" * (MAX_REQUEST + 10),
        b"\xff\xfe\n",
        b"\0" * 100 + b"\n",
    ],
)
async def test_what_is_no_request_is_refused_and_nothing_happens(
    venue: SmallVenue, gate: GateClient, path: str, request_: bytes
):
    await gate.allow({device(7): Terms(600)})
    answers = raw(path, request_)
    assert [answer["id"] for answer in answers] == [0]
    assert answers[0]["error"] == "this is no request"
    assert set(await gate.list()) == {device(7)}


def speak(venue: SmallVenue, *identity: str) -> str:
    """What a process with that identity hears when it asks for the list."""
    script = """
import contextlib, socket, sys
caller = socket.socket(socket.AF_UNIX)
caller.connect(sys.argv[1])
with contextlib.suppress(BrokenPipeError):
    caller.send(b'{"do":"list","id":1}\\n')
print(caller.makefile().readline())
"""
    words = ["setpriv", *identity, sys.executable, "-c", script, venue.settings.gate.socket]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_root_and_the_group_may_speak_and_nobody_else(venue: SmallVenue):
    group = Path(venue.settings.gate.socket).stat().st_gid
    assert '{"id":1}' in speak(venue)
    assert '{"id":1}' in speak(venue, "--reuid=12345", f"--regid={group}", "--clear-groups")
    assert '{"id":1}' in speak(venue, "--reuid=12345", "--regid=12345", f"--groups=1,{group}")
    assert "PermissionError" in speak(venue, "--reuid=12345", "--regid=12345", "--clear-groups")


def test_a_stranger_is_refused_even_where_the_file_would_let_them_in(venue: SmallVenue):
    socket_file = Path(venue.settings.gate.socket)
    socket_file.chmod(0o666)
    socket_file.parent.chmod(0o755)
    try:
        heard = speak(venue, "--reuid=12345", "--regid=12345", "--clear-groups")
    finally:
        socket_file.chmod(0o660)
        socket_file.parent.chmod(0o750)
    assert "only root and members of gate.group may speak to the gate" in heard


def test_callers_beyond_the_limit_are_told(venue: SmallVenue, path: str):
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            caller = stack.enter_context(socket.socket(socket.AF_UNIX))
            caller.connect(path)
            caller.send(b'{"do":"list","id":1}\n')
            assert caller.recv(100)
        assert raw(path, b'{"do":"list","id":1}\n')[0]["error"] == "more than 16 callers at once"
    assert eventually(lambda: raw(path, b'{"do":"list","id":1}\n')[0] == {"id": 1})


@pytest.mark.parametrize(
    "loss",
    [
        "flush ruleset",
        "delete table inet wificrm",
        "flush table inet wificrm",
        "flush chain inet wificrm upstream_guest",
    ],
)
def test_a_table_that_somebody_flushed_is_back_at_once(venue: SmallVenue, loss: str):
    assert venue.ask_tcp(WORLD4, 443) == RESET
    venue.box.nft(loss + "\n")
    assert eventually(lambda: "table=True" in venue.command("box.status(settings)").stdout)
    assert venue.ask_tcp(WORLD4, 443) == RESET
    assert venue.ask_tcp(WORLD4, 80) == "the portal"


async def test_a_full_set_refuses_with_a_reason_and_others_do_not_suffer(venue: SmallVenue, gate: GateClient):
    macs = [f"06:00:00:00:{high:02x}:{low:02x}" for high in range(256) for low in range(256)][
        1:
    ]  # room for one
    for start in range(0, len(macs), 1000):
        venue.box.nft(
            f"add element inet wificrm allowed_guest {{ {', '.join(macs[start : start + 1000])} }}\n"
        )
    results = await asyncio.gather(
        gate.allow({device(1): Terms(60)}),
        gate.allow({device(2): Terms(60), device(3): Terms(60)}),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], GatewayError)
    assert "refused" in str(results[1])


def test_nothing_the_gate_says_names_a_device(tmp_path: Path):
    with small_venue(tmp_path / "venue") as venue:
        process = venue.gate()
        path = venue.settings.gate.socket
        raw(path, b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:01":[60]}}\n')
        raw(path, b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:01":[0]}}\n')
        venue.box.nft("flush ruleset\n")
        raw(path, b'{"do":"deny","id":1,"devices":["guest 02:00:00:00:00:01"]}\n')
        process.terminate()
        said = process.stdout.read() if process.stdout else ""
    assert "02:00" not in said.lower()


class TestOneGateAfterAnother:
    @pytest.fixture
    def venue(self, tmp_path: Path) -> Iterator[SmallVenue]:
        with small_venue(tmp_path / "venue") as made:
            made.serve(made.world, 443, WORLD)
            assert made.command("box.apply(settings)").returncode == 0
            yield made

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
    async def test_leases_live_on_and_the_client_does_not_notice(
        self, venue: SmallVenue, number: signal.Signals
    ):
        first = venue.gate()
        gate = GateClient(venue.settings.gate.socket)
        await gate.allow({DEVICE: Terms(600)})
        first.send_signal(number)
        assert first.wait(LONG) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        assert Path(venue.settings.gate.socket).exists() is (number == signal.SIGKILL)
        assert venue.ask_tcp(WORLD4, 443) == WORLD
        asked = asyncio.create_task(gate.list())
        await asyncio.sleep(0.3)
        assert not asked.done()
        await asyncio.to_thread(venue.gate)
        assert set(await asked) == {DEVICE}
        await gate.close()

    def test_the_kernel_ends_a_lease_with_the_gate_stopped(self, venue: SmallVenue):
        process = venue.gate()

        def lease(seconds: int) -> None:
            said = f'{{"do":"allow","id":1,"leases":{{"{DEVICE}":[{seconds}]}}}}\n'
            assert raw(venue.settings.gate.socket, said.encode()) == [{"id": 1}]

        lease(600)
        assert venue.ask_tcp(WORLD4, 443) == WORLD
        lease(2)
        process.kill()
        assert eventually(lambda: venue.ask_tcp(WORLD4, 443) == RESET)

    def test_a_second_gate_says_that_there_is_one(self, venue: SmallVenue):
        venue.gate()
        with pytest.raises(RuntimeError, match="another gate listens there"):
            venue.gate()

    def test_down_is_not_undone_by_the_gate(self, venue: SmallVenue):
        venue.gate()
        assert venue.command("box.remove(settings)").returncode == 0
        time.sleep(0.3)
        assert "wificrm" not in venue.box.run("nft", "list", "ruleset").stdout
        answer = raw(
            venue.settings.gate.socket, b'{"do":"allow","id":1,"leases":{"guest 02:00:00:00:00:01":[60]}}\n'
        )[0]
        assert "was taken down" in str(answer["error"])
        assert "wificrm" not in venue.box.run("nft", "list", "ruleset").stdout
        assert venue.command("box.apply(settings)").returncode == 0
        assert raw(venue.settings.gate.socket, b'{"do":"list","id":1}\n') == [{"id": 1}]

    def test_without_the_capability_it_says_so(self, venue: SmallVenue):
        words = venue._python(
            "import uvloop; from captive.gate.gate import serve_gate; uvloop.run(serve_gate(settings, print))"
        )
        done = venue.box.run(
            "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *words, check=False
        )
        assert "SetupError" in done.stderr
        assert "needs CAP_NET_ADMIN" in done.stderr

    def test_that_capability_is_enough(self, venue: SmallVenue):
        caps = "--bounding-set=-all,+net_admin"
        words = venue._python(
            "import uvloop; from captive.gate.gate import serve_gate;"
            " uvloop.run(serve_gate(settings, lambda: print('open', flush=True)))"
        )
        state = Path(venue.settings.state)
        group = state.stat().st_gid
        process = venue.box.start("setpriv", caps, f"--regid={group}", "--clear-groups", *words)
        try:
            assert process.stdout
            assert process.stdout.readline() == "open\n"
            assert raw(venue.settings.gate.socket, b'{"do":"list","id":1}\n') == [{"id": 1}]
            assert raw(
                venue.settings.gate.socket, f'{{"do":"deny","id":1,"devices":["{DEVICE}"]}}\n'.encode()
            ) == [{"id": 1}]
        finally:
            process.terminate()
            process.communicate(timeout=LONG)


def test_who_hangs_up_while_being_answered_harms_nobody(tmp_path: Path):
    with small_venue(tmp_path / "venue") as venue:
        assert venue.command("box.apply(settings)").returncode == 0
        process = venue.gate()
        asked = "".join(
            f'{{"do":"deny","id":{n},"devices":["guest 02:00:00:00:00:01"]}}\n' for n in range(1, 120)
        )
        for number in range(12):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(venue.settings.gate.socket)
                caller.sendall(asked.encode())
                time.sleep(0.003 * (number % 2))
        assert '"id":1' in speak(venue)
        process.terminate()
        assert process.stdout
        assert "Traceback" not in process.stdout.read()
