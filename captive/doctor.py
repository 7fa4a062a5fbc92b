"""What works on this box, line by line, and what to do about the rest."""

import asyncio
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from captive.advertise.advertiser import is_advertised
from captive.box.check import NO_EGRESS, find_problems
from captive.certificate import WARN_DAYS, judge_served
from captive.connections.state import describe
from captive.gateway import GateClient, GatewayError
from captive.kernel.firewall import Firewall
from captive.store_care import sqlite_path
from crm.errors import SetupError
from crm.salvage import kept_aside
from crm.schema import is_current
from crm.settings import Settings
from crm.times import SOUND_CLOCK

LOW_DISK = 200 * 2**20
"""Bytes; below it SQLite may fail to commit within weeks of answers."""


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: *state* is ok, warning or fault; *detail* says what is and what to do."""

    what: str
    state: Literal["ok", "warning", "fault"]
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at the stores, the processes and what they need: certificate, clock, disk."""
    return [
        *[await _store(name, dsn, package) for name, dsn, package in _stores(settings)],
        *_kept_aside(settings),
        *_gateway(settings),
        await _gate(settings),
        await _portal(settings),
        _advertiser(settings),
        _certificate(settings),
        _connection_log(settings),
        _clock(),
        _disk(settings),
    ]


def as_text(findings: list[Finding]) -> str:
    """The findings, one a line."""
    signs = {"ok": "ok     ", "warning": "WARNING", "fault": "FAULT  "}
    return "\n".join(f"{signs[each.state]}  {each.what}: {each.detail}" for each in findings)


def as_json(findings: list[Finding]) -> str:
    """The findings for a machine."""
    return msgspec.json.encode(findings).decode()


def _stores(settings: Settings) -> list[tuple[str, str, str]]:
    return [("crm store", settings.store.crm, "crm"), ("access store", settings.store.access, "captive")]


async def _store(name: str, dsn: str, package: str) -> Finding:
    try:
        if not await is_current(dsn, package):
            return Finding(name, "fault", "not of this program's schema; run: wificrm migrate")
        if "://" not in dsn:
            verdict = await asyncio.to_thread(_integrity, dsn)
            if verdict != "ok":
                return Finding(name, "fault", f"damaged ({verdict}); restore the last backup")
    except (SetupError, OSError) as error:
        return Finding(name, "fault", str(error))
    except sqlite3.DatabaseError as error:
        return Finding(name, "fault", f"{error}; restore the last backup")
    return Finding(name, "ok", "readable, of this program's schema")


def _kept_aside(settings: Settings) -> list[Finding]:
    """Stores that could not be read and were moved out of the way when the portal started."""
    told = {
        "crm store": "answers and staff accounts are in it. Stop the portal, put a backup in the store's place, or "
        "delete the file",
        "access store": "it names devices and is deleted after a week; nobody lost their connection by it",
    }
    return [
        Finding(name, "fault" if package == "crm" else "warning", f"set aside as {aside}: {told[name]}")
        for name, dsn, package in _stores(settings)
        if (path := sqlite_path(dsn))
        for aside in kept_aside(path)
    ]


def _integrity(path: str) -> str:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    finally:
        connection.close()


def _gateway(settings: Settings) -> list[Finding]:
    if settings.gate.gateway == "open":
        return [
            Finding("gateway", "warning", "gate.gateway is open: everybody is online, nothing is enforced")
        ]
    problems = find_problems(settings)
    if problems:
        return [Finding("gateway", "fault", problem) for problem in problems]
    if not Firewall(settings).egress:
        return [Finding("gateway", "warning", f"{NO_EGRESS}: downloads are neither counted nor limited")]
    return [Finding("gateway", "ok", "table and dnsmasq configuration verified by nft and dnsmasq")]


async def _gate(settings: Settings) -> Finding:
    if settings.gate.gateway == "open":
        return Finding("gate", "ok", "not used")
    gate = GateClient(settings.gate.socket)
    try:
        return Finding("gate", "ok", f"answers; {len(await gate.list())} devices are online")
    except GatewayError as error:
        return Finding("gate", "fault", f"{error}; start it: wificrm gate")
    finally:
        await gate.close()


async def _portal(settings: Settings) -> Finding:
    """Ask the portal what a phone asks first."""
    host = settings.own_address
    request = (
        b"GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, settings.portal.port)
            writer.write(request)
            answer = await reader.read(2048)
            writer.close()
    except (OSError, TimeoutError) as error:
        return Finding(
            "portal", "fault", f"no answer on {host}:{settings.portal.port} ({error}); wificrm serve"
        )
    if not answer.startswith(b"HTTP/1.1 302") or b"Location: http" not in answer:
        return Finding(
            "portal", "fault", "a phone's probe is not redirected; is another server on this port?"
        )
    return Finding("portal", "ok", "a phone's probe is redirected to the first page")


def _advertiser(settings: Settings) -> Finding:
    wanted = [network.name for network in settings.networks if network.net6]
    if not wanted or settings.gate.gateway == "open":
        return Finding("router advertisements", "ok", "not used")
    if not is_advertised():
        return Finding(
            "router advertisements", "fault", "none: guests get no IPv6; start them: wificrm advertise"
        )
    return Finding("router advertisements", "ok", f"on {', '.join(wanted)}")


def _certificate(settings: Settings) -> Finding:
    if not settings.tls:
        return Finding(
            "certificate", "warning", "none: phones find the portal by redirect only (no RFC 8908 API)"
        )
    verdict = judge_served(settings)
    if verdict.fault:
        return Finding(
            "certificate", "fault", f"{verdict.fault} (until then phones are redirected over plain http)"
        )
    days = verdict.days(datetime.now(UTC).timestamp())
    if days < WARN_DAYS:
        return Finding("certificate", "warning", f"{days} days left; why was it not renewed?")
    if not verdict.public:
        return Finding(
            "certificate",
            "warning",
            f"{days} days left, but no authority that this system knows vouches for it: is the whole chain in "
            "the file? Only phones that know its authority take it",
        )
    return Finding("certificate", "ok", f"{days} days left")


def _connection_log(settings: Settings) -> Finding:
    state, lines = describe(settings)
    return Finding("connection log", state, "; ".join(lines))


def _clock() -> Finding:
    if datetime.now(UTC) < SOUND_CLOCK:
        return Finding("clock", "fault", "shows a time in the past; set up NTP (systemd-timesyncd, chrony)")
    return Finding("clock", "ok", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def _disk(settings: Settings) -> Finding:
    if "://" in settings.store.crm:
        return Finding("disk", "ok", "the store is elsewhere")
    folder = Path(settings.store.crm).parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", "fault", f"{folder}: {error.strerror}")
    return Finding("disk", "fault" if free < LOW_DISK else "ok", f"{free // 2**20} MiB free")
