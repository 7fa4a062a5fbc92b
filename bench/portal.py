"""The real portal on loopback with the demo's open gateway: ``python -m bench.portal PORT FOLDER WAY``.

WAY is how answers are written: ``grouped`` (the product's), ``single`` (the same, one answer a commit) or
``plain`` (a transaction of its own for each request, as web applications mostly do).
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop

from captive.app import running
from captive.demo import HOST, demo_settings
from captive.signals import until_stopped
from crm.engines import make_engine
from crm.log import start_log
from crm.migrate import migrate
from crm.store import BatchWrite, Store, open_store


class PlainStore(Store):
    """One transaction per write."""

    async def write(self, batch: BatchWrite, item: Any, *, within: float | None = None) -> Any:  # noqa: ANN401
        """Begin, write, commit."""
        async with asyncio.timeout(within), self.begin() as conn:
            return (await conn.run_sync(batch, [item]))[0]


WAYS = {
    "grouped": open_store,
    "single": lambda dsn: open_store(dsn, max_batch=1),
    "plain": lambda dsn: PlainStore(make_engine(dsn), make_engine(dsn, readonly=True, pool_size=2), None),
}


async def serve(port: int, folder: Path, way: str) -> None:
    """Serve until stopped."""
    start_log("error")
    settings = demo_settings(port, folder)
    await migrate(settings.store.crm, "crm")
    await migrate(settings.store.access, "captive")
    async with running(settings, host=HOST, open_crm=WAYS[way]):
        await until_stopped()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
