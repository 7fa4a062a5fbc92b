"""The dnsmasq process of ours: found, started, stopped. It outlives whoever starts it."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from captive.box.dnsmasq import CONFIGURATION, LEASES, PIDFILE
from captive.box.pool import POOLS
from crm.commands_here import to_install
from crm.errors import SetupError
from crm.settings import Settings

WAIT = 20.0
"""Seconds that dnsmasq is given to start, and to stop."""
SOON = 3.0
"""Seconds within which one that cannot start has said why."""
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_program(name: str) -> str | None:
    """Where *name* is installed; a plain user's PATH often leaves out the folders of root."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PLACES}")


def resolver_pid(settings: Settings) -> int | None:
    """The process that runs with our configuration; None when there is none."""
    state = Path(settings.state)
    try:
        pid = int((state / PIDFILE).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if _argument(settings).encode() in command.split(b"\0") else None


def start_resolver(settings: Settings) -> None:
    """Start dnsmasq and return when it answers. Raises `SetupError` with what it said."""
    program = find_program("dnsmasq")
    if not program:
        raise SetupError(f"dnsmasq is not installed: {to_install('dnsmasq-base', 'dnsmasq-full')}")
    (Path(settings.state) / LEASES).touch(mode=0o600)  # dnsmasq would let everybody read who is here
    command = [program, _argument(settings)]
    nothing = [(os.POSIX_SPAWN_OPEN, end, os.devnull, os.O_RDWR, 0) for end in (0, 1, 2)]
    # In a session of its own: it lives on when whoever ran us has gone.
    pid = os.posix_spawn(program, command, os.environ, file_actions=nothing, setsid=True)
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        if resolver_pid(settings) == pid:
            return
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            break
        time.sleep(0.02)
    raise SetupError(f"dnsmasq does not start: {_why(command)}")


def stop_resolver(settings: Settings) -> None:
    """Stop dnsmasq, if it runs, also one whose pid file is lost. Its leases stay for the next, or `forget_leases`."""
    for pid in _processes(settings):
        _end(pid)
    (Path(settings.state) / PIDFILE).unlink(missing_ok=True)


def forget_leases(settings: Settings) -> None:
    """Take away the file that says which device has which address, and the numbers out of it."""
    for name in (LEASES, POOLS):
        (Path(settings.state) / name).unlink(missing_ok=True)


def _argument(settings: Settings) -> str:
    return f"--conf-file={Path(settings.state) / CONFIGURATION}"


def _processes(settings: Settings) -> Iterator[int]:
    """Each process of our dnsmasq; while it answers over TCP it has children, which hold its sockets too."""
    argument = _argument(settings).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if argument in (folder / "cmdline").read_bytes().split(b"\0"):
                yield int(folder.name)


def _end(pid: int) -> None:
    """End it and wait until its sockets are closed: it takes its pid file away before."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:  # it has ended by itself
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], WAIT)[0]:
                return
    finally:
        os.close(handle)


def _why(command: list[str]) -> str:
    """Start it once more where its words are heard; it stops by itself for the reason it stopped before."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)
    except subprocess.TimeoutExpired:
        return "it ended without a reason that could be found; try again"
    return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
