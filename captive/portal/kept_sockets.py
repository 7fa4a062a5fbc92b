"""Listening sockets that outlive a restart: who comes meanwhile waits for a second and is not refused.

The service manager keeps them for us and hands them to our successor (``FileDescriptorStoreMax=`` in
systemd.service(5); the messages are those of sd_notify(3), the way back is that of sd_listen_fds(3)). Where nobody
manages us, nothing is kept.
"""

import contextlib
import os
import socket
from collections.abc import Iterable

FIRST = 3
"""The number of the first descriptor that is handed to a service."""


class KeptSockets:
    """The sockets that our predecessor left with the service manager, by name, and those that we leave there."""

    def __init__(self) -> None:
        self._manager = os.environ.get("NOTIFY_SOCKET", "")
        self._left: dict[str, list[socket.socket]] = {}
        if os.environ.pop("LISTEN_PID", "") == str(os.getpid()):
            names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
            for number, name in enumerate(names[: int(os.environ.pop("LISTEN_FDS", "0"))], FIRST):
                os.set_inheritable(number, False)
                self._left.setdefault(name, []).append(socket.socket(fileno=number))

    def take(self, address: str | None, port: int) -> list[socket.socket]:
        """Those that listen on *address* (None: every) and *port* already; [] when there are none."""
        return self._left.pop(_name(address, port), [])

    def keep(self, address: str | None, port: int, descriptors: Iterable[int]) -> None:
        """Leave the listening *descriptors* with the service manager, until the service is stopped for good."""
        self._tell(f"FDSTORE=1\nFDNAME={_name(address, port)}", list(descriptors))

    def forget_rest(self) -> None:
        """Close what nobody took: the settings name other places now."""
        for name, sockets in self._left.items():
            self._tell(f"FDSTOREREMOVE=1\nFDNAME={name}", [])
            for each in sockets:
                each.close()
        self._left.clear()

    def _tell(self, message: str, descriptors: list[int]) -> None:
        if self._manager:
            place = "\0" + self._manager[1:] if self._manager.startswith("@") else self._manager
            # Not kept, they serve all the same.
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.connect(place)
                socket.send_fds(line, [message.encode()], descriptors)


def _name(address: str | None, port: int) -> str:
    return f"{(address or 'every').replace(':', '_')}-{port}"
