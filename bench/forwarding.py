"""What ten thousand allowed devices cost: the speed of forwarding beside one, and one device more.

iperf3 through the box's own tables in the venue lab. The two cases take turns, so that whatever else this
machine does hits both alike; medians are compared.
"""

import asyncio
import os
import statistics
import sys
import time

from bench.table import Row
from captive.gateway import GateClient, Terms, device_key
from captive.kernel.ruleset import TABLE
from tests.lab.journey import skip
from tests.lab.phone import Phone
from tests.lab.traffic import Traffic
from tests.lab.venue import Venue

DEVICES, ROUNDS, SECONDS = 10_000, 9, 2
MORE = 200
KERNEL_LIMIT_MS = 1.0
DATAGRAMS = ("-u", "-l", "200", "-b", "0", "-t", str(SECONDS))
"""Small packets, as many as go: what costs per packet shows here, not with 64 KiB pieces of TCP."""
BULK = ("-t", str(SECONDS))


def measure() -> list[Row]:
    """Speed with many beside speed with one, and what one more takes."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return [Row("forwarding", "not measured", "needs root on Linux", "-", "95 %")]
    with Venue(tls=False) as venue:
        phone = venue.phone()
        phone.join()
        skip(phone)
        venue.gateway.kill9("portal")  # it would take back what it has not granted
        rows = [
            _speed(venue, phone, "TCP", BULK, down=True),
            _speed(venue, phone, "UDP", DATAGRAMS, down=False),
        ]
        _fill(venue)
        return [*rows, *_one_more(venue)]


def _others() -> list[str]:
    return [f"02:ff:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(DEVICES)]


def _fill(venue: Venue) -> None:
    keys = ", ".join(f"{mac} timeout 1h" for mac in _others())
    counted = ", ".join(_others())
    venue.gateway.namespace.run(
        "nft", "-f", "-",
        text=f"add element inet {TABLE} allowed_guest {{ {keys} }}\n"
        f"add element inet {TABLE} up_guest {{ {counted} }}\n"
        f"add element netdev {TABLE} down_guest {{ {counted} }}\n",
    )  # fmt: skip


def _empty(venue: Venue) -> None:
    keys = ", ".join(_others())
    sets = (("inet", "allowed_guest"), ("inet", "up_guest"), ("netdev", "down_guest"))
    text = "".join(f"delete element {family} {TABLE} {name} {{ {keys} }}\n" for family, name in sets)
    venue.gateway.namespace.run("nft", "-f", "-", text=text)


def _speed(venue: Venue, phone: Phone, kind: str, options: tuple[str, ...], *, down: bool) -> Row:
    traffic, way = Traffic(venue), ("-R",) if down else ()
    alone, among = [], []
    for _ in range(ROUNDS):
        alone.append(traffic.run(phone.namespace, *options, *way).kbit / 1000)
        _fill(venue)
        among.append(traffic.run(phone.namespace, *options, *way).kbit / 1000)
        _empty(venue)
    one, many = statistics.median(alone), statistics.median(among)
    name = f"forwarding, {DEVICES:,} devices allowed, {kind} {'down' if down else 'up'}"
    return Row(name, f"{many:,.0f} Mbit/s", f"one device {one:,.0f} Mbit/s", f"{many / one:.1%}", "95 %")


def _one_more(venue: Venue) -> list[Row]:
    return asyncio.run(_ask(str(venue.gateway.home / "gate/gate.sock")))


async def _ask(path: str) -> list[Row]:
    """One device after the other through the gate's socket, then as many in one call."""
    gate = GateClient(path)
    devices = [device_key("guest", f"02:fe:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(2 * MORE)]
    each = []
    try:
        for device in devices[:MORE]:
            began = time.perf_counter()
            await gate.allow({device: Terms(600)})
            each.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        await gate.allow(dict.fromkeys(devices[MORE:], Terms(600)))
        together = (time.perf_counter() - began) * 1000 / MORE
        began = time.perf_counter()
        await gate.list(counts=True)
        listed = (time.perf_counter() - began) * 1000
    finally:
        await gate.close()
    cuts = statistics.quantiles(each, n=100)
    return [
        Row(
            f"one more device, {DEVICES:,} allowed, through the gate", f"p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms",
            f"{MORE} in one call {together:.2f} ms each", f"{cuts[49] / KERNEL_LIMIT_MS:.0%}", "1 ms",
        ),
        Row(
            f"reading the counts of {DEVICES:,} devices", f"{listed:.0f} ms", "every 10 s",
            f"{listed / 10_000:.0%}", "-",
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    print(*measure(), sep="\n")
