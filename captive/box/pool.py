"""How full each network's pool of addresses is: numbers for the metrics, out of dnsmasq's leases.

The leases name devices and are dnsmasq's and root's to read. ``wificrm gateway watch``, which is root, counts
them, and leaves the numbers where the portal's user may read them; in memory, like the leases themselves.
"""

import contextlib
import ipaddress
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from captive.box.dnsmasq import LEASES, pool_of
from crm.settings import Settings

POOLS = "dhcp-pools.json"
MAX_BYTES = 64 * 1024
"""Of the file of numbers; sixteen networks take one."""
STALE = 900.0
"""Seconds after which numbers, counted every five minutes, are of nobody who still counts."""


class Pool(msgspec.Struct, frozen=True):
    """Of one network: how many addresses there are, how many are leased."""

    size: int
    used: int


def count_leases(settings: Settings, lines: Iterable[str]) -> dict[str, Pool]:
    """The pools of all networks by name; *lines* are those of dnsmasq's lease file."""
    leased = list(_addresses(lines))
    return {
        network.name: Pool(
            int(last) - int(first) + (0 if first <= network.net4.ip <= last else 1),
            sum(first <= address <= last for address in leased),
        )
        for network in settings.networks
        for first, last in [pool_of(network)]
    }


def write_pools(settings: Settings) -> None:
    """Count the leases there are and write the numbers down; without dnsmasq's file nothing. Never raises."""
    state = Path(settings.state)
    fresh = state / f"{POOLS}.new"
    with contextlib.suppress(OSError):
        with (state / LEASES).open(encoding="ascii", errors="replace") as lines:
            pools = count_leases(settings, lines)
        fresh.unlink(missing_ok=True)
        with fresh.open("xb") as file:  # nobody's link is followed
            os.fchmod(file.fileno(), 0o644)
            file.write(msgspec.json.encode(pools))
        fresh.replace(state / POOLS)


def read_pools(settings: Settings) -> dict[str, Pool]:
    """What was last written; nothing where it was not, not lately, or cannot be read."""
    try:
        with (Path(settings.state) / POOLS).open("rb") as file:
            if abs(time.time() - os.fstat(file.fileno()).st_mtime) > STALE:
                return {}
            return msgspec.json.decode(file.read(MAX_BYTES), type=dict[str, Pool])
    except (OSError, msgspec.MsgspecError):
        return {}


def _addresses(lines: Iterable[str]) -> Iterator[ipaddress.IPv4Address]:
    """The third word of each line is the address; lines about IPv6 have none here."""
    for line in lines:
        words = line.split()
        if len(words) >= 3:
            with contextlib.suppress(ValueError):
                yield ipaddress.IPv4Address(words[2])
