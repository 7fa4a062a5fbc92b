"""The portal as the product runs it, but a minute of policy lasts a second, and days pass on command.

``python -m tests.soak.portal SOCKET DAYS LEAK serve ...`` goes on as ``wificrm serve ...`` and answers on
SOCKET, one connection a word: ``stock`` (what the process holds), ``book`` (the grants), ``days N`` (the
wall clock is N days ahead), ``extend DEVICE``. LEAK plants a fault on purpose; ``-`` for none.
"""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import captive.grants.grants
import crm.key_order
from captive.commands import serve
from captive.grants.grants import Grants
from captive.grants.policy import Policy
from captive.portal.door import Door
from crm.store import Store
from tests.soak.process import go_on, take_stock

SPEED = 60
"""Seconds of policy that pass in one second."""
COUNT_EVERY = 1.0
DRIFT = 2

doors: list[Door] = []
stores: list[Store] = []
loops: list[asyncio.AbstractEventLoop] = []
ahead = timedelta(0)


class AheadDatetime(datetime):
    """The wall clock, some days ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.now(tz) + ahead


def hurry() -> None:
    """Compress time in this process: policies by the minute become policies by the second."""
    seconds, extended, is_idle = Policy.seconds, Policy.extended, Policy.is_idle
    running: Any = vars(serve)["running"]

    def hurried(self: Policy, *terms: Any) -> int:
        return max(1, seconds(self, *terms) // SPEED)

    def hurried_longer(self: Policy, mac: str, now: Any, today: Any, left: int) -> int:
        return max(1, extended(self, mac, now, today, left * SPEED) // SPEED)

    def hurried_idle(self: Policy, taken: Any, now: float) -> bool:
        return is_idle(self, taken, taken.quiet_since + (now - taken.quiet_since) * SPEED)

    def run_ahead(settings: Any, **options: Any) -> Any:
        return running(settings, clock=lambda: datetime.now(UTC) + ahead, **options)

    Policy.seconds, Policy.extended = hurried, hurried_longer  # type: ignore[method-assign, assignment]
    Policy.is_idle = hurried_idle  # type: ignore[method-assign]
    captive.grants.grants.COUNT_EVERY, captive.grants.grants.DRIFT = COUNT_EVERY, DRIFT
    vars(crm.key_order)["datetime"] = AheadDatetime
    vars(serve)["running"] = run_ahead


def remember() -> None:
    """Keep what is made at hand, so that it can be looked into."""
    make_door, make_store = Door.__init__, Store.__init__

    def made_door(self: Door, *args: Any, **options: Any) -> None:
        make_door(self, *args, **options)
        doors.append(self)
        loops.append(asyncio.get_running_loop())

    def made_store(self: Store, *args: Any, **options: Any) -> None:
        make_store(self, *args, **options)
        stores.append(self)

    Door.__init__, Store.__init__ = made_door, made_store  # type: ignore[method-assign]


def plant(leak: str) -> None:
    """A fault that the soak must find."""
    end = Grants._end
    kept: list[Any] = []

    async def end_and_keep(self: Grants, devices: Any, why: Any, **options: Any) -> None:
        kept.extend([[device], [device]] for device in devices)
        await end(self, devices, why, **options)

    async def keep_visits(self: Door, today: Any) -> None:
        visits = dict(self._visits)
        await start_day(self, today)
        self._visits.update(visits)

    start_day = Door.start_day
    if leak == "some":
        Grants._end = end_and_keep  # type: ignore[method-assign]
        Door.start_day = keep_visits  # type: ignore[method-assign]


def take_portal_stock() -> dict[str, Any]:
    """What the portal holds, its books included."""
    stock = take_stock()
    if doors:
        door, loop = doors[-1], loops[-1]
        stock["tasks"] = len(asyncio.all_tasks(loop))
        stock["day"] = str(door._today)
        marks = door.grants._marks
        held = (door, door._neighbours, door.grants, marks, marks.day)
        stock["books"] = {
            **{name: size for each in held for name, size in _sizes(each)},
            "waiting": sum(store.waiting for store in stores),
            **asyncio.run_coroutine_threadsafe(_noted(), loop).result(30),
        }
    return stock


def _sizes(thing: Any) -> Iterator[tuple[str, int]]:
    """(name, length) of everything that *thing* keeps several of."""
    names = getattr(thing, "__struct_fields__", None) or vars(thing)
    for name in names:
        value = getattr(thing, name)
        if isinstance(value, dict | set | list):
            yield f"{type(thing).__name__}.{name.lstrip('_')}", len(value)


async def _noted() -> dict[str, int]:
    """Rows that the stores' key order has noted, by table."""
    found: dict[str, int] = {}
    for store in stores:
        batches = store._batches
        if batches is None or not store._watching:
            continue
        async with store._lock:
            found |= await asyncio.get_running_loop().run_in_executor(store._thread, _count_noted, store)
    return found


def _count_noted(store: Store) -> dict[str, int]:
    assert store._batches
    with store._batches.connect() as conn:
        return {
            f"noted {table.name}": conn.exec_driver_sql(
                f'SELECT count(*) FROM temp."written_{table.name}"'
            ).scalar_one()
            for table in store._order._tables
            if table.name in ("grant", "asked", "usage", "response")
        }


def obey(words: list[str]) -> Any:
    """Do what one connection asks for."""
    global ahead
    if words[0] == "days":
        ahead = timedelta(days=int(words[1]))
        return None
    if words[0] == "stock":
        return take_portal_stock()
    grants, loop = doors[-1].grants, loops[-1]
    if words[0] == "extend":
        return asyncio.run_coroutine_threadsafe(grants.extend(" ".join(words[1:])), loop).result(10)
    now = loop.time()
    return {device: each.ends - now for device, each in list(grants._held.items())}


if __name__ == "__main__":
    place, days, fault, *arguments = sys.argv[1:]
    ahead = timedelta(days=int(days))
    hurry()
    remember()
    plant(fault)
    go_on(place, arguments, obey)
