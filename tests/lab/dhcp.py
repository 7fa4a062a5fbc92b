"""DHCP by hand: what a device asks for, octet by octet, on a packet socket (RFC 2131)."""

import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

BROADCAST = "ff:ff:ff:ff:ff:ff"
ETH_P_IP = 0x0800


def packet_socket(interface: str) -> socket.socket:
    """A packet socket on *interface* of the namespace that the calling thread is in."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((interface, ETH_P_IP))
    return sock


def question(
    mac: str, number: int, kind: str, *options: tuple[str, Any], request: Sequence[int] = (), flags: str = "B"
) -> bytes:
    """A DISCOVER or REQUEST frame of the device *mac*; *request* is its parameter request list, if any.

    *flags*: ``B`` asks for the answer as a broadcast.
    """
    asked: list[Any] = [("message-type", kind), *options]
    if request:
        asked.append(("param_req_list", list(request)))
    frame = (
        Ether(src=mac, dst=BROADCAST)
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(op=1, chaddr=bytes.fromhex(mac.replace(":", "")), xid=number, flags=flags)
        / DHCP(options=[*asked, "end"])
    )
    return bytes(frame)


def answer(frame: bytes) -> tuple[int, str, dict[int, bytes]] | None:
    """(transaction, offered address, {option code: its octets}) of a server's frame; None if it is none."""
    if len(frame) < 282 or frame[23] != 17 or frame[36:38] != b"\x00\x44":
        return None
    start = 14 + (frame[14] & 15) * 4 + 8
    message = frame[start:]
    options: dict[int, bytes] = {}
    at = 240
    while at + 1 < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        length = message[at + 1]
        options[message[at]] = message[at + 2 : at + 2 + length]
        at += 2 + length
    return int.from_bytes(message[4:8], "big"), socket.inet_ntoa(message[16:20]), options


def exchange(
    sock: socket.socket, mac: str, *, request: Sequence[int] = (), timeout: float = 30
) -> dict[int, bytes]:
    """DISCOVER, OFFER, REQUEST, ACK for *mac*: the options of the ACK; 0 is the leased address as text.

    Raises TimeoutError when no server answers.
    """
    number = int.from_bytes(os.urandom(4), "big")
    _, address, options = _ask(sock, question(mac, number, "discover", request=request), number, 2, timeout)
    confirm = question(
        *(mac, number, "request", ("requested_addr", address)),
        ("server_id", socket.inet_ntoa(options[54])),
        request=request,
    )
    _, address, options = _ask(sock, confirm, number, 5, timeout)
    return {0: address.encode(), **options}


def _ask(
    sock: socket.socket, frame: bytes, number: int, kind: int, timeout: float
) -> tuple[int, str, dict[int, bytes]]:
    until = time.monotonic() + timeout
    again = 0.0
    while (now := time.monotonic()) < until:
        if now >= again:
            sock.send(frame)
            again = now + 1.5
        if select.select([sock], [], [], 0.1)[0]:
            got = answer(sock.recv(2048))
            if got and got[0] == number and got[2].get(53) == bytes([kind]):
                return got
    raise TimeoutError("no DHCP server answers")
