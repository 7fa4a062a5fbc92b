"""What a curious person reads off a disk: where things lie, and in which order they came to lie there."""

import functools
import ipaddress
import itertools
import math
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import NormalDist
from uuid import UUID

PAGE = 4096


def spellings(mac: str, *addresses: str) -> dict[str, bytes]:
    """Every way in which a device's MAC and addresses could stand in a file: {name: octets}."""
    octets = bytes.fromhex(mac.replace(":", ""))
    digits = octets.hex()
    cisco = ".".join(digits[i : i + 4] for i in (0, 4, 8))
    found = {"octets": octets, "reversed octets": octets[::-1]}
    for name, text in (
        ("colons", mac),
        ("dashes", mac.replace(":", "-")),
        ("digits", digits),
        ("dots", cisco),
    ):
        found[name] = text.encode()
        found[f"{name}, upper case"] = text.upper().encode()
    for text in addresses:
        address = ipaddress.ip_address(text)
        found[text] = text.encode()
        found[f"{text} in full"] = address.exploded.encode()
        found[f"{text} packed"] = address.packed
        if address.version == 4:
            # Four octets alone come by chance in any file of some size; as a number in text they do not.
            del found[f"{text} packed"]
            found[f"{text} as a number"] = str(int(address)).encode()
            found[f"{text} as digits"] = address.packed.hex().encode()
    return found


def offsets(data: bytes, response: UUID) -> Iterator[int]:
    """Where *response* stands in *data*, however it is spelled."""
    for needle in (response.bytes, response.hex.encode(), str(response).encode()):
        at = data.find(needle)
        while at >= 0:
            yield at
            at = data.find(needle, at + 1)


def order_tells(data: bytes, arrived: Sequence[UUID], *, within: int = PAGE) -> float:
    """How much the places of responses in *data* tell about the order in which they *arrived*.

    Within each stretch of *within* octets (a page of SQLite; a whole file when 0), places and arrivals are
    compared by Kendall's tau: for all, and for those who came last, whose places nothing has moved yet; all
    stretches together, and each alone, for which the probability is exact. The result is the two-sided probability
    that chance alone would show as much, of the most telling of these: near 0 when the order can be read off.
    """
    lasts = sorted({min(last, len(arrived)) for last in (15, 30, len(arrived))})
    return min(1.0, *(_by_chance(data, arrived[-last:], within) for last in lasts))


def _by_chance(data: bytes, arrived: Sequence[UUID], within: int) -> float:
    stretches: dict[int, dict[int, int]] = {}  # stretch -> {number of arrival: its last place there}
    for number, response in enumerate(arrived):
        for at in offsets(data, response):
            stretches.setdefault(at // within if within else 0, {})[number] = at
    agrees = [
        [0] * len(arrived) for _ in arrived
    ]  # of two arrivals: stretches that have them in order, less those not
    alone = []
    for found in stretches.values():
        numbers = sorted(found)
        pairs = [(i, j) for at, j in enumerate(numbers) for i in numbers[:at]]
        inverted = 0
        for i, j in pairs:
            sign = 1 if found[j] > found[i] else -1
            inverted += sign < 0
            agrees[i][j] += sign
            agrees[j][i] -= sign
        alone.append(_exactly(len(numbers), min(inverted, len(pairs) - inverted)))
    return min(1.0, max(1, len(alone)) * min(alone, default=1.0), _together(agrees))


def _together(agrees: list[list[int]]) -> float:
    """The probability of so much agreement over all stretches, which hold the same responses in the same order.

    Were arrivals shuffled, two pairs would agree by chance alone unless they share a response: by a third then.
    """
    agreement = sum(row[j] for i, row in enumerate(agrees) for j in range(i + 1, len(row)))
    squares = sum(each**2 for row in agrees for each in row)
    variance = squares / 2 + (sum(sum(row) ** 2 for row in agrees) - squares) / 3
    return 2 * NormalDist().cdf(-abs(agreement) / variance**0.5) if variance > 0 else 1.0


@functools.cache
def _exactly(n: int, inversions: int) -> float:
    """The probability that *n* things in random order show at most so many *inversions*, or as few the other way."""
    ways = [1]  # by inversions (Mahonian numbers)
    for more in range(1, n):
        sums = list(itertools.accumulate([*ways, *[0] * more]))
        ways = [each - (sums[at - more - 1] if at > more else 0) for at, each in enumerate(sums)]
    return min(1.0, 2 * sum(ways[: inversions + 1]) / math.factorial(n))


def values_of(path: Path) -> dict[str, set[object]]:
    """{table.column: every value} of a SQLite file."""
    found: dict[str, set[object]] = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = store.execute(f'SELECT * FROM "{table}"')
            for row in cursor:
                for (column, *_), value in zip(cursor.description, row, strict=True):
                    found.setdefault(f"{table}.{column}", set()).add(value)
    return found


def packed_moments(value: object, matches: Callable[[float], bool]) -> bool:
    """Whether *value* is a number that, in seconds or parts of them, is a moment that *matches*."""
    if isinstance(value, bytes) and len(value) == 8:
        value = struct.unpack("<q", value)[0]
    return isinstance(value, int | float) and any(matches(value / unit) for unit in (1, 1e3, 1e6, 1e9))
