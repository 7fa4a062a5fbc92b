"""The real portal on loopback with the demo's open gateway: ``python -m bench.portal PORT FOLDER BATCH``."""

import asyncio
import sys
from pathlib import Path

import uvloop

from captive.app import running
from captive.demo import HOST, demo_settings
from captive.signals import until_stopped
from crm.log import start_log
from crm.migrate import migrate


async def serve(port: int, folder: Path, max_batch: int) -> None:
    """Serve until stopped; a commit holds *max_batch* answers at most."""
    start_log("error")
    settings = demo_settings(port, folder)
    await migrate(settings.store.crm, "crm")
    await migrate(settings.store.access, "captive")
    async with running(settings, host=HOST, max_batch=max_batch):
        await until_stopped()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
