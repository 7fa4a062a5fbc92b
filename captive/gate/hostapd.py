"""Has hostapd send a station away, so that its phone joins anew and looks for the portal again.

The control socket speaks datagrams: a command as text, an answer of ``OK`` or ``FAIL`` (hostapd's
``ctrl_iface_unix``). It is reached by root and the group named in ``ctrl_interface_group``.
"""

import socket
import time
from collections.abc import Collection

PATIENCE = 0.5
"""Seconds for one answer; hostapd gives it in less than a millisecond."""
PATIENCE_FOR_ALL = 2.0
"""Seconds for all of one call: a hostapd that hangs must not keep others waiting for theirs."""
MAX_STATUS = 8_192
"""Bytes; hostapd's own limit is half of it."""
UNSPECIFIED_INACTIVITY = 4
"""IEEE 802.11-2020, table 9-49, reason code 4: phones join again by themselves after it."""


def send_away(path: str, macs: Collection[str]) -> int:
    """Deauthenticate *macs* through the control socket at *path*; how many of them hostapd took up.

    Raises `OSError` when no hostapd listens there, or when it takes too long. It takes up stations that are
    not there (any more), too, and answers ``OK``.
    """
    if not macs:
        return 0
    gone = 0
    end = time.monotonic() + PATIENCE_FOR_ALL
    with connect(path) as control:
        for mac in macs:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(macs) - gone} devices stay connected")
            control.send(f"DEAUTHENTICATE {mac} reason={UNSPECIFIED_INACTIVITY}".encode())
            gone += control.recv(64).startswith(b"OK")
    return gone


def ask_state(path: str) -> str:
    """What its radio does: ENABLED when phones can join, else COUNTRY_UPDATE, DFS, DISABLED ... Raises `OSError`."""
    with connect(path) as control:
        control.send(b"STATUS")
        said = control.recv(MAX_STATUS).decode("utf-8", "replace")
    return dict(line.partition("=")[::2] for line in said.splitlines()).get("state", "")


def connect(path: str) -> socket.socket:
    """The control socket at *path*, ready for a command. Raises `OSError`."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        control.settimeout(PATIENCE)
        control.bind("")  # an abstract name of the kernel's choosing: hostapd answers to nobody without one
        control.connect(path)
    except OSError:
        control.close()
        raise
    return control
