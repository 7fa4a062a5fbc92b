"""Ports for servers that tests start: each is given once, below those that the kernel gives to whoever calls out.

Tests that run side by side have ranges of their own: between being found free and being taken a port is nobody's.
Beside another run a port is claimed by an abstract socket of its name, which the kernel takes back with this process.
"""

import contextlib
import os
import random
import socket
from collections.abc import Iterator

FIRST, SHARE, SHARES = 10_000, 2_750, 8


def _candidates() -> Iterator[int]:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SHARES
    start = random.randrange(0, SHARE, 2)
    while True:
        for step in range(0, SHARE, 2):
            yield FIRST + number * SHARE + (start + step) % SHARE


_next = _candidates()


def free_port() -> int:
    """A port that nobody has, nor the next one."""
    while True:
        port = next(_next)
        with socket.socket() as one, socket.socket() as two, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 1))
            _claim(port)
            return port


def _claim(port: int) -> None:
    """For the life of this process. Raises OSError when another has it."""
    with socket.socket(socket.AF_UNIX) as claim:
        claim.bind(f"\0wificrm-test-port-{port}")
        claim.detach()


def free_ports(number: int) -> list[int]:
    """So many of them."""
    return [free_port() for _ in range(number)]
