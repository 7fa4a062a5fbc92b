"""Stores, gate, box and the listener itself: what is told of them, what is rounded away, what nobody may do."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import Connection

import captive.app
from captive.box.pool import POOLS, Pool
from captive.certificate import Verdict
from captive.gateway import GatewayError, OpenGateway, Terms
from captive.metrics import disk, figures, listener, readiness, survey_day
from captive.metrics.catalogue import CATALOGUE
from captive.metrics.disk import ROOM, read_disk
from captive.metrics.readiness import Part
from captive.metrics.sources import Sources
from captive.metrics.timed_gateway import TimedGateway
from crm.pace import Worst
from crm.settings import Backup, Grant, Network, Settings, StoreSection
from crm.store import Store
from tests.captive.metrics.scrapes import Samples, read, value
from tests.captive.portal_app import Clock, Portal, portal_at
from tests.free_ports import free_port
from tests.waiting import LONG, until


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[Sources]:
    """The sources of each portal that starts; each scrape is taken anew."""
    made: list[Sources] = []
    start = listener.start_metrics

    async def started(stack: Any, sources: Sources) -> None:
        made.append(sources)
        await start(stack, sources)

    monkeypatch.setattr(captive.app, "start_metrics", started)
    monkeypatch.setattr(figures, "FRESH", 0)
    return made


async def scrape(portal: Portal) -> Samples:
    return read((await portal.told()).text)


async def test_health_and_readiness(tmp_path: Path, parts: list[Sources]) -> None:
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        alive = await portal.told("/healthz")
        assert (alive.status, alive.text) == (200, "ok\n")
        ready = await portal.told("/readyz")
        assert (ready.status, ready.text) == (
            200,
            "crm store: ok\naccess store: ok\ngate: ok\nfirst page: ok\n",
        )
        parts[0].crm.failing = True
        ready = await portal.told("/readyz")
        assert ready.status == 503
        assert "crm store: answers cannot be kept" in ready.text
        assert "access store: ok\n" in ready.text
        samples = await scrape(portal)
        assert value(samples, "wificrm_ready", part="crm_store") == 0
        assert value(samples, "wificrm_store_usable", store="crm") == 0
        assert (await portal.told("/healthz")).status == 200


async def test_a_gate_that_does_not_answer_is_told(tmp_path: Path, parts: list[Sources]) -> None:
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        gate = parts[0].gate
        assert gate is not None
        gate.reachable = False
        assert value(await scrape(portal), "wificrm_gate_reachable") == 0
        assert "gate: it does not answer\n" in (await portal.told("/readyz")).text


async def test_the_gateway_is_timed_and_passed_on() -> None:
    class Away(OpenGateway):
        away = False

        async def list(self, *, counts: bool = False) -> Any:
            await asyncio.sleep(0.05)
            if self.away:
                raise GatewayError("away")
            return await super().list(counts=counts)

    inner = Away()
    gate = TimedGateway(inner)
    assert (gate.reachable, gate.round_trip) == (None, None)
    await gate.allow({"guest a": Terms(60)})
    assert set(await gate.list(counts=True)) == {"guest a"}
    assert (gate.reachable, gate.round_trip) == (True, None), "counting takes longer, and is not what is told"
    await gate.list()
    assert gate.round_trip is not None
    assert gate.round_trip >= 0.05
    inner.away = True
    with pytest.raises(GatewayError):
        await gate.list()
    assert not gate.reachable
    await gate.deny(["guest a"])
    assert gate.reachable


@pytest.mark.parametrize(
    ("worst", "told"), [(Worst(0.9, 0.4), (0.0, 0.0)), (Worst(1.5, 3.25), (1.5, 3.25))], ids=str
)
async def test_a_store_is_told_to_be_slow_from_a_second_on_only(
    tmp_path: Path, parts: list[Sources], monkeypatch: pytest.MonkeyPatch, worst: Worst, told: Any
) -> None:
    monkeypatch.setattr(Store, "worst", lambda _: worst)
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        samples = await scrape(portal)
        waited = value(samples, "wificrm_store_wait_seconds", store="crm")
        assert (waited, value(samples, "wificrm_store_commit_seconds", store="crm")) == told


async def test_a_single_write_that_waits_is_not_seen(tmp_path: Path, parts: list[Sources]) -> None:
    def write(_conn: Connection, items: Any) -> list[None]:
        return [None] * len(items)

    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        store = parts[0].crm
        async with store.begin():  # holds the writer
            writes = [asyncio.create_task(store.write(write, n)) for n in range(99)]
            await asyncio.sleep(0.05)
            few = await scrape(portal)
            writes += [asyncio.create_task(store.write(write, n)) for n in range(160)]
            await asyncio.sleep(0.05)
            many = await scrape(portal)
        await asyncio.gather(*writes)
        assert value(few, "wificrm_store_queue_writes", store="crm") == 0
        assert value(many, "wificrm_store_queue_writes", store="crm") in (100, 200)


async def test_what_moves_with_one_connection_is_rounded(tmp_path: Path, parts: list[Sources]) -> None:
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        samples = await scrape(portal)
        assert value(samples, "process_resident_memory_bytes") % 2**20 == 0
        assert value(samples, "process_resident_memory_bytes") > 20 * 2**20
        assert value(samples, "process_cpu_seconds_total") % 1 == 0
        assert value(samples, "process_open_fds") % 100 == 0
        assert value(samples, "process_open_fds") >= 100
        assert value(samples, "wificrm_store_free_bytes", store="access") % ROOM == 0


def test_the_disk_is_read_with_bounds(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = Settings(
        state=str(state),
        store=StoreSection(crm=str(tmp_path / "crm.db"), access=str(tmp_path / "access.db")),
        backup=Backup(folder=str(tmp_path / "backups")),
    )
    found = read_disk(settings)
    assert (found.pools, found.watch, found.backup) == ({}, None, 0.0)
    assert found.set_aside == {"crm": 0, "access": 0}

    folder = tmp_path / "state-watch"
    folder.mkdir()
    told = {"alerts": {"rogue_dhcp": 2, 'x{y="z"}': 1}, "seen": {"rogue_dhcp": 1763790000}, "more": 1}
    (folder / "watch.json").write_text(json.dumps(told))
    (tmp_path / "crm.db.broken-20261120T030000Z").touch()
    backups = tmp_path / "backups"
    backups.mkdir()
    for name, made in (
        ("wificrm-A-2026-11-19.tar.gz", 5_000),
        ("wificrm-A-2026-11-20.tar.gz", 9_000),
        ("wificrm-A-2046-01-01.tar.gz", int(time.time()) + 2 * 86_400),
        ("note", 99_000),
    ):
        (backups / name).touch()
        os.utime(backups / name, (made, made))
    found = read_disk(settings)
    assert found.watch == disk.Watch({"rogue_dhcp": 2}, {"rogue_dhcp": 1763790000}, running=True)
    assert found.backup == 9_000
    assert found.set_aside == {"crm": 1, "access": 0}

    long_ago = time.time() - disk.SIGN_OF_LIFE - 5
    os.utime(folder / "watch.json", (long_ago, long_ago))
    assert (watch := read_disk(settings).watch) is not None
    assert not watch.running

    kinds = {f"kind{number}": 1 for number in range(1_000)}
    (folder / "watch.json").write_text(json.dumps({"alerts": kinds}))
    watch = read_disk(settings).watch
    assert watch is not None
    assert watch.alerts == {}, "nobody else says how many series there are"
    deep = b'{"more":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    endless = b'{"alerts":{"flood":1' + b"0" * 400 + b"}}"
    for octets in (
        b"",
        b"[1]",
        b'{"alerts": {"a": "b"}}',
        b" " * 10**6,
        b'{"alerts":{"\xff":1}}',
        deep,
        endless,
    ):
        (folder / "watch.json").write_bytes(octets)
        assert read_disk(settings).watch is None, octets[:40]


async def test_pools_are_told_in_twentieths(
    tmp_path: Path, parts: list[Sources], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    make = captive.app.running

    def with_state(settings: Settings, **options: Any) -> Any:
        return make(msgspec.structs.replace(settings, state=str(state)), **options)

    monkeypatch.setattr("tests.captive.portal_app.running", with_state)
    pools = {"guest": {"size": 253, "used": 222}, "gone": {"size": 5, "used": 5}}
    (state / POOLS).write_text(json.dumps(pools))
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        samples = await scrape(portal)
        assert value(samples, "wificrm_dhcp_pool_used_ratio", place="guest") == 0.9
        assert value(samples, "wificrm_dhcp_pool_addresses", place="guest") == 253
        assert not any(("place", "gone") in labels for _, labels in samples)


async def test_a_taken_port_keeps_nobody_from_the_portal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with portal_at(tmp_path, Clock(), metrics=taken.getsockname()[1]) as portal:
            assert (await portal.guest().get("/vi")).status == 200
    assert capsys.readouterr().out.count("nobody can ask for metrics") == 1


async def test_without_a_port_nobody_listens(tmp_path: Path, parts: list[Sources]) -> None:
    async with portal_at(tmp_path, Clock()) as portal:
        assert (await portal.guest().get("/metrics")).status == 404
        assert parts[0].settings.metrics.port == 0


async def test_connections_are_bounded_and_nothing_but_get_is_answered(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        port = portal.settings.metrics.port
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(listener.MAX_CONNECTIONS + 5)]
        refused = [
            await asyncio.wait_for(reader.read(1), LONG) for reader, _ in held[listener.MAX_CONNECTIONS :]
        ]
        assert refused == [b""] * 5
        for _, writer in held:
            writer.close()

        async def answered() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                return (await portal.told("/healthz")).status == 200
            return False

        await until(answered)  # once it has noticed that they are gone
        for request in (b"POST /metrics HTTP/1.1", b"GET /vi HTTP/1.1", b"GET /metrics/../vi HTTP/1.1"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.readline()).split()[1] in (b"404", b"405")
            writer.close()


async def test_many_who_ask_cost_no_more_than_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Settings] = []

    def count(settings: Settings) -> Any:
        reads.append(settings)
        return read_disk(settings)

    monkeypatch.setattr(figures, "read_disk", count)
    monkeypatch.setattr(figures, "FRESH", 60.0)
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        pages = await asyncio.gather(*(portal.told() for _ in range(20)))
        assert len({page.text for page in pages}) == 1
        assert len(reads) == 1


async def test_a_disk_or_a_store_that_hangs_holds_up_no_scrape(
    tmp_path: Path, parts: list[Sources], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape that never comes is *the portal is down* to Prometheus, and wakes somebody up."""
    asked: list[str] = []
    healed = threading.Event()

    def hang(settings: Settings) -> disk.Disk:
        asked.append("disk")
        healed.wait(20)
        return read_disk(settings)

    @contextlib.asynccontextmanager
    async def never(_store: Store) -> AsyncIterator[None]:
        asked.append("store")
        await asyncio.sleep(60)
        yield

    monkeypatch.setattr(figures, "read_disk", hang)
    monkeypatch.setattr(figures, "PATIENCE", 0.05)
    monkeypatch.setattr(survey_day, "PATIENCE", 0.05)
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        monkeypatch.setattr(Store, "read", never)
        for _ in range(3):
            samples = await scrape(portal)
            assert value(samples, "wificrm_devices_online", place="guest") == 0
            assert value(samples, "process_open_fds") >= 100
            assert ("wificrm_store_free_bytes", (("store", "crm"),)) not in samples
        assert sorted(asked) == ["disk", "store"], "and takes one thread, one connection"
        healed.set()

        async def told() -> bool:
            return ("wificrm_store_free_bytes", (("store", "crm"),)) in await scrape(portal)

        await until(told)


async def test_an_unset_clock_and_opening_hours_are_told(tmp_path: Path, parts: list[Sources]) -> None:
    clock = Clock()  # a Friday, 10:00
    hours = Grant(opening=("mon-fri 07:30-17:00",))
    networks = (Network(), Network(name="desks", interface="b", address4="127.0.9.1/24", grant=hours))
    async with portal_at(tmp_path, clock, metrics=free_port(), networks=networks) as portal:
        samples = await scrape(portal)
        assert value(samples, "wificrm_clock_sound") == 1
        assert value(samples, "wificrm_place_open", place="guest") == 1
        assert value(samples, "wificrm_place_open", place="desks") == 1
        clock.pass_by(hours=7, minutes=1)
        samples = await scrape(portal)
        assert value(samples, "wificrm_place_open", place="guest") == 1
        assert value(samples, "wificrm_place_open", place="desks") == 0
        clock.pass_by(days=-20_000)
        assert value(await scrape(portal), "wificrm_clock_sound") == 0


async def test_a_clock_that_is_set_does_not_make_the_portal_run_for_years(
    tmp_path: Path, parts: list[Sources]
) -> None:
    """A router without a battery starts with the date of its last file."""
    clock = Clock()
    async with portal_at(tmp_path, clock, metrics=free_port()) as portal:
        started = value(await scrape(portal), "process_start_time_seconds")
        assert value(await scrape(portal), "process_start_time_seconds") == started, "drift is no restart"
        clock.pass_by(days=100)
        moved = value(await scrape(portal), "process_start_time_seconds") - started
        assert 99 * 86_400 < moved <= 100 * 86_400


@dataclass
class Link:
    name: str
    is_live: bool
    report_age: float | None


async def test_a_portal_that_has_everything_tells_every_figure(
    tmp_path: Path, parts: list[Sources], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_all(_settings: Settings) -> disk.Disk:
        found = read_disk(Settings(state=str(tmp_path), store=settings.store, backup=Backup(str(tmp_path))))
        kinds = {"rogue_dhcp": 2, "flood": 1}
        return msgspec.structs.replace(found, pools={"guest": Pool(253, 40)}, watch=disk.Watch(kinds, kinds))

    monkeypatch.setattr(figures, "read_disk", read_all)
    async with portal_at(tmp_path, Clock(), metrics=free_port()) as portal:
        settings = portal.settings
        sources = replace(
            parts[0],
            settings=msgspec.structs.replace(
                settings, portal=msgspec.structs.replace(settings.portal, name="p", certificate="c", key="k")
            ),
            routers=lambda: [Link("hall2", True, 4.0), Link("hall3", False, 99.5), Link("new", False, None)],
        )
        sources.certificate.verdict = Verdict("", 1, 1_800_000_000)
        assert sources.gate is not None
        await sources.gate.list()
        text = await figures.Figures(sources).text()
        samples = read(text)
        told = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in samples}
        assert told == {family.name for family in CATALOGUE}
        assert value(samples, "wificrm_ready", part="certificate") == 1
        assert value(samples, "wificrm_router_connected", router="hall3") == 0
        assert value(samples, "wificrm_router_report_age_seconds", router="hall2") == 0
        assert value(samples, "wificrm_router_report_age_seconds", router="hall3") == 99.5
        assert ("wificrm_router_report_age_seconds", (("router", "new"),)) not in samples
        assert value(samples, "wificrm_watch_alerts_total", kind="rogue_dhcp") == 2
        if shutil.which("promtool"):
            done = subprocess.run(
                ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stdout + done.stderr) == (0, "")
        sources.certificate.verdict = Verdict("expired on 2026-11-01; renew it", 1, 1_700_000_000)
        assert value(read(await figures.Figures(sources).text()), "wificrm_certificate_good") == 0
        assert Part("certificate", "plain http: expired on 2026-11-01; renew it") in readiness.look(sources)
