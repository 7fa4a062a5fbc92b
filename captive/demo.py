"""A whole centre on loopback, without root: embedded stores, synthetic answers, a browser as the phone."""

import base64
from pathlib import Path
from zoneinfo import ZoneInfo

from tqdm import tqdm

from campaigns.samples import insert_samples
from captive.app import running, utc_now
from captive.signals import catch_stop
from crm.errors import SetupError
from crm.log import start_log
from crm.migrate import migrate
from crm.settings import (
    ConnectionLogSection,
    Console,
    Gate,
    Metrics,
    Network,
    Portal,
    Settings,
    StoreSection,
    Venue,
    secret,
)
from crm.staff import Passwords, insert_staff, select_staff_by_name
from crm.store import Store, open_store
from crm.times import local_moment
from crm.venues import save_venue
from surveys.synthetic import fill

ACCOUNT = "demo"
HOST = "127.0.0.1"
PUBLIC_SERVICES = ("dichvucong.gov.vn", "dichvucong.bocongan.gov.vn", "dichvucong.baohiemxahoi.gov.vn")


def demo_settings(port: int, data: Path) -> Settings:
    """Settings for the demo: everybody who asks is online, everything listens on loopback."""
    return Settings(
        venue=Venue(),
        networks=(Network(interface="loopback", walled_garden=PUBLIC_SERVICES),),
        portal=Portal(port=port),
        console=Console(address=HOST, port=port + 1),
        gate=Gate(gateway="open"),
        metrics=Metrics(port=0),
        store=StoreSection(crm=str(data / "crm.db"), access=str(data / "access.db")),
        connection_log=ConnectionLogSection(path=str(data / "connections.db")),
        secrets=str(data / "secrets"),
    )


async def run_demo(port: int, data: Path) -> int:
    """Make what is missing in *data*, serve on *port* and *port* + 1, run until stopped."""
    stop = catch_stop()
    start_log("warning")
    settings = demo_settings(port, data)
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{data}: cannot be made: {error.strerror}; name another folder with --data"
        ) from None
    await migrate(settings.store.crm, "crm")
    await migrate(settings.store.access, "captive")
    password = await _fill(settings)
    async with running(settings, host=HOST, demo=True):
        print(
            f"\n  Guest portal   http://{HOST}:{port}/\n"
            f"  Staff pages    http://{HOST}:{port + 1}/   name: {ACCOUNT}   password: {password}\n\n"
            "  A browser on this machine plays the phone. What a phone's probe meets:\n"
            f"    curl -i -H 'Host: captive.apple.com' http://{HOST}:{port}/hotspot-detect.html\n\n"
            "  All names and answers are made up (marked as synthetic in every report). Ctrl-C stops.\n",
            flush=True,
        )
        await stop.wait()
    return 0


async def _fill(settings: Settings) -> str:
    """Venues, a year of synthetic answers, announcements and the demo account; returns its password."""
    store = open_store(settings.store.crm)
    today = local_moment(utc_now(), ZoneInfo(settings.venue.timezone)).day
    try:
        async with store.begin() as conn:
            await save_venue(conn, settings.venue)
        with tqdm(desc="  A year of synthetic answers", unit=" days", leave=False, delay=0.5) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            await fill(store, today, progress=progress)
        await insert_samples(store, settings.venue.code, today)
        return await _account(store, settings)
    finally:
        await store.close()


async def _account(store: Store, settings: Settings) -> str:
    """Make the demo's account if it is missing; returns its password, which stays the same for a folder."""
    password = base64.urlsafe_b64encode(secret(settings, "demo-account"))[:12].decode()
    async with store.begin() as conn:
        if await select_staff_by_name(conn, ACCOUNT) is None:
            await insert_staff(conn, ACCOUNT, await Passwords().hash(password), "manager", None)
    return password
