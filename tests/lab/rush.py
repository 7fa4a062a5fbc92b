"""A rush: many devices come one after the other within a minute, each from DHCP to the Internet, as phones do.

DISCOVER, REQUEST; the probe's name by DNS, the probe; the portal's page (by its name, over TLS where it has a
certificate), answers or *Skip*; the probe again, which the Internet itself answers.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

from scapy.layers.dns import DNS, DNSQR

from tests.lab import dhcp
from tests.lab.crowd import RADIO, Crowd, Device
from tests.lab.page import Form, Page

PROBE = "http://connectivitycheck.gstatic.com/generate_204"
PATIENCE = 90.0
"""Seconds for each step; a phone would have given up. How long they waited is told, and judged by bench/crowd.py."""
AGAIN = 2.0
"""Seconds after which a question by DHCP or DNS is repeated."""
PLANS: tuple[Mapping[str, str], ...] = ({}, {"A0": "with", "A4": ""}, {"A0": "waiting", "A3": "4", "A4": ""})


@dataclass
class Wait:
    """Seconds that one device waited: for its lease, its first page, and from its last form to the Internet."""

    lease: float = 0.0
    page: float = 0.0
    opened: float = 0.0
    error: str = ""


async def rush(crowd: Crowd, *, within: float, context: ssl.SSLContext) -> list[Wait]:
    """Everybody of *crowd* comes, evenly spread over *within* seconds; how long each waited."""
    leases = _Leases(crowd)
    names: dict[str, str] = {}
    try:
        pause = within / len(crowd.devices)
        visits = [
            _come(device, leases, number * pause, context, names)
            for number, device in enumerate(crowd.devices)
        ]
        return await asyncio.gather(*visits)
    finally:
        await leases.close()


async def _come(
    device: Device, leases: "_Leases", delay: float, context: ssl.SSLContext, names: dict[str, str]
) -> Wait:
    wait, browser = Wait(), _Browser(device, context, names)
    await asyncio.sleep(delay)
    try:
        began = time.monotonic()
        await asyncio.wait_for(leases.get(device), PATIENCE)
        wait.lease = time.monotonic() - began
        await leases.set_up(device)
        began = time.monotonic()
        status, location, _ = await browser.ask(PROBE)
        if status != 302:
            raise RuntimeError(f"the first probe got {status}")
        page = await browser.page(location)
        wait.page = time.monotonic() - began
        plan = PLANS[device.number % len(PLANS)]
        while (form := page.survey) is not None:
            answer = plan.get(form.question)
            sent = form if answer is not None else page.skip
            assert sent is not None
            began = time.monotonic()
            status, location, body = await browser.post(page, sent, answer)
            if status != 303:
                raise RuntimeError(f"a form got {status}: {body[:200]!r}")
            if location.endswith("/online"):
                break
            page = await browser.page(urljoin(page.url, location))
        status, _, _ = await browser.ask(PROBE)
        wait.opened = time.monotonic() - began
        if status != 204:
            raise RuntimeError(f"the last probe got {status}")
    except Exception as error:
        wait.error = f"{type(error).__name__}: {error}"
    return wait


class _Browser:
    def __init__(self, device: Device, context: ssl.SSLContext, names: dict[str, str]) -> None:
        self._device, self._context, self._names = device, context, names

    async def page(self, url: str) -> Page:
        status, location, body = await self.ask(url)
        if status in (302, 303):
            return await self.page(urljoin(url, location))
        if status != 200:
            raise RuntimeError(f"{url}: {status}")
        return Page(url, body.decode())

    async def post(self, page: Page, form: Form, value: str | None) -> tuple[int, str, bytes]:
        fields = dict(form.fields) if value is None else {**form.fields, "value": value}
        return await self.ask(page.address(form.action), urlencode(fields).encode())

    async def ask(self, url: str, form: bytes | None = None) -> tuple[int, str, bytes]:
        """(status, Location, body) of one request on a connection of its own."""
        async with asyncio.timeout(PATIENCE):
            parts = urlsplit(url)
            secure, host = parts.scheme == "https", parts.hostname or ""
            address = await self._resolve(host)
            sock = self._device.make_socket(socket.AF_INET, socket.SOCK_STREAM, 0)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(
                sock, (address, parts.port or (443 if secure else 80))
            )
            tls = {"ssl": self._context, "server_hostname": host} if secure else {}
            reader, writer = await asyncio.open_connection(sock=sock, **tls)  # type: ignore[arg-type]
            method = "GET" if form is None else "POST"
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
                f"Accept-Language: vi\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(form or b'')}\r\n\r\n"
            )
            writer.write(head.encode() + (form or b""))
            answer = await reader.read(-1)
            writer.close()
        head_, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head_.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(status.split()[1]), headers.get("Location", ""), body

    async def _resolve(self, host: str) -> str:
        """The address of *host*, asked by each device for itself."""
        loop = asyncio.get_running_loop()
        number = os.urandom(2)
        if host not in self._names:
            self._names[host] = bytes(DNS(id=0, rd=1, qd=DNSQR(qname=host))).hex()
        question = number + bytes.fromhex(self._names[host])[2:]
        with self._device.make_socket(socket.AF_INET, socket.SOCK_DGRAM, 0) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (self._device.resolver, 53))
            while True:
                await loop.sock_sendall(sock, question)
                try:
                    answer = await asyncio.wait_for(loop.sock_recv(sock, 2048), AGAIN)
                except TimeoutError:
                    continue
                return socket.inet_ntoa(answer[-4:])


class _Leases:
    """DHCP for everybody on one packet socket; addresses are set in batches."""

    def __init__(self, crowd: Crowd) -> None:
        self._namespace = crowd.namespace
        with crowd.namespace.entered():
            self._sock = dhcp.packet_socket(RADIO)
        self._sock.setblocking(False)
        self._base = int.from_bytes(os.urandom(3), "big") << 8
        self._waiting: dict[int, tuple[Device, asyncio.Future[None], bytes]] = {}
        self._coming: list[tuple[Device, dict[int, bytes], asyncio.Future[None]]] = []
        self._requested: set[int] = set()  # whoever takes another offer, too, gives the first one up again
        self._options: dict[str, dict[int, bytes]] = {}
        self._setting_up = asyncio.create_task(self._set_up_all())
        asyncio.get_running_loop().add_reader(self._sock, self._read)

    async def get(self, device: Device) -> None:
        """DISCOVER to ACK."""
        number = self._base + device.number
        frame = _discover(device, number)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (device, done, frame)
        while not done.done():
            self._sock.send(self._waiting[number][2])
            await asyncio.wait([done], timeout=AGAIN)
        del self._waiting[number]

    async def set_up(self, device: Device) -> None:
        """Give *device* what it leased."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coming.append((device, self._options[device.mac], done))
        await done

    async def close(self) -> None:
        self._setting_up.cancel()
        await asyncio.gather(self._setting_up, return_exceptions=True)
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _read(self) -> None:
        got = dhcp.answer(self._sock.recv(2048))
        if got is None or got[0] not in self._waiting:
            return
        number, address, options = got
        device, done, _ = self._waiting[number]
        if options[53] == b"\x02" and number not in self._requested:
            self._requested.add(number)
            server = ("server_id", socket.inet_ntoa(options[54]))
            wanted = ("requested_addr", address)
            frame = dhcp.question(
                device.mac, number, "request", wanted, server, request=(1, 3, 6, 114), flags=""
            )
            self._waiting[number] = (device, done, frame)
            self._sock.send(frame)
        elif options[53] == b"\x06":  # somebody else was quicker to take what was offered to both
            self._requested.discard(number)
            self._waiting[number] = (
                device,
                done,
                _discover(device, number),
            )  # sent after a pause, as phones do
        elif options[53] == b"\x05" and not done.done():
            self._options[device.mac] = {0: address.encode(), **options}
            done.set_result(None)

    async def _set_up_all(self) -> None:
        while True:
            batch, self._coming = self._coming, []
            lines = [line for device, options, _ in batch for line in device.take(options)]
            if lines:
                await asyncio.to_thread(self._namespace.ip, *lines)
            for _, _, done in batch:
                done.set_result(None)
            await asyncio.sleep(0.05)


def _discover(device: Device, number: int) -> bytes:
    return dhcp.question(device.mac, number, "discover", request=(1, 3, 6, 114), flags="")
