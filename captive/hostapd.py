"""Has hostapd send a station away, so that its phone joins anew and looks for the portal again.

The control socket speaks datagrams: a command as text, an answer of ``OK`` or ``FAIL`` (hostapd's
``ctrl_iface_unix``). It is reached by root and the group named in ``ctrl_interface_group``.
"""

import socket
from collections.abc import Collection

PATIENCE = 0.5
"""Seconds for each answer; a hostapd that is being restarted must not hold up the gate."""
UNSPECIFIED_INACTIVITY = 4
"""IEEE 802.11-2020, table 9-49, reason code 4: phones join again by themselves after it."""


def send_away(path: str, macs: Collection[str]) -> int:
    """Deauthenticate *macs* through the control socket at *path*; how many of them hostapd knew.

    Raises `OSError` when no hostapd listens there. That a station is not there (any more) is no error.
    """
    if not macs:
        return 0
    gone = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        control.settimeout(PATIENCE)
        control.bind("")  # an abstract name of the kernel's choosing: hostapd answers to nobody without one
        control.connect(path)
        for mac in macs:
            control.send(f"DEAUTHENTICATE {mac} reason={UNSPECIFIED_INACTIVITY}".encode())
            gone += control.recv(64).startswith(b"OK")
    return gone
