"""From the last post to packets flowing: 50 phones at once, real gate, real kernel, in the venue lab.

Each phone has the last question open. All post at the same moment; the clock of each stops when its first TCP
connection to the Internet is accepted. Needs root on Linux; without it the row says so.
"""

import asyncio
import os
import re
import socket
import statistics
import sys
import time

from bench.table import Row
from tests.lab.crowd import Crowd, Device
from tests.lab.gateway import ADDRESS4, BRIDGE, NAME
from tests.lab.internet import STRAY4
from tests.lab.venue import Venue

PHONES, ROUNDS = 50, 4
TOKEN = re.compile(rb'name="r" value="([^"]{40})"')


def measure() -> list[Row]:
    """The wait of each phone, and what the portal process holds after all of them."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return [Row("last post to packets flowing", "not measured", "needs root on Linux", "-", "50 ms")]
    waits: list[float] = []
    with Venue(tls=False, prefix4=23) as venue:
        crowd = Crowd(
            venue.run, venue.gateway.namespace, BRIDGE, PHONES * ROUNDS, venue.authority.certificate
        )
        try:
            crowd.join()
            for start in range(0, len(crowd.devices), PHONES):
                waits += asyncio.run(_round(crowd.devices[start : start + PHONES]))
            memory = int(venue.gateway.privileges("portal")["VmRSS"].split()[0]) / 1024
        finally:
            crowd.close()
    cuts = statistics.quantiles(waits, n=100)
    return [
        Row(
            f"last post to packets flowing, {PHONES} at once", f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms",
            "50 ms", f"{cuts[98] / 50:.0%}", "p99 under 50 ms",
        ),
        Row("portal process after them", f"{memory:.0f} MiB", "90 MB", f"{memory * 1.048576 / 90:.0%}", "under 90 MB"),
    ]  # fmt: skip


async def _round(devices: list[Device]) -> list[float]:
    tokens = await asyncio.gather(*(_prepare(device) for device in devices))
    ready = asyncio.Barrier(len(devices))
    return await asyncio.gather(*(_last(*pair, ready) for pair in zip(devices, tokens, strict=True)))


async def _prepare(device: Device) -> bytes:
    """Open the page and answer the first question; the token."""
    page = await _ask(await _connect(device, ADDRESS4, 80), b"GET /vi", b"")
    found = TOKEN.search(page)
    assert found is not None
    await _ask(
        await _connect(device, ADDRESS4, 80), b"POST /vi/survey/A0", b"r=" + found.group(1) + b"&value=with"
    )
    return found.group(1)


async def _last(device: Device, token: bytes, ready: asyncio.Barrier) -> float:
    """Send the last answer and connect to the Internet; milliseconds between."""
    portal = await _connect(device, ADDRESS4, 80)
    await ready.wait()
    began = time.perf_counter()
    await _ask(portal, b"POST /vi/survey/A4", b"r=" + token + b"&value=")
    (await _connect(device, STRAY4, 5222)).close()
    return (time.perf_counter() - began) * 1000


async def _connect(device: Device, address: str, port: int) -> socket.socket:
    sock = device.make_socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    sock.setblocking(False)
    await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, (address, port)), 10)
    return sock


async def _ask(sock: socket.socket, line: bytes, form: bytes) -> bytes:
    """One request that closes its connection; the whole answer. Raises RuntimeError on an error page."""
    loop = asyncio.get_running_loop()
    head = (
        f"{line.decode()} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    await loop.sock_sendall(sock, head.encode() + form)
    answer = b""
    while data := await loop.sock_recv(sock, 65536):
        answer += data
    sock.close()
    if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 303")):
        raise RuntimeError(answer[:200])
    return answer


if __name__ == "__main__":
    print(*measure(), sep="\n")
