"""Thin routers in the lab: a portal on a box without guests of its own, and routers that connect to it.

Each router is a namespace in which the product's own scripts run under busybox ash, with real nft, dnsmasq,
lighttpd and curl. All of them give guests the same addresses, as routers from one box of a shop do.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from tests.lab.certificates import Authority
from tests.lab.client import Answer
from tests.lab.gateway import GROUP, PORTAL_USER, PROJECT, ZONE, Gateway
from tests.lab.internet import RESOLVER4, ROUTER4, ROUTER6, Internet
from tests.lab.namespace import Namespace, Run, stop, sweep
from tests.lab.phone import Phone

SCRIPTS = PROJECT / "router_scripts/thin"
PORTAL, PORTAL4, PORTAL6 = "portal.lab.example", "203.0.113.9", "2001:db8:1::9"
GUESTS = "br-guest"
APPLETS = (
    "sh ash awk cat chgrp chmod cmp cut grep head hexdump mkdir mkfifo mv nslookup rm sed sha256sum "
    "sleep sort tr"
)
"""What the scripts call, as busybox has it in OpenWrt's base image (ip, nft, curl are programs of their own)."""

_SETTINGS = """
state = "{home}/state"
secrets = "{home}/data/secrets"
{routers}
[venue]
code = "LAB-P01"
timezone = "{zone}"
names = {{ vi = "Trung tâm thử nghiệm", en = "Lab Centre" }}

[portal]
name = "{name}"
port = 80
tls_port = 443
certificate = "{certificate}"
key = "{key}"

[console]
address = "0.0.0.0"

[grant]
minutes = {minutes}
{grant}

[gate]
group = "{group}"

[store]
crm = "{home}/data/crm.db"
access = "{home}/data/access.db"

[log]
level = "debug"
"""

_LIGHTTPD = """
server.port = {other}
server.bind = "127.0.0.1"
server.document-root = "{library}/www"
server.modules += ( "mod_setenv" )
setenv.set-environment = ( "WIFICRM_RUN" => "{run}", "WIFICRM_LIBRARY" => "{library}", "PATH" => "{path}" )
include "{setup}"
"""


class PortalBox(Gateway):
    """The portal on a box that has no guests of its own: thin routers bring them."""

    def __init__(
        self,
        run: Run,
        authority: Authority,
        routers: Sequence[str],
        *,
        minutes: int = 240,
        grant: str = "",
        garden: str = "",
    ) -> None:
        self.namespace = Namespace(run, "portal")
        self.home = run.folder / "gateway"
        self.tls = True
        self._processes = {}
        self._make_folders()
        self.certificate, self.key = authority.issue("portal", PORTAL, days=(-1, 60))
        self.settings = self.home / "wificrm.toml"
        self.settings.write_text(
            _SETTINGS.format(
                home=self.home,
                zone=ZONE.key,
                name=PORTAL,
                certificate=self.certificate,
                key=self.key,
                minutes=minutes,
                grant=grant,
                group=GROUP,
                routers="",
            )
            + "".join(f'\n[[router]]\nname = "{name}"\n{garden}\n' for name in routers)
        )
        self.namespace.sysctl({"net.ipv4.ip_unprivileged_port_start": 0})
        self.clock: Path | None = None
        """A file that says by how many seconds its wall clock is off; None: not at all."""

    def start(self) -> None:
        """Migrate, then the portal."""
        migrating = self._start("migrate", "migrate", user=PORTAL_USER)
        if migrating.wait(120):
            raise RuntimeError(f"wificrm migrate: {self.log('migrate')}")
        self.start_portal(clock=self.clock)
        self.wait("portal")

    def restart(self) -> None:
        """Start the portal again, once it has ended."""
        self.start_portal(clock=self.clock)
        self.wait("portal")

    def key_of(self, router: str) -> str:
        """The key of *router*, made the first time."""
        user = ("setpriv", f"--reuid={PORTAL_USER}", f"--regid={GROUP}", "--clear-groups")
        command = (*self._uncovered(), *user, *self._wificrm("router", "key", router, "--json"))
        key: str = msgspec.json.decode(self.namespace.run(*command))["key"]
        return key

    def connected(self) -> dict[str, bool]:
        """{router: whether it is connected} as ``wificrm router list`` says."""
        done = subprocess.run(
            self.namespace.command(*self._wificrm("router", "list", "--json")),
            capture_output=True,
            text=True,
            check=False,
        )
        told = msgspec.json.decode(done.stdout)
        return {each["name"]: each["connected"] for each in told["routers"]}

    def _takes_calls(self, name: str) -> bool:
        assert name == "portal"
        for port in (443, 8445):
            with self.namespace.open_socket(2, 1) as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True


class ThinRouter:
    """One router: `start` brings its programs up; the portal's name, and its own key, stand in its settings."""

    def __init__(
        self, run: Run, number: int, name: str, key: str, authority: Path, settings: str = ""
    ) -> None:
        self.name, self._number = name, number
        self.namespace = Namespace(run, f"r{number}")
        self.home = run.folder / name
        self.run_folder = self.home / "run"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        library = self.home / "lib"
        for folder in (self.home, library, library / "www", self.home / "bin", self.home / "etc"):
            folder.mkdir()
        for file in SCRIPTS.iterdir():
            (library / file.name).symlink_to(file)
        (library / "www/index.cgi").touch()
        for applet in APPLETS.split():
            (self.home / "bin" / applet).symlink_to(shutil.which("busybox") or "busybox")
        self.settings = self.home / "thin.conf"
        self.settings.write_text(
            f"name={name}\nportal={PORTAL}\nkey={key}\nca={authority}\ninterface={GUESTS}\nuplink=uplink0\n"
            f"address4=192.168.60.1/24\naddress6=fd50:7c3a:{number}::1/64\nweb_group=www-data\n{settings}"
        )
        self._library = library
        self.clock: Path | None = None
        """A file that says by how many seconds its wall clock is off; None: not at all."""
        self.namespace.ip(
            f"link add {GUESTS} address 02:1a:b2:00:00:{number:02x} type bridge",
            f"address add 192.168.60.1/24 dev {GUESTS}",
            f"address add fd50:7c3a:{number}::1/64 dev {GUESTS}",
            f"link set {GUESTS} up",
        )
        self.namespace.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        self.namespace.resolv_conf.write_text(f"nameserver {RESOLVER4}\n")

    # -- its programs -------------------------------------------------------------------------------

    def environment(self, *more: str) -> list[str]:
        """How its scripts are called."""
        path = f"{self.home / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        return [
            *(
                "env",
                "-i",
                f"PATH={path}",
                f"WIFICRM_SETTINGS={self.settings}",
                f"WIFICRM_RUN={self.run_folder}",
            ),
            *(f"WIFICRM_LIBRARY={self._library}", f"WIFICRM_ETC={self.home / 'etc'}"),
            *(f"WIFICRM_TABLE={self._library / 'wificrm-table'}", *more),
        ]

    def script(self, name: str, *arguments: str, more: Sequence[str] = ()) -> str:
        """Run one of the scripts to its end; what it printed. Raises RuntimeError when it fails."""
        return self.namespace.run(
            *self.environment(*more), self.home / "bin/ash", self._library / name, *arguments
        )

    def start(self) -> None:
        """DHCP, names, the redirect, the agent."""
        self.script("wificrm-thin-setup", "apply")
        etc = self.home / "etc"
        dnsmasq = etc / "dnsmasq.d/wificrm-thin.conf"
        text = dnsmasq.read_text().replace("/run/dnsmasq/wificrm-thin.leases", f"{self.home}/leases")
        dnsmasq.write_text(f"{text}no-daemon\nno-ping\nuser=root\n")
        lighttpd = self.home / "lighttpd.conf"
        lighttpd.write_text(
            _LIGHTTPD.format(
                other=8099,
                library=self._library,
                run=self.run_folder,
                path=f"{self.home / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
                setup=etc / "lighttpd/conf-enabled/90-wificrm-thin.conf",
            )
        )
        self._start("dnsmasq", "dnsmasq", "-C", dnsmasq, "--pid-file=")
        www = ("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "--no-new-privs")
        self._start("lighttpd", *www, "lighttpd", "-D", "-f", lighttpd)
        self.start_agent()

    def start_agent(self) -> None:
        """Start the agent alone."""
        faked: list[str] = []
        if self.clock:
            library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
            faked = [f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={self.clock}"]
            faked += ["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        script = self._library / "wificrm-agent"
        agent: list[str | Path] = [*self.environment(*faked), self.home / "bin/ash", script, "run"]
        self._start("agent", *agent)

    def _start(self, name: str, *command: str | Path) -> None:
        self._processes[name] = self.namespace.start(*command, log=self.home / f"{name}.log")

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End one of its programs."""
        stop(self._processes.pop(name), kill=kill)

    def log(self, name: str) -> str:
        """What a program said."""
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def is_connected(self) -> bool:
        """Whether the agent says so."""
        path = self.run_folder / "state"
        return path.exists() and path.read_text().startswith("connected")

    # -- its kernel -----------------------------------------------------------------------------------

    def allowed(self) -> dict[str, int]:
        """{MAC: seconds left}."""
        listing = msgspec.json.decode(
            self.namespace.run("nft", "-j", "list", "set", "inet", "wificrm", "allowed")
        )
        return {
            element["elem"]["val"]: element["elem"]["expires"]
            for item in listing["nftables"]
            for element in item.get("set", {}).get("elem", ())
        }

    def cut(self) -> None:
        """Take the cable to the Internet away."""
        self.namespace.ip("link set uplink0 down")

    def heal(self) -> None:
        """Plug it in again."""
        plug_in(self.namespace, 10 + self._number)

    def close(self) -> None:
        """Stop everything."""
        for process in self._processes.values():
            stop(process, kill=True)
        self.namespace.close()


class ThinPhone(Phone):
    """A phone whose browser keeps the portal's cookie, as phones do."""

    def __init__(self, run: Run, router: Namespace, number: int, authority: Path) -> None:
        super().__init__(run, router, GUESTS, number, authority)
        self.cookies: dict[str, str] = {}

    def request(self, method: str, url: str, **options: object) -> Answer:
        """See `tests.lab.client.Client.request`."""
        headers = dict(options.pop("headers", None) or {})  # type: ignore[call-overload]
        if url.startswith(f"https://{PORTAL}/") and self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = super().request(method, url, headers=headers, **options)  # type: ignore[arg-type]
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


class ThinVenue:
    """An internet, a portal in it, and *routers* with phones behind each. Use as a context manager."""

    def __init__(
        self, *routers: str, settings: Mapping[str, str] | None = None, **options: str | int
    ) -> None:
        """*settings* {router: lines for its settings}; *options* are those of `PortalBox`."""
        sweep()
        self._numbers = itertools.count(1)
        self.phones: list[ThinPhone] = []
        with contextlib.ExitStack() as stack:
            self.run = Run()
            stack.callback(self.run.close)
            self.authority = Authority(self.run.folder / "authority")
            self.internet = Internet(self.run, self.authority, names={PORTAL: (PORTAL4, PORTAL6)})
            stack.callback(self.internet.close)
            self.internet.namespace.ip(
                "link add venue type bridge",
                f"address add {ROUTER4}/24 dev venue",
                f"address add {ROUTER6}/64 dev venue",
                "link set venue up",
            )
            # What passes between the boxes is no business of the internet's firewall (it echoes strange ports).
            self.internet.namespace.sysctl(
                {
                    f"net.bridge.bridge-nf-call-{name}tables": 0
                    for name in ("ip", "ip6", "arp")
                    if Path("/proc/sys/net/bridge").exists()
                }
            )
            self.portal = PortalBox(self.run, self.authority, routers, **options)  # type: ignore[arg-type]
            stack.callback(self.portal.close)
            self._plug(self.portal.namespace, "portal", 9)
            self.routers = []
            for number, name in enumerate(routers, 1):
                key = self.portal.key_of(name)
                router = ThinRouter(
                    self.run, number, name, key, self.authority.certificate, (settings or {}).get(name, "")
                )
                stack.callback(router.close)
                self._plug(router.namespace, name, 10 + number)
                self.routers.append(router)
            self._stack = stack.pop_all()

    def _plug(self, box: Namespace, name: str, number: int) -> None:
        """A cable from *box* to the internet."""
        here = self.internet.namespace
        here.ip(f"link add {name} type veth peer name uplink0 netns {box.name}")
        here.ip(f"link set {name} master venue", f"link set {name} up")
        plug_in(box, number)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            self.internet.wait()
            self.portal.start()
            for router in self.routers:
                router.start()
            self.wait()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, timeout: float = 120, *, only: ThinRouter | None = None) -> None:
        """Return when every router (or the *only* one) is connected, as both sides say.

        Raises RuntimeError with their logs.
        """
        until = time.monotonic() + timeout
        routers = [only] if only else self.routers
        while not all(each.is_connected() and self.portal.connected()[each.name] for each in routers):
            if time.monotonic() > until:
                logs = [f"{each.name}: {each.log('agent')}" for each in self.routers]
                raise RuntimeError("\n".join(["not connected", *logs, self.portal.log("portal")]))
            time.sleep(0.1)

    @contextlib.contextmanager
    def phone(self, router: ThinRouter, *, join: bool = True) -> Iterator[ThinPhone]:
        """A phone that nobody has seen before, on the Wi-Fi of *router*; it goes home at the end."""
        phone = ThinPhone(self.run, router.namespace, next(self._numbers), self.authority.certificate)
        self.phones.append(phone)
        try:
            if join:
                phone.join()
            yield phone
        finally:
            phone.close()
            self.phones.remove(phone)

    def close(self) -> None:
        """Take everything down."""
        for phone in self.phones:
            phone.close()
        self.phones.clear()
        self._stack.close()


def plug_in(box: Namespace, number: int) -> None:
    """Bring up the uplink of *box*, with addresses and default routes."""
    box.ip(
        f"address replace 203.0.113.{number}/24 dev uplink0",
        "link set uplink0 up",
        f"address replace 2001:db8:1::{number}/64 dev uplink0",
        f"route replace default via {ROUTER4}",
        f"route replace default via {ROUTER6}",
    )


def missing() -> str:
    """What thin routers need beyond the lab's own programs; empty when it is there."""
    lacking = [
        tool
        for tool in ("busybox", "lighttpd", "curl")
        if not shutil.which(tool, path="/usr/sbin:/usr/bin:/bin")
    ]
    return f"thin routers need {', '.join(lacking)}" if lacking else ""


def busybox_shell(text: str, **environment: str) -> str:
    """Run *text* in busybox ash with ``thin.sh`` and the agent's functions read; what it printed."""
    done = subprocess.run(
        ["busybox", "ash", "-c", text],
        env={"PATH": os.environ["PATH"], "WIFICRM_LIBRARY": str(SCRIPTS), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
