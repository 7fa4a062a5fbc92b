"""``python -m tests.soak [JOINS]``: the long soak, its figures as a table; exit 1 when something is left over."""

# ruff: noqa: T201

import asyncio
import sys
import time

from tests.lab.namespace import missing
from tests.soak.judge import breaches, table
from tests.soak.soak import Soak

ROUNDS = 8
REST = 125.0
"""Seconds in which everything has timed out that times out within two minutes."""


def main() -> int:
    """Soak, print, judge."""
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    joins = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    began = time.monotonic()
    outcome = asyncio.run(Soak(ROUNDS, joins // ROUNDS, rate=150, rest=REST).run(within=3_600))
    print(table(outcome))
    found = breaches(outcome, rest=REST)
    for each in found:
        print(f"BREACH: {each}")
    print(
        f"{time.monotonic() - began:.0f} s; {'nothing is left over' if not found else f'{len(found)} breaches'}"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
