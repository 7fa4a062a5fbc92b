"""Listening sockets that the service manager keeps; whether systemd does, tests/router_scripts/test_deb.py tries."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from captive.portal.kept_sockets import KeptSockets

SUCCESSOR = """
import os, sys
from captive.portal.kept_sockets import KeptSockets
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="every-8080", LISTEN_PID=sys.argv[2] or str(os.getpid()))
kept = KeptSockets()
taken = kept.take(None, int(sys.argv[3]))
print([each.getsockname()[1] for each in taken], os.get_inheritable(3))
kept.forget_rest()
"""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Stands in for the service manager's end of the line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield line


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def succeed(listening: socket.socket, *, pid: str = "", port: int = 8080) -> str:
    """What a process makes of *listening*, handed to it as the portal's."""
    done = subprocess.run(
        [sys.executable, "-c", SUCCESSOR, str(listening.fileno()), pid, str(port)],
        pass_fds=[listening.fileno()],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_what_listens_is_left_with_the_manager(manager: socket.socket, listening: socket.socket):
    KeptSockets().keep("fd50::1", 8080, [listening.fileno()])
    message, descriptors, _, _ = socket.recv_fds(manager, 1_024, 4)
    assert message == b"FDSTORE=1\nFDNAME=fd50__1-8080"
    with socket.socket(fileno=descriptors[0]) as same:
        assert same.getsockname() == listening.getsockname()


def test_the_successor_takes_it_over_and_hands_it_to_nobody_else(listening: socket.socket):
    assert succeed(listening) == f"[{listening.getsockname()[1]}] False\n"


def test_what_was_meant_for_another_process_is_left_alone(listening: socket.socket):
    assert succeed(listening, pid="1") == "[] True\n"


def test_a_place_that_the_settings_no_longer_name_is_given_up(
    manager: socket.socket, listening: socket.socket
):
    assert succeed(listening, port=8090) == "[] False\n"
    assert manager.recv(1_024) == b"FDSTOREREMOVE=1\nFDNAME=every-8080"


def test_without_a_manager_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, listening: socket.socket):
    for name in ("NOTIFY_SOCKET", "LISTEN_PID"):
        monkeypatch.delenv(name, raising=False)
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = KeptSockets()
    kept.keep(None, 8080, [listening.fileno()])
    assert kept.take(None, 8080) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert os.environ.get("LISTEN_FDS") is None
