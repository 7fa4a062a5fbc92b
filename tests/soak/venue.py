"""The gateway of the soak, the world behind it, and what the kernel and the disk hold of both."""

import asyncio
import contextlib
import functools
import socket
import sqlite3
import struct
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.lab.certificates import Authority
from tests.lab.gateway import BRIDGE, UPLINK, Gateway
from tests.lab.namespace import Namespace, Run
from tests.soak.crowd import ECHO, WORLD4, WORLD6

TERMS = """
idle_minutes = 3
down_mb = 1
total_mb = 20
daily_mb = 500
up_kbit = 20000
down_kbit = 50000
extend_minutes = 2
extensions = 1
"""
LEASE = 4
"""Seconds that a grant lasts: minutes by the settings."""
IDLE = 3
EXTENSION = 2


class HurriedGateway(Gateway):
    """The lab's gateway with portal and gate under `tests.soak.process`."""

    def __init__(self, run: Run, authority: Authority, *, leak: str = "-") -> None:
        super().__init__(run, authority, minutes=LEASE, tls=False, prefix4=22)
        text = self.settings.read_text()
        self.settings.write_text(text.replace(f"minutes = {LEASE}\n", f"minutes = {LEASE}{TERMS}", 1))
        self.leak = leak
        self.days = 0
        (self.home / "stock").mkdir()
        (self.home / "stock").chmod(0o777)

    def ask(self, name: str, *words: str) -> Any:
        """What ``portal`` or ``gate`` says to *words* (see `tests.soak.process`)."""
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(60)
            caller.connect(str(self._stock(name)))
            caller.sendall(" ".join(words).encode())
            caller.shutdown(socket.SHUT_WR)
            parts = []
            while part := caller.recv(65_536):
                parts.append(part)
        said = msgspec.json.decode(b"".join(parts))
        if isinstance(said, dict) and "error" in said:
            raise RuntimeError(f"{name} cannot tell {words}: {said['error']}")
        return said

    def pass_midnight(self) -> None:
        """It is the next day."""
        self.days += 1
        self.ask("portal", "days", str(self.days))

    def restart(self, name: str, *, kill: bool = False) -> None:
        """End ``portal`` or ``gate`` and start it again; returns at once."""
        if kill:
            self.kill9(name)
        else:
            self.end(name)
        (self.start_portal if name == "portal" else self.start_gate)()

    def end(self, name: str) -> None:
        """End it as a service manager does."""
        process = self._processes.pop(name)
        process.terminate()
        process.wait(60)

    def _stock(self, name: str) -> Path:
        return self.home / "stock" / f"{name}.sock"

    def _wificrm(self, *arguments: str | Path, environment: Sequence[str] = ()) -> list[str | Path]:
        command = super()._wificrm(*arguments, environment=environment)
        at = command.index("captive.cli")
        if arguments[0] == "gate":
            command[at : at + 1] = ["tests.soak.process", self._stock("gate")]
        elif arguments[0] == "serve":
            command[at : at + 1] = ["tests.soak.portal", self._stock("portal"), str(self.days), self.leak]
        return command

    # -- what is left in kernel and files ----------------------------------------------------------

    def elements(self) -> dict[str, int]:
        """{set: how many elements} of both our tables."""
        found: Counter[str] = Counter()
        for family in ("inet", "netdev"):
            listing = self.namespace.run("nft", "-j", "list", "table", family, "wificrm", timeout=60)
            for item in msgspec.json.decode(listing)["nftables"]:
                if "set" in item:
                    found[item["set"]["name"]] += len(item["set"].get("elem", ()))
        return dict(found)

    def flows(self) -> list[str]:
        """The flows of guests through the box, as conntrack prints them; those to the box itself not."""
        listing = self.namespace.run("sh", "-c", "conntrack -L -f ipv4; conntrack -L -f ipv6", timeout=60)
        return [
            line
            for line in listing.splitlines()
            if f"dst={WORLD4} " in line or f"dst={_long(WORLD6)} " in line or f"dst={WORLD6} " in line
        ]

    def sockets(self) -> dict[str, int]:
        """{state: how many TCP sockets}."""
        lines = self.namespace.run("ss", "-tanH").splitlines()
        return dict(Counter(line.split()[0] for line in lines))

    def neighbours(self) -> int:
        """Entries of the kernel's neighbour table on the guest bridge."""
        return len(self.namespace.run("ip", "neigh", "show", "dev", BRIDGE).splitlines())

    def files(self) -> dict[str, int]:
        """{file: bytes} of the product's folders."""
        return {
            str(path.relative_to(self.home)): path.stat().st_size
            for folder in ("data", "state", "gate")
            for path in sorted((self.home / folder).rglob("*"))
            if path.is_file()
        }

    def stored(self) -> set[str]:
        """The devices that the access store has grants of."""
        with contextlib.closing(self._access()) as store:
            return {device for (device,) in store.execute('SELECT device FROM "grant"')}

    def rows(self) -> dict[str, int]:
        """{table: rows} of the access store."""
        with contextlib.closing(self._access()) as store:
            return {
                name: store.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                for name in ("grant", "asked", "usage", "wish", "day_secret")
            }

    def wish(self, device: str) -> None:
        """Ask, as a technician does, that the grant of *device* ends."""
        with contextlib.closing(self._access()) as store, store:
            store.execute("INSERT OR REPLACE INTO wish VALUES (?, 'end')", (device,))

    def _access(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home / "data/access.db", timeout=20)


def _long(address: str) -> str:
    groups = struct.unpack("!8H", socket.inet_pton(socket.AF_INET6, address))
    return ":".join(f"{group:04x}" for group in groups)


class World:
    """What is behind the uplink: port 80 answers like a web server, port 7 echoes or sends what is asked for."""

    def __init__(self, run: Run, gateway: Namespace) -> None:
        self.namespace = Namespace(run, "world")
        gateway.ip(
            f"link add {UPLINK} type veth peer name venue netns {self.namespace.name}",
            f"link set {UPLINK} up",
            f"address add 203.0.113.2/24 dev {UPLINK}",
            f"address add 2001:db8::2/64 dev {UPLINK} nodad",
            "route add default via 203.0.113.1",
            "route add default via 2001:db8::1",
        )
        self.namespace.ip(
            "link set venue up",
            "address add 203.0.113.1/24 dev venue",
            "address add 2001:db8::1/64 dev venue nodad",
            f"address add {WORLD4} dev lo",
            f"address add {WORLD6} dev lo nodad",
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer while the context is open."""
        loop = asyncio.get_running_loop()
        connections: set[Any] = set()
        with contextlib.ExitStack() as stack:
            for family, address in ((socket.AF_INET, WORLD4), (socket.AF_INET6, WORLD6)):
                for port, protocol in ((ECHO, _Echo), (80, _Web)):
                    sock = self._socket(family, socket.SOCK_STREAM, address, port)
                    make = functools.partial(protocol, connections)
                    server = await loop.create_server(make, sock=sock, backlog=1024)
                    stack.callback(server.close)
                sock = self._socket(family, socket.SOCK_DGRAM, address, ECHO)
                loop.add_reader(sock, _answer_datagrams, sock)
                stack.callback(sock.close)
                stack.callback(loop.remove_reader, sock)
            yield
            for connection in list(connections):
                connection.abort()
        while connections:
            await asyncio.sleep(0.01)

    def _socket(self, family: int, kind: int, address: str, port: int) -> socket.socket:
        sock = self.namespace.open_socket(family, kind)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        return sock


class _Server(asyncio.Protocol):
    def __init__(self, open_: set[Any]) -> None:
        self._open = open_

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._open.add(transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._open.discard(self._transport)


class _Web(_Server):
    def data_received(self, data: bytes) -> None:
        transport: Any = self._transport
        if data.endswith(b"\r\n\r\n"):
            transport.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            transport.close()


class _Echo(_Server):
    """Answers each line with a byte, or with as many as it names. Whoever stays too long is cut off."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._end = asyncio.get_running_loop().call_later(60, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"." * max(1, int(data.split(b"\n")[0] or 0)))

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._end.cancel()


def _answer_datagrams(sock: socket.socket) -> None:
    """Send back what has come; where there is no way back, as from an address not masqueraded, it is lost."""
    with contextlib.suppress(BlockingIOError):
        while True:
            data, caller = sock.recvfrom(2048)
            with contextlib.suppress(OSError):
                sock.sendto(data, caller)
