"""The process that plays every server of the internet; runs inside its namespace.

Port 80 and 443 answer by host name as the real ones do; every other TCP port echoes, and so does every
other UDP port (the namespace redirects them to port 7). What is asked over HTTP goes to a file, one JSON
object a line: {"host", "path", "from", "tls"}.

Usage: servers CERTIFICATE KEY SEEN READY
"""

import asyncio
import socket
import ssl
import sys
from pathlib import Path
from typing import cast

import msgspec
from aiohttp import web

from tests.lab.probes import PROBES

PAGES = {probe.url.removeprefix("http://"): (probe.status, probe.body) for probe in PROBES}
SEEN: web.AppKey[Path] = web.AppKey("SEEN")


async def answer(request: web.Request) -> web.Response:
    """What the real server of that name would say."""
    await request.read()
    transport = request.transport
    entry = {
        "host": request.host,
        "path": request.path_qs,
        "from": request.remote,
        "tls": bool(transport and transport.get_extra_info("ssl_object")),
    }
    with request.app[SEEN].open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")
    if request.path in ("/generate_204", "/gen_204"):
        return web.Response(status=204)
    status, body = PAGES.get(request.host + request.path, (200, ""))
    headers = {"X-NetworkManager-Status": "online"} if "ubuntu" in request.host else {}
    if status == 302:
        headers["Location"] = "http://go.microsoft.com/fwlink/"
    if not body and status == 200:
        body = f"<!doctype html><title>{request.host}</title><h1>You reached {request.host}</h1>"
    return web.Response(status=status, text=body or None, content_type="text/html", headers=headers)


class UdpEcho(asyncio.DatagramProtocol):
    """Sends every datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


def udp_socket(host: str) -> socket.socket:
    """A UDP socket on port 7 of every address of *host*'s family, and of no other."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((host, 7))
    return sock


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back whatever comes, until it ends."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(certificate: str, key: str, seen: str, ready: str) -> None:
    """Serve until killed; make the file *ready* once everything listens."""
    app = web.Application()
    app[SEEN] = Path(seen)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    servers = []
    for host in ("0.0.0.0", "::"):
        await web.TCPSite(runner, host, 80).start()
        await web.TCPSite(runner, host, 443, ssl_context=context).start()
        await loop.create_datagram_endpoint(UdpEcho, sock=udp_socket(host))
        servers.append(await asyncio.start_server(echo, host, 7))
    Path(ready).touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
