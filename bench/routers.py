"""From a grant to the line that lets the phone through, as its thin router has it; all over TLS.

The push alone: from the order to the signed line, one of a hundred routers. With all before it: twenty routers with ten
phones each, the portal a process of its own; from a phone's last post to the line, page and store included.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
from pathlib import Path

from bench.processes import scratch, wait_for
from bench.table import Row
from captive.certificate import Certificate
from captive.gateway import Terms
from captive.routers.link import RouterLink
from captive.routers.listener import meet_routers
from crm.log import start_log
from crm.settings import Router
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import NAME, Phone, ThinPortal, thin_settings
from tests.lab.certificates import Authority
from tests.lab.thin_client import Heard, ThinRouter

ROUTERS, PHONES = 20, 10
LIMIT = 100
"""Milliseconds within which a grant is to be at its router."""

_SETTINGS = """
secrets = "{secrets}"
[portal]
name = "{name}"
port = {portal.port}
tls_port = {portal.tls_port}
router_port = {portal.router_port}
certificate = "{portal.certificate}"
key = "{portal.key}"
[console]
port = {console}
[metrics]
port = 0
[store]
crm = "{store.crm}"
access = "{store.access}"
[log]
level = "warning"
{routers}
"""


def measure() -> list[Row]:
    """One phone after the other, then ten at once behind different routers."""
    with scratch() as folder:
        authority = Authority(folder / "authority")
        routers = tuple(Router(name=f"hall{number}") for number in range(ROUTERS))
        settings = thin_settings(folder, authority.issue("portal", NAME), routers)
        config = folder / "wificrm.toml"
        config.write_text(
            _SETTINGS.format(
                secrets=settings.secrets,
                name=NAME,
                portal=settings.portal,
                console=settings.console.port,
                store=settings.store,
                routers="".join(f'[[router]]\nname = "{each.name}"\n' for each in routers),
            )
        )
        process = _serve(config)
        try:
            wait_for(settings.portal.router_port)
            alone, crowd = asyncio.run(_measure(ThinPortal(settings, Clock(), authority)))
        finally:
            process.terminate()
            process.wait(10)
        push = asyncio.run(_push(folder, authority))
    return [
        _row("a grant pushed to its router, one of 100", push),
        _row("last post to the grant at its router, one at a time", alone),
        _row(f"last post to the grant at its router, {PHONES} at once", crowd),
    ]


def _serve(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "captive.cli", "serve", "--config", str(config)])


def _row(what: str, waits: list[float]) -> Row:
    cuts = statistics.quantiles(waits, n=100)
    figure = f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms"
    return Row(what, figure, f"{LIMIT} ms", f"{cuts[98] / LIMIT:.0%}", f"p99 under {LIMIT} ms")


async def _push(folder: Path, authority: Authority) -> list[float]:
    """Milliseconds from the order to the signed line at its router; a hundred routers, ten orders each."""
    halls = tuple(Router(name=f"hall{number}") for number in range(100))
    settings = thin_settings(folder, authority.issue("push", NAME), halls)
    links = {hall.name: RouterLink(hall, NAME) for hall in halls}
    start_log("error")
    waits = []
    async with contextlib.AsyncExitStack() as stack:
        await meet_routers(stack, settings, links, Certificate(settings), "127.0.0.1")
        portal = ThinPortal(settings, Clock(), authority)
        stack.push_async_callback(portal.close)
        routers = [portal.router(hall.name) for hall in halls]
        await asyncio.gather(*(router.connect() for router in routers))
        for number in range(10 * len(routers)):
            router = routers[number % len(routers)]
            mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
            router.reporting = False
            heard = _listen(router, mac)
            began = asyncio.get_running_loop().time()
            telling = asyncio.create_task(links[router.name].allow({f"{router.name} {mac}": Terms(60)}))
            waits.append((await heard - began) * 1000)
            telling.cancel()
    return waits


async def _measure(portal: ThinPortal) -> tuple[list[float], list[float]]:
    routers = [portal.router(router.name) for router in portal.settings.routers]
    try:
        await asyncio.gather(*(router.connect() for router in routers))
        pairs = [(router, portal.phone()) for _ in range(PHONES) for router in routers]
        for router, phone in pairs:
            await phone.get(router.enter_path(phone.mac))
            await phone.get("/vi")
        half = len(pairs) // 2
        alone = [await _pushed(*pair) for pair in pairs[:half]]
        crowd: list[float] = []
        for start in range(half, len(pairs), PHONES):
            crowd += await asyncio.gather(*(_pushed(*pair) for pair in pairs[start : start + PHONES]))
        return alone, crowd
    finally:
        await portal.close()


async def _pushed(router: ThinRouter, phone: Phone) -> float:
    """Milliseconds from the phone's post to the line at its router."""
    heard = _listen(router, phone.mac)
    began = asyncio.get_running_loop().time()
    reply = await phone.post("/vi/skip")
    assert reply.location == "/vi/online", reply.text
    return (await heard - began) * 1000


def _listen(router: ThinRouter, mac: str) -> "asyncio.Future[float]":
    """When the line that lets *mac* through is there."""
    heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def listen(line: Heard) -> None:
        if line.text.startswith("allow") and mac in line.text and not heard.done():
            heard.set_result(line.at)

    router.on_line = listen
    return heard


if __name__ == "__main__":
    print(*measure(), sep="\n")
