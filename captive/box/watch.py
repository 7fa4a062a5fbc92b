"""``wificrm gateway watch``: what ``apply`` has started goes on. dnsmasq is looked at every second.

A process of its own, as root: whoever starts dnsmasq needs rights that the gate must not have. It reads
nothing that a guest sends but the leases that dnsmasq has written down, to count them.
"""

import asyncio
import contextlib
import os
import time

import structlog

from captive.box import box
from captive.box.applied import Wish
from captive.box.pool import write_pools
from crm.errors import SetupError
from crm.settings import Settings

log = structlog.get_logger()

LOOK_SECONDS = 1.0
UP_SECONDS = 60.0
"""Between two times that everything is put right, needed or not: the certificate may have changed."""
PAUSE_SECONDS = 3.0
"""After an attempt that failed."""
COUNT_SECONDS = 300.0
"""Between two counts of the leases: rare enough to tell of no single device when it came."""


async def watch(settings: Settings, stop: asyncio.Event) -> None:
    """Put right what is missing, until *stop* or until other settings were applied; what was taken down stays so."""
    wish = Wish(settings)
    due = time.monotonic() + UP_SECONDS
    count_at = 0.0
    failing = False
    while not stop.is_set() and not wish.outdated():
        pause = LOOK_SECONDS
        whole = box.is_whole(settings)
        if not whole or time.monotonic() >= due:
            try:
                await asyncio.to_thread(box.mend, settings)
            except (SetupError, OSError) as error:
                pause = PAUSE_SECONDS
                if not failing:
                    log.error("the gateway cannot be put right; it is tried again", reason=str(error))  # noqa: TRY400
                failing = True
            else:
                due = time.monotonic() + UP_SECONDS
                failing = False
                if not whole:
                    log.warning("dnsmasq or forwarding was off and is on again")
        if time.monotonic() >= count_at:
            write_pools(settings)
            count_at = time.monotonic() + COUNT_SECONDS
        _bury()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)


def _bury() -> None:
    """A dnsmasq that we started and that died is ours to take off the list of processes."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
