"""A thousand devices join within a minute, each from DHCP to the Internet: how long they wait.

Real dnsmasq, portal, gate and kernel in the venue lab, over TLS; devices and servers share this machine's cores.
"""

import asyncio
import os
import ssl
import sys
import time

from bench.table import Row
from tests.lab.crowd import Crowd
from tests.lab.gateway import BRIDGE
from tests.lab.rush import Wait, rush
from tests.lab.venue import Venue

DEVICES, WITHIN = 1_000, 45.0
STEPS = {
    "lease": "DISCOVER to lease",
    "page": "probe to first page",
    "opened": "last form to the Internet's answer",
}


def measure() -> list[Row]:
    """What each waited, and how many came through."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return [Row(f"{DEVICES:,} devices join", "not measured", "needs root on Linux", "-", "60 s")]
    with Venue(prefix4=21) as venue:
        crowd = Crowd(venue.run, venue.gateway.namespace, BRIDGE, DEVICES, venue.authority.certificate)
        try:
            context = ssl.create_default_context(cafile=venue.authority.certificate)
            began = time.monotonic()
            waits = asyncio.run(rush(crowd, within=WITHIN, context=context))
            seconds = time.monotonic() - began
            memory = int(venue.gateway.privileges("portal")["VmRSS"].split()[0]) / 1024
        finally:
            crowd.close()
    online = sum(not wait.error for wait in waits)
    return [
        Row(
            f"{DEVICES:,} devices join", f"{online:,} online after {seconds:.0f} s", "60 s",
            f"{seconds / 60:.0%}", "all online within 60 s",
        ),
        *(Row(f"  {what}", _spread(waits, step), "-", "-", "-") for step, what in STEPS.items()),
        Row("  portal process after them", f"{memory:.0f} MiB", "-", "-", "-"),
    ]  # fmt: skip


def _spread(waits: list[Wait], step: str) -> str:
    each = sorted(getattr(wait, step) * 1000 for wait in waits if not wait.error)
    return f"p50 {each[len(each) // 2]:.0f} ms, p99 {each[len(each) * 99 // 100]:.0f} ms"


if __name__ == "__main__":
    print(*measure(), sep="\n")
