"""Questions to a resolver as a phone asks them: one datagram, asked twice."""

import os
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

MakeSocket = Callable[[int, int, int], socket.socket]
"""Makes a socket of a family, kind and protocol, on whatever machine asks."""
Address = IPv4Address | IPv6Address

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
SILENT, CLOSED = -1, -2
"""In place of a response code: nobody answered; nobody listens."""
TRY_SECONDS = 1.2
MAX_RECORDS = 50


class Reply(NamedTuple):
    """What a resolver said: its response code, and the addresses."""

    code: int
    addresses: tuple[Address, ...] = ()

    @property
    def came(self) -> bool:
        """Whether a resolver answered at all."""
        return self.code >= 0


def resolve(
    make: MakeSocket, server: str, name: str, kind: int = A, *, port: int = 53, tries: int = 2
) -> Reply:
    """Ask *server* for addresses of *name*. Never raises for what a network does."""
    number = int.from_bytes(os.urandom(2), "big")
    question = make_question(number, name, kind)
    try:
        with make(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM, 0) as sock:
            sock.settimeout(TRY_SECONDS)
            sock.connect((server, port))
            for _ in range(tries):
                sock.send(question)
                try:
                    while True:
                        reply = read_reply(sock.recv(4096), number, kind)
                        if reply:
                            return reply
                except TimeoutError:
                    continue
    except OSError:
        return Reply(CLOSED)
    return Reply(SILENT)


def make_question(number: int, name: str, kind: int) -> bytes:
    """The datagram that asks for *name*, recursion desired."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


def read_reply(data: bytes, number: int, kind: int) -> Reply | None:
    """The answer with *number* to a question for *kind*; None when it is another's, or cannot be read."""
    if len(data) < 12:
        return None
    found, flags, questions, answers = struct.unpack_from("!4H", data)
    if found != number or not flags & 0x8000:
        return None
    addresses: list[Address] = []
    try:
        at = 12
        for _ in range(min(questions, MAX_RECORDS)):
            at = _after_name(data, at) + 4
        for _ in range(min(answers, MAX_RECORDS)):
            at = _after_name(data, at)
            record, _, _, length = struct.unpack_from("!HHIH", data, at)
            value = data[at + 10 : at + 10 + length]
            at += 10 + length
            if record == kind == A and len(value) == 4:
                addresses.append(IPv4Address(value))
            elif record == kind == AAAA and len(value) == 16:
                addresses.append(IPv6Address(value))
    except (struct.error, IndexError):
        return None
    return Reply(flags & 15, tuple(addresses))


def _after_name(data: bytes, at: int) -> int:
    while data[at]:
        if data[at] & 0xC0:
            return at + 2
        at += data[at] + 1
    return at + 1
