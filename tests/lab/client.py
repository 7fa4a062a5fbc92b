"""What any device does on a network: asks for names, for pages, and tries other things."""

import contextlib
import errno
import http.client
import ipaddress
import os
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

from scapy.layers.dns import DNS, DNSQR

IP_RECVERR, IPV6_RECVERR = 11, 25
ORIGIN_ICMP, ORIGIN_ICMP6 = 2, 3
TYPES = {"A": 1, "AAAA": 28}
PATIENCE = 20.0
"""Seconds for whatever is answered as soon as a busy machine comes to it."""
ASK_AGAIN = 1.5
"""Seconds after which a question that was not answered is asked again, as resolvers do."""


class Answer(NamedTuple):
    """An HTTP answer, redirects not followed."""

    url: str
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def location(self) -> str:
        """Where the answer sends the phone, exactly as it stands in the header."""
        return self.headers.get("Location") or ""


class Client(ABC):
    """A device. *context* is what it trusts; whoever inherits says where its sockets are made."""

    def __init__(self, mac: str, context: ssl.SSLContext) -> None:
        self.mac = mac
        self.resolver = ""
        self._context = context

    @abstractmethod
    def make_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket on this device."""

    # -- names ------------------------------------------------------------------------------------

    def resolve(
        self, name: str, kind: str = "A", *, server: str = "", timeout: float = PATIENCE
    ) -> list[str]:
        """Addresses of *name*, asked of *server* or of the leased resolver; [] when there are none."""
        reply = self.ask_dns(name, kind, server=server, timeout=timeout)
        return [str(record.rdata) for record in reply.an or () if record.type == TYPES[kind]]

    def ask_dns(
        self, name: str, kind: str = "A", *, server: str = "", timeout: float = PATIENCE, tcp: bool = False
    ) -> DNS:
        """The whole answer of the resolver. Raises TimeoutError or ConnectionError."""
        server = server or self.resolver
        question = bytes(DNS(id=int.from_bytes(os.urandom(2), "big"), rd=1, qd=DNSQR(qname=name, qtype=kind)))
        with self.open_socket(server, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.connect((server, 53))
            if tcp:
                sock.sendall(struct.pack("!H", len(question)) + question)
                with sock.makefile("rb") as stream:
                    data = stream.read(int.from_bytes(stream.read(2), "big"))
            else:
                data = self._ask_again_and_again(sock, question, time.monotonic() + timeout)
        return DNS(data)

    @staticmethod
    def _ask_again_and_again(sock: socket.socket, question: bytes, until: float) -> bytes:
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(min(left, ASK_AGAIN))
            sock.send(question)
            with contextlib.suppress(TimeoutError):
                return sock.recv(4096)
        raise TimeoutError("the resolver does not answer")

    # -- HTTP -------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        family: int = 4,
        address: str = "",
        timeout: float = PATIENCE,
    ) -> Answer:
        """One request on a connection of its own; the name is asked of the leased resolver unless *address*."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        target = address or self._address_of(host, family)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        with contextlib.closing(connection):
            connection.sock = self.connect(target, port, timeout=timeout)
            if parts.scheme == "https":
                connection.sock = self._context.wrap_socket(connection.sock, server_hostname=host)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            sent = {"Host": parts.netloc, "Accept-Encoding": "identity", **(headers or {})}
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            return Answer(url, reply.status, reply.headers, reply.read())

    def get(self, url: str, **options: object) -> Answer:
        """GET; options as in `request`."""
        return self.request("GET", url, **options)  # type: ignore[arg-type]

    def post(self, url: str, form: Mapping[str, str], **options: object) -> Answer:
        """POST of a form; options as in `request`."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", url, body=urlencode(form).encode(), headers=headers, **options)  # type: ignore[arg-type]

    def follow(self, answer: Answer, *, most: int = 5, **options: object) -> Answer:
        """The answer at the end of *answer*'s redirects, as a browser follows them."""
        for _ in range(most):
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            answer = self.get(urljoin(answer.url, answer.location), **options)
        raise AssertionError(f"more than {most} redirects, the last to {answer.url}")

    def _address_of(self, host: str, family: int) -> str:
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(host))
        found = self.resolve(host, "A" if family == 4 else "AAAA")
        if not found:
            raise OSError(f"{host} has no IPv{family} address")
        return found[0]

    # -- anything else ----------------------------------------------------------------------------

    def open_socket(self, target: str, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of *target*'s family in the phone, which keeps ICMP errors to be read."""
        if ":" in target:
            sock = self.make_socket(socket.AF_INET6, kind, protocol)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            sock = self.make_socket(socket.AF_INET, kind, protocol)
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        return sock

    def connect(self, target: str, port: int, *, timeout: float = PATIENCE) -> socket.socket:
        """A TCP connection from the phone."""
        sock = self.open_socket(target, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect((target, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def tcp(self, target: str, port: int, *, timeout: float = PATIENCE) -> str:
        """How a connection ends: ``open``, ``reset``, ``icmp TYPE/CODE`` or ``timeout``."""
        with self.open_socket(target, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            try:
                sock.connect((target, port))
            except TimeoutError:
                return _icmp_error(sock) or "timeout"
            except OSError as error:
                named = {errno.ECONNREFUSED: "reset", errno.ECONNRESET: "reset"}
                return _icmp_error(sock) or named.get(error.errno or 0, str(error))
            return "open"

    def udp(self, target: str, port: int, *, data: bytes = b"?", timeout: float = PATIENCE) -> str:
        """How a datagram fares: ``answer``, ``icmp TYPE/CODE`` or ``timeout``."""
        with self.open_socket(target, socket.SOCK_DGRAM) as sock:
            return _send_and_wait(sock, (target, port), data, timeout)

    def ping(self, target: str, *, timeout: float = PATIENCE) -> str:
        """How an ICMP echo request fares: as `udp`."""
        six = ":" in target
        echo = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 0, 1) + b"lab"
        with self.open_socket(
            target, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        ) as sock:
            return _send_and_wait(sock, (target, 0), echo, timeout)

    def flow(self, target: str, port: int = 5222) -> "Flow":
        """A long TCP connection to an echo server that says something all the time."""
        return Flow(self.connect(target, port))


class Flow:
    """Sends a byte every 50 ms and reads echoes in a thread, until the connection dies or it is closed.

    It goes on sending while an echo is late: who waits for one that was lost at the end of a grant is told nothing.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.echoes = 0
        self.end = ""  # "" while it lives; then "reset", "closed", "silent" (no echo for `PATIENCE`) or an error's name
        self.ended = 0.0  # monotonic time of the end
        sock.setblocking(False)
        self._sock = sock
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether echoes still come."""
        return not self.end

    def grows(self, timeout: float = PATIENCE) -> bool:
        """Whether a new echo comes within *timeout* seconds."""
        before, until = self.echoes, time.monotonic() + timeout
        while self.echoes == before and self.alive and time.monotonic() < until:
            time.sleep(0.02)
        return self.echoes > before

    def wait(self, timeout: float) -> str:
        """How it ended, at the latest after *timeout* seconds; empty when it still lives."""
        self._thread.join(timeout)
        return self.end

    def close(self) -> None:
        """Hang up."""
        self._closing.set()
        self._thread.join()
        self._sock.close()

    def _talk(self) -> None:
        end, heard = "closed", time.monotonic()
        try:
            while not self._closing.wait(0.05):
                with contextlib.suppress(BlockingIOError):
                    self._sock.send(b".")
                with contextlib.suppress(BlockingIOError):
                    if not (echoes := self._sock.recv(4096)):
                        break
                    self.echoes, heard = self.echoes + len(echoes), time.monotonic()
                if time.monotonic() - heard > PATIENCE:
                    end = "silent"
                    break
        except ConnectionResetError:
            end = "reset"
        except OSError as error:
            end = errno.errorcode.get(error.errno or 0, str(error))
        self.end, self.ended = end, time.monotonic()


def _send_and_wait(sock: socket.socket, target: tuple[str, int], data: bytes, timeout: float) -> str:
    sock.settimeout(timeout)
    try:
        sock.connect(target)
        sock.send(data)
        sock.recv(2048)
    except TimeoutError:
        return _icmp_error(sock) or "timeout"
    except OSError as error:
        return _icmp_error(sock) or errno.errorcode.get(error.errno or 0, str(error))
    return "answer"


def _icmp_error(sock: socket.socket) -> str:
    """``icmp TYPE/CODE`` of the error that waits on *sock*, if one does (ip(7), sock_extended_err)."""
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        for _, kind, data in ancillary:
            if kind in (IP_RECVERR, IPV6_RECVERR):
                _, origin, icmp_type, code = struct.unpack_from("=IBBB", data)
                if origin in (ORIGIN_ICMP, ORIGIN_ICMP6):
                    return f"icmp {icmp_type}/{code}"
    return ""
