"""Three network namespaces for the gateway's own tests: a phone, the box, the world behind it.

Sockets are made inside a namespace and used from the test; whatever needs the whole process inside (the
box's commands, the gate) runs as one. Everything is gone at the end, whatever happened.
"""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from crm.settings import Settings
from crm.settings_file import parse_settings
from tests.waiting import LONG

MAC = "02:00:00:00:00:01"
BOX4, BOX6 = "192.168.50.1", "fd50:7c3a:1::1"
WORLD4, WORLD6 = "198.51.100.1", "2001:db8:ff::1"
OFFICE4 = "10.9.9.9"
"""A private address behind the uplink: where guests have no business."""
BESIDE4, BESIDE6 = "203.0.113.1", "2001:db8::1"
"""Public addresses in the uplink's own networks, with computers of the office: no business there either."""
PHONE4, PHONE6 = "192.168.50.10", "fd50:7c3a:1::10"
_libc = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs root and network namespaces",
)


class Place:
    """One network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        subprocess.run(["ip", "netns", "add", name], check=True)
        self._handle = os.open(f"/run/netns/{name}", os.O_RDONLY)
        self.ip("link set lo up")

    def ip(self, *lines: str) -> None:
        subprocess.run(
            ["ip", "-n", self.name, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True
        )

    def run(
        self, *command: str, text: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        words = ["ip", "netns", "exec", self.name, *command]
        return subprocess.run(words, input=text, capture_output=True, text=True, check=check, timeout=60)

    def start(self, *command: str) -> subprocess.Popen[str]:
        words = ["ip", "netns", "exec", self.name, *command]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def nft(self, text: str) -> str:
        return self.run("nft", "-f", "-", text=text).stdout

    def socket(self, family: int, kind: int) -> socket.socket:
        """A socket of this namespace, for use from anywhere."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _setns(self._handle)
            try:
                made = socket.socket(family, kind)
            finally:
                _setns(outside)
        finally:
            os.close(outside)
        made.settimeout(3)
        return made

    def close(self) -> None:
        os.close(self._handle)
        for _ in range(100):
            pids = subprocess.run(
                ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False
            ).stdout
            if not pids.split():
                break
            for pid in pids.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.02)
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


def _setns(handle: int) -> None:
    if _libc.setns(handle, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


class SmallVenue:
    """The three of them, wired; `phone` has its addresses already."""

    def __init__(self, folder: Path, **network: object) -> None:
        self.folder = folder
        name = f"t{secrets.token_hex(3)}"
        self._stack = contextlib.ExitStack()
        try:
            self.box, self.phone, self.world = (self._place(f"{name}{end}") for end in "bpw")
            self._wire()
        except BaseException:
            self._stack.close()
            raise
        self.config = folder / "wificrm.toml"
        state = folder / "state"
        lines = [
            f'state = "{state}"',
            "[gate]",
            f'socket = "{folder}/gate/gate.sock"',
            'group = "nogroup"',
            "[uplink]",
            f'dns = ["{WORLD4}"]',
            "[network]",
        ]
        lines += [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in network.items()]
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def settings(self) -> Settings:
        """What the configuration says now."""
        return parse_settings(self.config.read_text())

    def command(self, expression: str) -> subprocess.CompletedProcess[str]:
        """Evaluate *expression* (of `box` and `settings`) in a process on the box, as the command line does."""
        return self.box.run(*self._python(f"print({expression})"), check=False)

    def gate(self) -> subprocess.Popen[str]:
        """Start the gate on the box; returns when it takes calls."""
        script = "from captive.gate.gate import serve_gate; import uvloop"
        process = self.box.start(
            *self._python(f"{script}; uvloop.run(serve_gate(settings, lambda: print('open', flush=True)))")
        )
        assert process.stdout
        self._stack.callback(process.stdout.close)
        self._stack.callback(process.wait, LONG)
        self._stack.callback(process.kill)
        heard = ""
        for line in process.stdout:
            if line.strip() == "open":
                return process
            heard += line
        raise RuntimeError(heard)

    def _python(self, script: str) -> list[str]:
        head = "from pathlib import Path; from captive.box import box; from crm.settings_file import load_settings"
        return [
            sys.executable,
            "-c",
            f"{head}; settings = load_settings(Path({str(self.config)!r})); {script}",
        ]

    def serve(self, place: Place, port: int, says: str) -> None:
        """On *place*, TCP and UDP of *port* answer with *says*, then echo."""
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind, loop in ((socket.SOCK_STREAM, _serve_tcp), (socket.SOCK_DGRAM, _serve_udp)):
                listener = place.socket(family, kind)
                listener.settimeout(None)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    listener.listen(200)
                thread = threading.Thread(target=loop, args=(listener, says.encode()), daemon=True)
                thread.start()
                self._stack.callback(_hang_up, listener, thread)

    def ask_tcp(self, host: str, port: int) -> str:
        """What the phone gets from there, or how it is refused."""
        with self.phone.socket(_family(host), socket.SOCK_STREAM) as caller:
            caller.settimeout(LONG)  # who is refused hears so
            try:
                caller.connect((host, port))
                return caller.recv(100).decode()
            except OSError as error:
                return type(error).__name__

    def ask_udp(self, host: str, port: int, data: bytes = b"?") -> str:
        with self.phone.socket(_family(host), socket.SOCK_DGRAM) as caller:
            caller.connect((host, port))
            try:
                caller.send(data)
                return caller.recv(2000).decode("latin-1")
            except TimeoutError:
                return "silence"
            except OSError as error:
                return error.strerror or ""

    def resolve(self, name: str, kind: int, server: str = BOX4) -> tuple[int, list[bytes]]:
        """Ask *server* from the phone: (response code, addresses)."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = (
            struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
        )
        answer = self.ask_udp(server, 53, question).encode("latin-1")
        assert len(answer) >= 12, answer
        _, flags, _, count = struct.unpack_from(">HHHH", answer)
        start, found = len(question), []
        for _ in range(count):
            start += 2  # a pointer to the name asked for
            _, _, _, length = struct.unpack_from(">HHIH", answer, start)
            found.append(answer[start + 10 : start + 10 + length])
            start += 10 + length
        return flags & 15, found

    def close(self) -> None:
        self._stack.close()

    def _place(self, name: str) -> Place:
        place = Place(name)
        self._stack.callback(place.close)
        return place

    def _wire(self) -> None:
        phone, world = self.phone.name, self.world.name
        self.box.ip(
            "link add br-guest type bridge",
            "link set br-guest up",
            f"address add {BOX4}/24 dev br-guest",
            f"address add {BOX6}/64 dev br-guest nodad",
            f"link add port0 type veth peer name wlan0 netns {phone}",
            "link set port0 master br-guest up",
            f"link add eth0 type veth peer name venue netns {world}",
            "link set eth0 up",
            "address add 203.0.113.2/24 dev eth0",
            "address add 2001:db8::2/64 dev eth0 nodad",
            f"route add default via {BESIDE4}",
            f"route add default via {BESIDE6}",
        )
        # It keeps to the addresses given here, whatever a router's advertisements offer.
        self.phone.run("sysctl", "-qw", "net.ipv6.conf.wlan0.accept_ra=0")
        self.phone.ip(
            f"link set wlan0 address {MAC} up",
            f"address add {PHONE4}/24 dev wlan0",
            f"address add {PHONE6}/64 dev wlan0 nodad",
            f"route add default via {BOX4}",
            f"route add default via {BOX6}",
        )
        self.world.ip(
            "link set venue up",
            f"address add {WORLD4} dev lo",
            f"address add {WORLD6} dev lo nodad",
            f"address add {OFFICE4} dev lo",
            f"address add {BESIDE4}/24 dev venue noprefixroute",
            f"address add {BESIDE6}/64 dev venue noprefixroute nodad",
            # What is asked of any address over UDP is answered from the world's.
            f"route add 203.0.113.0/24 dev venue src {WORLD4}",
            f"route add 2001:db8::/64 dev venue src {WORLD6}",
        )


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _serve_tcp(listener: socket.socket, says: bytes) -> None:
    def talk(caller: socket.socket) -> None:
        with contextlib.suppress(OSError), caller:
            caller.settimeout(None)
            caller.sendall(says)
            while data := caller.recv(4096):
                caller.sendall(data)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()


def _serve_udp(listener: socket.socket, says: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, caller = listener.recvfrom(4096)
            if caller is None:  # the end
                return
            if data == b"stream":  # on and on without being asked again
                threading.Thread(target=_stream, args=(listener, caller), daemon=True).start()
            else:
                listener.sendto(says, caller)


def _stream(listener: socket.socket, caller: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.sendto(b"x", caller)
            time.sleep(0.02)


def _hang_up(listener: socket.socket, thread: threading.Thread) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(1)


def eventually(holds: Callable[[], object], seconds: float = LONG) -> bool:
    """Whether *holds* comes true within *seconds*."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return False


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that everybody may walk through; pytest's own is closed to others by every run that begins."""
    with tempfile.TemporaryDirectory(prefix="wificrm-venue-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextlib.contextmanager
def small_venue(folder: Path, **network: object) -> Iterator[SmallVenue]:
    """A small venue with `network` settings of its own."""
    folder.mkdir(exist_ok=True)
    venue = SmallVenue(folder, **network)
    try:
        yield venue
    finally:
        venue.close()
