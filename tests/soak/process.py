"""A process of the product that tells what it holds: the gate as it is.

``python -m tests.soak.process SOCKET COMMAND ...`` goes on as ``wificrm COMMAND ...``; whoever connects to
SOCKET and says ``stock`` is told what the process holds. `tests.soak.portal` adds words for the portal.
"""

import ctypes
import gc
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import captive.gate.gate
from captive.cli import main

Obey = Callable[[list[str]], Any]


def take_stock() -> dict[str, Any]:
    """What this process holds after a full collection; freed memory is given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    objects = gc.get_objects()
    dead = sum(isinstance(each, weakref.ref) and each() is None for each in objects)
    return {
        "rss": int(status["VmRSS"].split()[0]) * 1024,
        "most": int(status["VmHWM"].split()[0]) * 1024,
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208 - one of them is this look
        "threads": threading.active_count(),
        "objects": len(objects) - dead,
        "dead references": dead,
    }


def go_on(place: str, arguments: list[str], obey: Obey) -> None:
    """Answer at *place* with what *obey* makes of the words; never returns from the product's own command."""
    Path(place).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(16)
    threading.Thread(target=_answer_for_ever, args=(listener, obey), daemon=True).start()
    main(arguments)


def _answer_for_ever(listener: socket.socket, obey: Obey) -> None:
    while True:
        caller, _ = listener.accept()
        with caller:
            try:
                said = obey(caller.recv(200).decode().split())
            except Exception as error:  # the soak tells it on
                said = {"error": repr(error)}
            caller.sendall(msgspec.json.encode(said))


if __name__ == "__main__":
    captive.gate.gate.SWEEP_EVERY = 2.0
    go_on(sys.argv[1], sys.argv[2:], lambda _: take_stock())
