"""A portal on loopback with its gateway open to all: no namespaces, no root, and as many as one likes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.free_ports import free_ports
from tests.lab.gateway import PROJECT, ZONE

VENUE = "KILL-P01"

_SETTINGS = """
state = "{home}/state"
secrets = "{home}/secrets"
[venue]
code = "{venue}"
timezone = "{zone}"
[portal]
port = {port}
[console]
port = {console}
[gate]
gateway = "open"
[store]
crm = "{home}/crm.db"
access = "{home}/access.db"
[log]
level = "debug"
"""


class Portal:
    """``wificrm serve`` with stores in *home*. `start` and `kill9` it as often as you like; `close` it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port, self.console = free_ports(2)
        self.settings = home / "wificrm.toml"
        self.settings.write_text(
            _SETTINGS.format(home=home, venue=VENUE, zone=ZONE.key, port=self.port, console=self.console)
        )
        self._pid = 0
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        command = [sys.executable, "-m", "captive.cli", "migrate", "--config", str(self.settings)]
        subprocess.run(command, check=True, capture_output=True, cwd=PROJECT)

    @property
    def log(self) -> str:
        """What it said so far."""
        path = self.home / "log"
        return path.read_text() if path.exists() else ""

    def peak_memory(self) -> int:
        """The most memory it has held so far, in KiB."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def start(self, timeout: float = 90) -> None:
        """Start it; returns when it takes calls."""
        assert self._zygote.stdin
        assert self._zygote.stdout
        self._zygote.stdin.write(f"{self.settings} {self.home / 'log'}\n")
        self._zygote.stdin.flush()
        self._pid = int(self._zygote.stdout.readline())
        until = time.monotonic() + timeout
        while not (_answers(self.port) and _answers(self.console)):
            if time.monotonic() > until or not Path(f"/proc/{self._pid}").exists():
                raise RuntimeError(f"the portal does not start: {self.log[-2000:]}")
            time.sleep(0.005)

    def kill9(self) -> None:
        """End it as a power cut does; returns when it is gone. Raises ProcessLookupError when it has ended."""
        pid, self._pid = self._pid, 0  # by now the number may be another's
        if not pid:
            raise ProcessLookupError
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.001)

    def close(self) -> None:
        """End whatever runs."""
        with contextlib.suppress(ProcessLookupError):
            self.kill9()
        assert self._zygote.stdin
        assert self._zygote.stdout
        self._zygote.stdin.close()
        self._zygote.wait(60)
        self._zygote.stdout.close()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
