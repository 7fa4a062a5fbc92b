"""How a long-running command ends."""

import asyncio
import signal


def catch_stop() -> asyncio.Event:
    """From now on SIGTERM and Ctrl-C set the event, also while the command is still starting."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def until_stopped() -> None:
    """Wait for SIGTERM or Ctrl-C."""
    await catch_stop().wait()
