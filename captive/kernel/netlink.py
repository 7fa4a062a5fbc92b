"""Questions to the kernel over netlink, and what it answers: plain messages, built and taken apart by hand."""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Self

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NESTED = 0x8000
HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
AS_GOOD_AS_DONE = (0, errno.ENOENT, errno.ENODEV)
"""What was to be changed may have gone by itself meanwhile."""


def attribute(kind: int, value: bytes, *, nested: bool = False) -> bytes:
    """One attribute, padded as the kernel reads it."""
    head = ATTRIBUTE.pack(4 + len(value), kind | (NESTED if nested else 0))
    return head + value + b"\0" * (-len(value) % 4)


def attributes(body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each attribute in *body*, from *start* on."""
    while start + 4 <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, start)
        if length < 4:
            return
        yield kind & 0x3FFF, body[start + 4 : start + length]
        start += length + 3 & ~3


class Netlink:
    """One netlink socket for a few questions, used by one thread."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(5)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The bodies of everything the kernel has of that kind."""
        self._socket.send(self._message(kind, NLM_F_DUMP, body))
        while True:
            for number, answer in self._answers():
                if answer is None:
                    return
                if number == self._number:
                    yield answer

    def change(self, kind: int, bodies: list[bytes]) -> None:
        """Send changes of one *kind* in one go. Raises `OSError` when the kernel refuses one."""
        self._socket.send(b"".join(self._message(kind, NLM_F_ACK, body) for body in bodies))
        left = len(bodies)
        while left > 0:
            left -= sum(answer is None for _, answer in self._answers())

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        self._number += 1
        return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._number, 0) + body

    def _answers(self) -> Iterator[tuple[int, bytes | None]]:
        """One read: (number, body); None for the end of a dump and for an acknowledgement."""
        data, start = self._socket.recv(256 * 1024), 0
        while start < len(data):
            length, kind, _, number, _ = HEADER.unpack_from(data, start)
            body = data[start + HEADER.size : start + length]
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                if code not in AS_GOOD_AS_DONE:
                    raise OSError(code, f"netlink: error {code}")
                yield number, None
            else:
                yield number, body
            start += length + 3 & ~3
