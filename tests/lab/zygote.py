"""Starts ``wificrm serve`` again and again without importing it again and again.

Reads lines ``CONFIG LOG`` on standard input; for each it forks a process that goes on as ``wificrm serve
--config CONFIG`` with its words in LOG, and says its pid. Ends when its input ends.
"""

import ctypes
import os
import signal
import sys

import captive.commands.serve
from captive.cli import main

assert captive.commands.serve

PR_SET_PDEATHSIG = 1


def become_the_portal(config: str, log: str) -> None:
    """Never returns; does not outlive whoever started it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    main(["serve", "--config", config])


signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who was killed is not waited for
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        become_the_portal(*line.split())
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()
