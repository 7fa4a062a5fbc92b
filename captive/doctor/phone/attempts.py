"""What becomes of a connection, a datagram, a ping: opened, refused at once, or lost in silence."""

import errno
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Literal

from captive.doctor.phone.resolving import MakeSocket

Fate = Literal["open", "reset", "refused", "silent", "no way"]
"""*reset*: by TCP; *refused*: by ICMP; *no way*: the phone itself has no route there."""

TCP_SECONDS, UDP_SECONDS = 2.0, 0.7
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_RESET = {errno.ECONNREFUSED, errno.ECONNRESET}
QUIC_HELLO = (b"\xc0\x1a\x2a\x3a\x4a\x08" + bytes(8) + b"\x08" + bytes(8)).ljust(1200, b"\0")
"""A first packet of a QUIC version that is reserved so that every server answers which it knows (RFC 9000, 15)."""


def tcp(make: MakeSocket, target: str, port: int, *, timeout: float = TCP_SECONDS) -> Fate:
    """How a connection to *target* fares."""
    try:
        with _open(make, target, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect((target, port))
    except TimeoutError:
        return "silent"
    except OSError as error:
        return _fate(error)
    return "open"


def any_open(make: MakeSocket, targets: Sequence[str], port: int, *, timeout: float = TCP_SECONDS) -> bool:
    """Whether one of *targets* takes a connection; the first that does is enough."""
    with ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for target in targets:
            try:
                sock = stack.enter_context(_open(make, target, socket.SOCK_STREAM))
            except OSError:  # a kernel without that family
                continue
            sock.setblocking(False)
            if sock.connect_ex((target, port)) in (0, errno.EINPROGRESS):
                waiting.register(sock, selectors.EVENT_WRITE, sock)
        until = time.monotonic() + timeout
        while waiting.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                if not key.data.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return True
                waiting.unregister(key.data)
    return False


def udp(
    make: MakeSocket, target: str, port: int, data: bytes = QUIC_HELLO, *, timeout: float = UDP_SECONDS
) -> Fate:
    """How a datagram fares; *open*: it was answered."""
    return _send(make, target, port, data, timeout, 0)


def ping(make: MakeSocket, target: str, *, timeout: float = UDP_SECONDS) -> Fate:
    """How an ICMP echo fares."""
    six = ":" in target
    echo = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 0, 1) + b"doctor"
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    return _send(make, target, 0, echo, timeout, protocol)


def _send(make: MakeSocket, target: str, port: int, data: bytes, timeout: float, protocol: int) -> Fate:
    try:
        with _open(make, target, socket.SOCK_DGRAM, protocol) as sock:
            sock.settimeout(timeout)
            sock.connect((target, port))
            sock.send(data)
            sock.recv(2048)
    except TimeoutError:
        return "silent"
    except OSError as error:
        # A datagram is refused by ICMP whatever the error is called.
        fate = _fate(error)
        return "refused" if fate == "reset" else fate
    return "open"


def _open(make: MakeSocket, target: str, kind: int, protocol: int = 0) -> socket.socket:
    six = ":" in target
    sock = make(socket.AF_INET6 if six else socket.AF_INET, kind, protocol)
    # Told of every ICMP error, soft ones too.
    sock.setsockopt(
        socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, _IPV6_RECVERR if six else _IP_RECVERR, 1
    )
    return sock


def _fate(error: OSError) -> Fate:
    if error.errno in _RESET:
        return "reset"
    return "no way" if error.errno == errno.ENETUNREACH else "refused"
