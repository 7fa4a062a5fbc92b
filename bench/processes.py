"""Servers that a measurement starts for itself, each a process of its own on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.free_ports import free_port


@contextlib.contextmanager
def started(module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """Run ``python -m module PORT arguments``; yields (port, process id) once it accepts connections."""
    port = free_port()
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # as wificrm.service has it
    process = subprocess.Popen([sys.executable, "-m", module, str(port), *arguments], env=environment)
    try:
        wait_for(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk (not in memory: durable writes are what is measured), removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="wificrm-bench-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int, seconds: float = 20) -> None:
    """Wait until something listens on *port* of loopback."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")
