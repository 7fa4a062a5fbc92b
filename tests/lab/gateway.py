"""The gateway of the lab: the product's own commands, run in a namespace as a centre would run them.

The portal runs as ``nobody``; the gate as ``daemon`` with CAP_NET_ADMIN and nothing else; the advertiser as
``games`` with CAP_NET_RAW and nothing else; ``gateway apply`` and dnsmasq as root.

Nothing here reaches into the product: all goes through ``wificrm`` and its settings.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from captive.advertise.advertiser import is_advertised
from captive.gateway import GateClient, Lease
from tests.lab.certificates import Authority
from tests.lab.internet import RESOLVER4
from tests.lab.namespace import Namespace, Run, stop

BRIDGE, UPLINK = "br-guest", "uplink0"
BRIDGE_MAC = "02:1a:b1:00:00:01"
ADDRESS4, ADDRESS6 = "192.168.50.1", "fd50:7c3a:1::1"
NAME = "portal.lab.example"
PROJECT = Path(__file__).parents[2]
PORTAL_USER, GATE_USER, ADVERTISER_USER, GROUP = "nobody", "daemon", "games", "nogroup"
HTTP_PORT, TLS_PORT, CONSOLE_PORT, METRICS_PORT = 8080, 8443, 8081, 8082


def _morning() -> ZoneInfo:
    """A time zone in which it is ten o'clock: in none of the lab's hours a day ends, nor a part of one."""
    east = (10 - datetime.now(UTC).hour + 12) % 24 - 12
    return ZoneInfo(f"Etc/GMT{-east:+d}")  # its sign is how far west


ZONE = _morning()
"""Where the lab's venues are, in this run."""

_SETTINGS = """
state = "{home}/state"
secrets = "{home}/data/secrets"

[venue]
code = "{venue}"
timezone = "{zone}"
names = {{ vi = "Trung tâm thử nghiệm", en = "Lab Centre" }}

[uplink]
interface = "{uplink}"
dns = ["{resolver}"]

[[network]]
interface = "{bridge}"
address4 = "{address4}/{prefix4}"
address6 = "{address6}"
walled_garden = ["garden.example"]
{network}

[portal]
name = "{name}"
{certificate}

[console]
address = "0.0.0.0"

[metrics]
address = "0.0.0.0"

[grant]
minutes = {minutes}
{grant}

[gate]
socket = "{home}/gate/gate.sock"
group = "{group}"

[store]
crm = "{home}/data/crm.db"
access = "{home}/data/access.db"

[log]
level = "debug"
"""


class Gateway:
    """A box with a guest bridge and an uplink. `start` brings the product up on it."""

    venue = "LAB-P01"

    def __init__(
        self,
        run: Run,
        authority: Authority,
        *,
        minutes: int = 240,
        tls: bool = True,
        prefix4: int = 24,
        ipv6: bool = True,
        grant: str = "",
        network: str = "",
        others: Mapping[str, str] | None = None,
    ) -> None:
        """*grant* and *network* are lines of those tables of the settings.

        *others* are more networks, by name, with the lines of their tables; each has a bridge (see `bridge_of`)
        and addresses of its own, IPv6 too unless it tells devices by MAC and address.
        """
        self.namespace = Namespace(run, "gw")
        self.home = run.folder / "gateway"
        self.tls = tls
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._make_folders()
        self.certificate, self.key = authority.issue("portal", NAME, days=(-1, 60))
        certificate = f'certificate = "{self.certificate}"\nkey = "{self.key}"' if tls else ""
        self.settings = self.home / "wificrm.toml"
        self.settings.write_text(
            _SETTINGS.format(
                home=self.home,
                venue=self.venue,
                zone=ZONE.key,
                bridge=BRIDGE,
                uplink=UPLINK,
                address4=ADDRESS4,
                prefix4=prefix4,
                address6=f"{ADDRESS6}/64" if ipv6 else "",
                grant=grant,
                network=network,
                resolver=RESOLVER4,
                name=NAME,
                certificate=certificate,
                minutes=minutes,
                group=GROUP,
            )
            + "".join(
                _other_network(i, name, lines) for i, (name, lines) in enumerate((others or {}).items())
            )
        )
        self.namespace.ip(
            # An address of its own: without one it takes the lowest of its ports, and changes with them.
            f"link add {BRIDGE} address {BRIDGE_MAC} type bridge",
            f"address add {ADDRESS4}/{prefix4} dev {BRIDGE}",
            *([f"address add {ADDRESS6}/64 dev {BRIDGE}"] if ipv6 else []),
            f"link set {BRIDGE} up",
            *_access_point(0, BRIDGE),
            *(
                line
                for i, name in enumerate(others or {})
                for line in (
                    f"link add {bridge_of(name)} address 02:1a:b1:00:01:{i:02x} type bridge",
                    f"address add 192.168.{100 + i}.1/24 dev {bridge_of(name)}",
                    f"address add fd50:7c3a:{100 + i}::1/64 dev {bridge_of(name)}",
                    f"link set {bridge_of(name)} up",
                    *_access_point(1 + i, bridge_of(name)),
                )
            ),
        )

    # -- the product's commands -------------------------------------------------------------------

    def wificrm(self, *arguments: str | Path, timeout: float = 120) -> str:
        """Run ``wificrm ARGUMENTS --config ...`` as root to its end; what it printed."""
        return self.namespace.run(*self._wificrm(*arguments), timeout=timeout)

    def start(self) -> None:
        """Migrate, ``gateway apply``, gate, portal; returns when guests are served."""
        migrating = self._start("migrate", "migrate", user=PORTAL_USER)
        self.wificrm("gateway", "apply")
        self.start_gate()
        self.start_advertiser()
        if migrating.wait(120):
            raise RuntimeError(f"wificrm migrate: {self.log('migrate')}")
        self.start_portal()
        self.wait()

    def start_gate(self) -> None:
        """Start the gate; `wait` for it."""
        self._start("gate", "gate", user=GATE_USER, capabilities="+net_admin")

    def start_advertiser(self) -> None:
        """Start the router advertisements; `wait` for it."""
        self._start("advertiser", "advertise", user=ADVERTISER_USER, capabilities="+net_raw")

    def start_portal(self, *, clock: Path | None = None) -> None:
        """Start the portal; `wait` for it. Its wall clock is off by the seconds in the file *clock*, ever anew."""
        faked = ["MALLOC_ARENA_MAX=1"]  # as wificrm.service has it
        if clock:
            library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
            faked += [f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1"]
            faked.append("FAKETIME_DONT_FAKE_MONOTONIC=1")
        self._start("portal", "serve", user=PORTAL_USER, environment=faked)

    def start_watch(self) -> None:
        """Start what looks after dnsmasq; `stop` it."""
        arguments = self._wificrm("gateway", "watch")
        self._processes["watch"] = self.namespace.start(*arguments, log=self.home / "log/watch.log")

    def start_alarms(self) -> None:
        """Start what looks out for rogue servers and the like; `stop` it."""
        folder = self.home / "state-watch"
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, ADVERTISER_USER, GROUP)
        self._start("alarms", "watch", user=ADVERTISER_USER, capabilities="+net_raw")

    def wait(self, *names: str, timeout: float = 90) -> None:
        """Return when the started processes take calls. Raises RuntimeError with their log."""
        until = time.monotonic() + timeout
        for name in names or ("gate", "advertiser", "portal"):
            while not self._takes_calls(name):
                ended = self._processes[name].poll()
                if ended is not None or time.monotonic() > until:
                    raise RuntimeError(f"{name} does not start (exit {ended}): {self.log(name)}")
                time.sleep(0.02)

    def kill9(self, *names: str) -> None:
        """End ``portal``, ``gate``, ``advertiser`` or ``dnsmasq`` with SIGKILL."""
        for name in names:
            if name == "dnsmasq":
                os.kill(int((self.home / "state/dnsmasq.pid").read_text()), signal.SIGKILL)
            else:
                stop(self._processes.pop(name), kill=True)

    def stop(self, *names: str) -> None:
        """End them as a service manager does: with SIGTERM."""
        for name in names:
            stop(self._processes.pop(name))

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Nothing is done by it meanwhile: what lies on its disk is of one moment."""
        process = self._processes[name]
        process.send_signal(signal.SIGSTOP)
        while "\nState:\tT" not in Path(f"/proc/{process.pid}/status").read_text():
            time.sleep(0.001)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def reboot(self) -> None:
        """Lose what a power cut loses: processes, the kernel's tables, whatever lives in memory. Then start."""
        self.kill9(*(name for name in ("portal", "gate", "advertiser") if name in self._processes), "dnsmasq")
        self.namespace.run("nft", "flush", "ruleset")
        with contextlib.suppress(RuntimeError):  # "0 flow entries have been deleted" is its error
            self.namespace.run("conntrack", "-F")
        for folder in ("state", "gate"):
            shutil.rmtree(self.home / folder)
        self.namespace.sysctl({"net.ipv4.ip_forward": 0, "net.ipv6.conf.all.forwarding": 0})
        self._make_folders()
        self.wificrm("gateway", "apply")
        self.start_gate()
        self.start_advertiser()
        self.start_portal()
        self.wait()

    def report(self, first: date | None = None, last: date | None = None) -> dict[str, Any]:
        """The report as JSON, by default of today at the venue."""
        day = (first or today()).isoformat()
        path = self.home / "report.json"
        self.wificrm(
            *("report", "--venue", self.venue, "--from", day, "--to", (last or first or today()).isoformat()),
            *("--format", "json", "-o", path),
        )
        decoded: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        return decoded

    def funnel(self) -> dict[str, int]:
        """{step: how often} as the store counts it, without what a report withholds."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.home / 'data/crm.db'}?mode=ro", uri=True)
        ) as store:
            return dict(store.execute("SELECT step, sum(n) FROM daily_funnel GROUP BY step"))

    def told(self, path: str = "/metrics") -> str:
        """What the portal tells those who run it, asked on the box itself."""
        with self.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(60)
            sock.connect(("127.0.0.1", METRICS_PORT))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n".encode())
            with sock.makefile("rb") as stream:
                head, _, body = stream.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return body.decode()

    # -- what is on its disk and in its kernel ----------------------------------------------------

    def log(self, name: str) -> str:
        """What the process *name* said so far."""
        path = self.home / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def logs(self) -> list[Path]:
        """Every log."""
        return sorted((self.home / "log").iterdir())

    def store_files(self, name: str) -> list[Path]:
        """The files of the store ``crm`` or ``access``, its write-ahead log included."""
        return sorted((self.home / "data").glob(f"{name}.db*"))

    def allowed(self, network: str = "guest") -> dict[str, int]:
        """{MAC, or MAC and address: seconds left} as the kernel has it."""
        listing = msgspec.json.decode(
            self.namespace.run("nft", "-j", "list", "set", "inet", "wificrm", f"allowed_{network}")
        )
        found = {}
        for item in listing["nftables"]:
            for element in item.get("set", {}).get("elem", ()):
                key = element["elem"]["val"]
                found[key if isinstance(key, str) else " ".join(key["concat"])] = element["elem"]["expires"]
        return found

    def leases(self) -> dict[str, Lease]:
        """{device: what the kernel keeps of it} as the gate tells it, with what each took."""

        async def ask() -> dict[str, Lease]:
            gate = GateClient(str(self.home / "gate/gate.sock"))
            try:
                return await gate.list(counts=True)
            finally:
                await gate.close()

        return asyncio.run(ask())

    def taken(self) -> dict[str, tuple[int, int]]:
        """{device: bytes up and down since its grant} as the access store has it."""
        path = self.home / "data/access.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            rows = store.execute('SELECT device, up, down FROM "grant"').fetchall()
        return {device: (up, down) for device, up, down in rows}

    def running(self, name: str) -> bool:
        """Whether *name* runs."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def privileges(self, name: str) -> dict[str, str]:
        """The user and capability lines of a running process, as /proc has them."""
        text = Path(f"/proc/{self._processes[name].pid}/status").read_text()
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def close(self) -> None:
        """End everything at once, nothing of it is looked at any more; remove the namespace."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(60)
        self.namespace.close()

    # -- how it is done ---------------------------------------------------------------------------

    def _make_folders(self) -> None:
        self.home.mkdir(mode=0o755, exist_ok=True)
        for name, user, mode in (
            ("data", PORTAL_USER, 0o750),
            ("gate", GATE_USER, 0o750),
            ("log", "root", 0o755),
            ("cover", "root", 0o755),
        ):
            folder = self.home / name
            if not folder.exists():
                folder.mkdir()
                folder.chmod(mode)
                shutil.chown(folder, user, GROUP)

    def _wificrm(self, *arguments: str | Path, environment: Sequence[str] = ()) -> list[str | Path]:
        path = f"PATH={os.environ['PATH']}"
        cache = f"PYTHONPYCACHEPREFIX={self.home.parent.parent / 'pycache'}"
        program = [
            "env",
            "-i",
            path,
            "LANG=C.UTF-8",
            f"PYTHONPATH={PROJECT}",
            cache,
            *environment,
            sys.executable,
            "-m",
            "captive.cli",
        ]
        return [*program, *arguments, "--config", self.settings]

    def _start(
        self, name: str, command: str, *, user: str, capabilities: str = "", environment: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        bounds = ",".join(filter(None, ["-all", capabilities]))
        wrapped = [
            *self._uncovered(),
            *("setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups", "--no-new-privs"),
            *(f"--bounding-set={bounds}", f"--inh-caps={bounds}", f"--ambient-caps={bounds}"),
            *self._wificrm(command, environment=environment),
        ]
        process = self.namespace.start(*wrapped, log=self.home / "log" / f"{name}.log")
        self._processes[name] = process
        return process

    def _uncovered(self) -> Sequence[str | Path]:
        """A prefix under which other users reach this Python although it lies in somebody's private folder.

        In the process's own mount namespace, a readable folder that holds only what is needed is laid
        over the private one.
        """
        hidden, parts = _hidden([Path(sys.base_prefix), Path(sys.prefix), PROJECT])
        if hidden is None:
            return []
        cover = self.home / "cover"
        for part in parts:
            (cover / part).mkdir(exist_ok=True)
        script = 'set -e; for p in $3; do mount --rbind "$2/$p" "$1/$p"; done; mount --rbind "$1" "$2"; '
        script += 'shift 3; exec "$@"'
        return ["sh", "-c", script, "sh", cover, hidden, " ".join(parts)]

    def _takes_calls(self, name: str) -> bool:
        if name == "gate":
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(self.home / "gate/gate.sock")) == 0
        if name == "advertiser":
            with self.namespace.entered():
                return is_advertised()
        ports = (HTTP_PORT, TLS_PORT) if self.tls else (HTTP_PORT,)
        for port in ports:
            with self.namespace.open_socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                if probe.connect_ex((ADDRESS4, port)):
                    return False
        return True


def _access_point(number: int, bridge: str) -> tuple[str, ...]:
    """The cable to one that nobody has joined."""
    return (
        f"link add ap{number} type veth peer name air{number}",
        f"link set ap{number} master {bridge} up",
        f"link set air{number} up",
    )


def bridge_of(network: str) -> str:
    """The interface of one of the networks that a test adds."""
    return f"br-{network}"


def _other_network(number: int, name: str, lines: str) -> str:
    address6 = "" if "mac+ip" in lines else f"fd50:7c3a:{100 + number}::1/64"
    return (
        f'\n[[network]]\nname = "{name}"\ninterface = "{bridge_of(name)}"\n'
        f'address4 = "192.168.{100 + number}.1/24"\naddress6 = "{address6}"\n{lines}\n'
    )


def _hidden(paths: Sequence[Path]) -> tuple[Path | None, list[str]]:
    """The first folder above *paths* that others may not pass, and what is needed of it."""
    for path in paths:
        for folder in reversed(path.parents):
            if not folder.stat().st_mode & 0o001:
                inside = [
                    other.relative_to(folder).parts[0] for other in paths if other.is_relative_to(folder)
                ]
                return folder, sorted(set(inside))
    return None, []


def today() -> date:
    """The local day at the lab's venue."""
    return datetime.now(ZONE).date()
