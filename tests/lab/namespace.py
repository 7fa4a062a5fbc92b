"""Network namespaces: made, entered, swept away."""

import contextlib
import ctypes
import fcntl
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
HOME = Path("/run/wificrm-venues")
NAMED = Path("/run/netns")
RESOLVERS = Path("/etc/netns")

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Why no venue can be built here, in one sentence; empty when it can."""
    if os.uname().sysname != "Linux":
        return "the venue lab is built of Linux network namespaces, and this is not Linux"
    if os.geteuid() != 0:
        return (
            "the venue lab needs root (it makes network namespaces); run the tests with sudo to see it work"
        )
    tools = [
        tool
        for tool in ("ip", "bridge", "nft", "dnsmasq", "udhcpc", "setpriv", "openssl")
        if not shutil.which(tool)
    ]
    if tools:
        return f"the venue lab needs {', '.join(tools)}; apt-get install nftables dnsmasq-base udhcpc openssl"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "this machine does not allow network namespaces (a container without CAP_SYS_ADMIN?)"
    return ""


class Run:
    """The folder and the name under which one venue lives; holds a lock, so that leftovers can be told apart."""

    def __init__(self) -> None:
        with _alone():
            self.folder = Path(tempfile.mkdtemp(prefix="v", dir=HOME))
            self.folder.chmod(0o755)
            self.name = self.folder.name
            self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Remove every namespace of this run, and its folder."""
        with _alone():
            _remove(self.folder)
            os.close(self._lock)


def sweep() -> None:
    """Remove what killed runs left behind: whoever still lives holds the lock in its folder."""
    with _alone():
        for folder in HOME.glob("v*"):
            with contextlib.suppress(OSError), (folder / "lock").open("a+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One run at a time makes or removes folders: one that is made and not yet locked looks like a leftover."""
    HOME.mkdir(mode=0o755, exist_ok=True)
    with HOME.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _keep_in_memory()
        yield


@functools.cache
def _keep_in_memory() -> None:
    """As /run is on Debian. On a disk that others write to as well, a commit may take seconds, which is their doing."""
    kind = subprocess.run(["stat", "-fc", "%T", HOME], capture_output=True, text=True, check=False).stdout
    if kind.strip() != "tmpfs":
        memory: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "mode=0755", "wificrm-venues", HOME]
        subprocess.run(memory, capture_output=True, check=False)


def _remove(folder: Path) -> None:
    for path in sorted(NAMED.glob(f"{folder.name}-*")):
        _kill_inside(path.name)
        ip(f"netns delete {path.name}")
        shutil.rmtree(RESOLVERS / path.name, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _kill_inside(name: str) -> None:
    for _ in range(50):
        pids = subprocess.run(
            ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
        ).stdout.split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)


def ip(*lines: str, namespace: str = "") -> None:
    """Run *lines* as one batch of ip(8) commands, inside *namespace*."""
    where = ["-n", namespace] if namespace else []
    done = subprocess.run(
        ["ip", *where, "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ip: {done.stderr.strip()} in\n" + "\n".join(lines))


class Namespace:
    """One network namespace of a run, with its loopback up and no IPv6 waiting for duplicates."""

    def __init__(self, run: Run, name: str) -> None:
        self.name = f"{run.name}-{name}"
        resolver = RESOLVERS / self.name
        resolver.mkdir(parents=True)
        (resolver / "resolv.conf").write_text("# nothing leased yet\n")
        ip(f"netns add {self.name}")
        self._handle = os.open(NAMED / self.name, os.O_RDONLY | os.O_CLOEXEC)
        self.sysctl({"net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0})
        self.ip("link set lo up")

    @property
    def resolv_conf(self) -> Path:
        """The file that processes inside see as /etc/resolv.conf."""
        return RESOLVERS / self.name / "resolv.conf"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread inside; a socket made there stays there for its whole life."""
        _outside()
        _switch(self._handle)
        try:
            yield
        finally:
            _switch(_outside())

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket inside, usable from anywhere."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def packet_socket(self, interface: str) -> socket.socket:
        """Sends and hears whole frames on *interface*, its own among those heard."""
        with self.entered():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            sock.bind((interface, ETH_P_ALL))
        return sock

    def sysctl(self, values: dict[str, int | str]) -> None:
        """Set kernel parameters inside; this machine's own stay as they are."""
        with self.entered():
            for key, value in values.items():
                Path("/proc/sys", *key.split(".")).write_text(str(value))

    def ip(self, *lines: str) -> None:
        """ip(8) commands inside, as one batch."""
        ip(*lines, namespace=self.name)

    def command(self, *command: str | Path) -> list[str]:
        """*command* as it is to be run from outside."""
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def run(self, *command: str | Path, text: str | None = None, timeout: float = 120) -> str:
        """Run *command* inside to its end; its output. Raises RuntimeError with what it said when it fails."""
        done = subprocess.run(
            self.command(*command), input=text, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    def start(self, *command: str | Path, log: Path, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start *command* inside; what it says goes to *log*. Its pid is the command's own."""
        with log.open("ab") as file:
            return subprocess.Popen(
                [*prefix, *self.command(*command)], stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    def close(self) -> None:
        """Remove it with every process in it."""
        _kill_inside(self.name)
        os.close(self._handle)
        ip(f"netns delete {self.name}")
        shutil.rmtree(RESOLVERS / self.name, ignore_errors=True)


@functools.cache
def _outside() -> int:
    """The namespace that the tests themselves are in; asked for before any other is entered."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _switch(handle: int) -> None:
    if _libc.setns(handle, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stop(process: subprocess.Popen[bytes], *, kill: bool = False, timeout: float = 60) -> None:
    """End *process*: asked kindly first, unless *kill*."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)
