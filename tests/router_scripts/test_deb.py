"""The Debian package: built without root, installed, upgraded, taken back and removed on real systems.

One debootstrap a run; each test has an overlay of its own on the box that the package was installed on. Some are used
by ``chroot``, as an image is made; others are booted, with systemd, a network of the venue lab, and phones.
"""

import concurrent.futures
import contextlib
import hashlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from crm.version import VERSION
from tests.lab import journey, namespace
from tests.lab.certificates import Authority
from tests.lab.internet import RESOLVER4, STRAY4, Internet
from tests.lab.namespace import Namespace, Run
from tests.lab.phone import Phone
from tests.lab.venue import eventually
from tests.router_scripts.debian_box import Box, box, make_plain, missing

pytestmark = pytest.mark.lab

PROJECT = Path(__file__).parents[2]
NEWER = "99.0"
SETTINGS, DATA = "/etc/wificrm/wificrm.toml", "/var/lib/wificrm"
GONE = "usr/lib/wificrm/captive/commands/report.py"
"""A module that the newer release no longer has."""
NEXT_STEP = '''"""What a later release needs."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{new}", "{old}"


def upgrade() -> None:
    op.create_table("later", sa.Column("id", sa.Integer, primary_key=True))
'''
PAUSE = 30
"""Seconds: a machine as busy as it may be stands still for less; who is shut out is so for longer, or hears so."""
UNITS = ("gateway", "mend", "gate", "advertise", "watch", "")


class Made(NamedTuple):
    """Two builds of the same source, a newer release, and the systems: plain, and with the package on it."""

    packages: tuple[Path, Path]
    newer: Path
    layers: tuple[Path, ...]


def unit(name: str) -> str:
    return f"wificrm-{name}.service" if name else "wificrm.service"


def build(folder: Path, **environment: str) -> Path:
    """The package built from a clean checkout in *folder*, by a process without any capability."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
    folder.mkdir(parents=True)
    there = b"\0".join(
        name for name in tracked.split(b"\0") if name and (PROJECT / os.fsdecode(name)).exists()
    )
    packed = subprocess.run(
        ["tar", "-C", PROJECT, "--null", "-T", "-", "-c"], input=there, capture_output=True, check=True
    )
    subprocess.run(["tar", "-C", folder, "-x"], input=packed.stdout, check=True)
    has_pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    python = "/usr/bin/python3" if has_pip.returncode else sys.executable
    day = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    fixed = {"PYTHON": python, "DEB_LEVEL": "1", "SOURCE_DATE_EPOCH": day.stdout.strip()}
    patient = {"PIP_RETRIES": "10", "PIP_DEFAULT_TIMEOUT": "60"}
    subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "router_scripts/debian/package/build"],
        cwd=folder, env={**os.environ, **patient, **fixed, **environment}, check=True, capture_output=True,
    )  # fmt: skip
    (package,) = (folder / "dist").glob("wificrm_*.deb")
    return package


def release(package: Path, target: Path) -> Path:
    """*package* as a later release at *target*: a module less, and a step more of the schema of answers."""
    with contextlib.ExitStack() as stack:
        root = target.with_suffix(".folder")
        stack.callback(shutil.rmtree, root)
        subprocess.run(["dpkg-deb", "-R", package, root], check=True)
        for name, pattern, new in (
            ("DEBIAN/control", r"^Version: .*$", f"Version: {NEWER}"),
            ("DEBIAN/postinst", r"^RELEASE=.*$", f"RELEASE={NEWER}"),
            ("usr/lib/wificrm/crm/version.py", r"^VERSION = .*$", f'VERSION = "{NEWER}"'),
        ):
            text, count = re.subn(pattern, new, (root / name).read_text(), flags=re.MULTILINE)
            assert count == 1, name
            (root / name).write_text(text)
        (root / GONE).unlink()
        steps = root / "usr/lib/wificrm/crm/migrations"
        old = max(path.name for path in (steps / "versions").glob("r*.py"))[1:5]
        new = f"{int(old) + 1:04}"
        (steps / f"versions/r{new}_later.py").write_text(NEXT_STEP.format(new=new, old=old))
        head = steps / "__init__.py"
        head.write_text(head.read_text().replace(f'HEAD = "{old}"', f'HEAD = "{new}"'))
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, target],
            check=True,
            capture_output=True,
        )
    return target


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Everything that the tests share, made at once; hundreds of megabytes, and gone afterwards."""
    if reason := missing() or namespace.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("deb")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        plain = pool.submit(make_plain, folder / "plain")
        first = pool.submit(build, folder / "one", TZ="Asia/Ho_Chi_Minh")
        second = pool.submit(build, folder / "elsewhere" / "two", TZ="America/Lima", LANG="C")
        packages = first.result(), second.result()
        newer = pool.submit(release, packages[0], folder / "newer.deb")
        plain.result()
    with box(folder / "installed", folder / "plain") as installed:
        shutil.copy(packages[0], installed.path("/root/wificrm.deb"))
        shutil.copy(newer.result(), installed.path("/root/newer.deb"))
        installed.run("apt-get", "update", "-qq")
        for each in ("ifupdown", "/root/wificrm.deb"):  # who keeps networks on most boxes
            installed.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", each)
    yield Made(packages, newer.result(), (installed.upper, folder / "plain"))
    shutil.rmtree(folder)


@pytest.fixture
def image(made: Made, tmp_path: Path) -> Iterator[Box]:
    """The box that the package was installed on, not running."""
    with box(tmp_path / "box", *made.layers) as has:
        yield has
    shutil.rmtree(tmp_path)


# -- the package itself ---------------------------------------------------------------------------------------


def test_the_same_source_gives_the_same_package(made: Made):
    one, two = (hashlib.sha256(path.read_bytes()).hexdigest() for path in made.packages)
    assert one == two


def test_the_package_holds_what_runs_and_no_more(made: Made):
    listing = subprocess.run(
        ["dpkg-deb", "-c", made.packages[0]], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 5) for line in listing.splitlines()]
    names = [row[5].removeprefix(".") for row in rows]
    assert {row[1] for row in rows} == {"root/root"}
    assert not [row[0] for row in rows if row[0][8] == "w" and row[0][0] != "l"]  # for everybody to write
    odd = re.compile(
        r"__pycache__|\.pyc|/tests?/|/RECORD$|direct_url|\.egg-info|\.(c|pyx|h)$|" + re.escape(str(PROJECT))
    )
    assert [name for name in names if odd.search(name)] == []
    wanted = {line.split("==")[0].replace("-", "_") for line in (PROJECT / "requirements.lock").read_text().splitlines()
              if "win32" not in line}  # fmt: skip
    there = {Path(name).name.split("-")[0].lower() for name in names if name.endswith(".dist-info/")}
    assert there == wanted
    assert made.packages[0].stat().st_size < 12_000_000
    assert "/etc/" not in names  # so dpkg never asks what to do with somebody's settings


# -- on a box that does not run, as images are made -----------------------------------------------------------


def install(on: Box, name: str, *environment: str) -> subprocess.CompletedProcess[str]:
    """``dpkg -i`` of one of the two packages."""
    return on.run("env", *environment, "dpkg", "--force-downgrade", "-i", f"/root/{name}.deb", check=False)


def version(on: Box) -> str:
    return on.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", "wificrm").stdout


def links(on: Box) -> set[str]:
    """The units that start with the box."""
    return {path.name for path in on.path("/etc/systemd/system").glob("*.wants/wificrm*")}


def test_installing_leaves_a_box_ready_to_start(image: Box):
    assert image.run("wificrm", "--version").stdout == f"wificrm {VERSION}\n"
    assert image.run("dpkg", "--verify", "wificrm").stdout == ""
    assert image.run("id", "-gn", "wificrm-gate").stdout == "wificrm\n"
    assert image.run("stat", "-c", "%U:%G %a", DATA).stdout == "wificrm:wificrm 750\n"
    tomllib.loads(image.path(SETTINGS).read_text())
    assert links(image) >= {*map(unit, UNITS), "wificrm-backup.timer"}
    compiled = list(image.path("/usr/lib/wificrm/captive").glob("__pycache__/cli.*.pyc"))
    assert len(compiled) == 1
    told = image.run("wificrm", "doctor", check=False)
    assert told.returncode in (0, 1)
    assert "Traceback" not in told.stderr


def test_the_demo_plays_from_the_package(image: Box):
    script = """
        ip link set lo up
        runuser -u nobody -- wificrm demo --port 8000 --data /tmp/demo >/tmp/said 2>&1 &
        for _ in $(seq 600); do
            python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/').status)" 2>/tmp/no && exit
            sleep 0.2
        done
        cat /tmp/said
    """
    assert image.run("unshare", "--net", "sh", "-c", script).stdout == "200\n"


def test_settings_and_data_outlive_upgrade_and_removal_but_not_purge(image: Box):
    settings = image.path(SETTINGS)
    settings.write_text(settings.read_text() + "\n# somebody's own\n")
    image.path(f"{DATA}/kept").write_text("data")
    image.run("systemctl", "disable", "wificrm-watch")
    before = settings.read_text()

    def kept() -> bool:
        return settings.read_text() == before and image.path(f"{DATA}/kept").read_text() == "data"

    assert install(image, "newer").returncode == 0
    assert (version(image), kept()) == (f"{NEWER} installed", True)
    assert "wificrm-watch.service" not in links(image)
    assert list((image.path("/") / GONE).parent.rglob("report*")) == []

    image.run("dpkg", "--remove", "wificrm")
    assert kept()
    assert not image.path("/usr/lib/wificrm").exists()
    assert not image.path("/usr/bin/wificrm").exists()

    assert install(image, "wificrm").returncode == 0
    assert (version(image), kept()) == (f"{VERSION} installed", True)
    assert "wificrm-watch.service" not in links(image)
    assert "wificrm-gate.service" in links(image)

    image.run("dpkg", "--purge", "wificrm")
    left = image.run("find", "/", "-xdev", "-name", "*wificrm*", "-not", "-path", "/root/*").stdout
    assert left == ""
    named = image.run(
        "grep", "-rl", "wificrm", "/etc", "/var/lib", "--exclude-dir=dpkg", check=False
    ).stdout.split()
    assert {name.rstrip("-") for name in named} <= {
        "/etc/passwd",
        "/etc/group",
        "/etc/shadow",
        "/etc/gshadow",
    }


def test_an_upgrade_without_a_backup_is_refused_and_changes_nothing(image: Box):
    image.run("runuser", "-u", "wificrm", "--", "wificrm", "migrate")
    image.path(f"{DATA}/backups").touch()  # where a folder should be
    refused = install(image, "newer")
    assert refused.returncode != 0
    assert f"release {VERSION} goes on" in refused.stderr
    assert version(image) == f"{VERSION} installed"
    assert image.run("wificrm", "--version").stdout == f"wificrm {VERSION}\n"
    assert install(image, "newer", "WIFICRM_WITHOUT_BACKUP=1").returncode == 0
    assert version(image) == f"{NEWER} installed"


def script(on: Box, name: str, *words: str) -> str:
    """What the package's own script *name* said; it must end well."""
    done = on.run(f"/var/lib/dpkg/info/wificrm.{name}", *words, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_way_back_asks_for_answers_only_where_the_newer_release_changed_their_store(image: Box):
    """The portal puts an access store aside that is too new; whoever restores loses the answers given since."""
    image.run("runuser", "-u", "wificrm", "--", "wificrm", "migrate")
    for name, asks in (("access", False), ("crm", True)):
        with contextlib.closing(sqlite3.connect(image.path(f"{DATA}/{name}.db"))) as store:
            store.execute("UPDATE alembic_version SET version_num = '9999'")
            store.commit()
        assert ("put back the answers" in script(image, "postinst", "configure", NEWER)) == asks, name


def test_radios_go_off_and_on_with_the_package_but_stay_as_they_were_switched_by_hand(image: Box):
    image.path("/etc/wificrm/wifi.conf").write_text("radios=wlan0\n")
    radio = image.path("/etc/hostapd/wlan0.conf")
    script(image, "postinst", "configure", VERSION)
    assert not radio.exists()
    image.run("wificrm-hostapd", "apply")
    script(image, "prerm", "remove")
    assert not radio.exists()
    script(image, "postinst", "abort-remove")
    assert radio.exists()


def test_a_full_disk_and_a_lost_program_leave_no_package_half_done(image: Box):
    # Nothing can be compiled into a folder that is none.
    shutil.rmtree(image.path("/usr/lib/wificrm/captive/__pycache__"))
    image.path("/usr/lib/wificrm/captive/__pycache__").touch()
    script(image, "postinst", "abort-upgrade", NEWER)
    script(image, "postinst", "configure", VERSION)
    shutil.rmtree(image.path("/usr/lib/wificrm"))
    image.run("dpkg", "--remove", "wificrm")
    assert "installed" not in version(image)


# -- on a box that runs ---------------------------------------------------------------------------------------


class Venue:
    """The box, booted, between an internet and its guests; *trouble* is done to it before."""

    def __init__(
        self,
        folder: Path,
        layers: tuple[Path, ...],
        stack: contextlib.ExitStack,
        trouble: Callable[[Box], None] | None = None,
    ) -> None:
        namespace.sweep()
        self.run = Run()
        stack.callback(self.run.close)
        self.authority = Authority(self.run.folder / "authority")
        self.internet = Internet(self.run, self.authority)
        stack.callback(self.internet.close)
        self.network = Namespace(self.run, "gw")
        stack.callback(self.network.close)
        self.box = stack.enter_context(box(folder, *layers))
        settings = tomllib.loads(self.box.path(SETTINGS).read_text())
        self.internet.wire(self.network, settings["uplink"]["interface"])
        self.box.path("/etc/resolv.conf").write_text(f"nameserver {RESOLVER4}\n")
        self.phones: list[Phone] = []
        stack.callback(self._take_phones_home)
        if trouble:
            trouble(self.box)
        self.box.boot(inside=["ip", "netns", "exec", self.network.name])
        self.internet.wait()
        if not trouble:
            self.wait()

    def wait(self) -> None:
        """Return when guests are served."""
        assert eventually(self.serves, within=60), self.box.journal("-u", "wificrm*")[-3000:]

    def serves(self) -> bool:
        """Whether portal and gate are ready for guests."""
        said = self.box.journal("-u", "wificrm.service", "-u", "wificrm-gate.service")
        return "event='serving'" in said and "event='gate open'" in said

    def _take_phones_home(self) -> None:
        for phone in self.phones:
            phone.close()

    def phone(self) -> Phone:
        """A phone on the Wi-Fi."""
        made = Phone(self.run, self.network, "br-guest", len(self.phones) + 1, self.authority.certificate)
        self.phones.append(made)
        made.join(timeout=30)
        return made


@pytest.fixture
def venue(made: Made, tmp_path: Path) -> Iterator[Venue]:
    with contextlib.ExitStack() as stack:
        yield Venue(tmp_path / "box", made.layers, stack)


class Often(threading.Thread):
    """Does something again and again until `end`; remembers when it went well."""

    def __init__(self, attempt: Callable[[], None], after: Callable[[], None] = lambda: None) -> None:
        super().__init__(daemon=True)
        self._attempt, self._after = attempt, after
        self._ending = threading.Event()
        self.good: list[float] = []
        self.failed: list[str] = []
        self.start()

    def run(self) -> None:
        while not self._ending.wait(0.05):
            try:
                self._attempt()
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))
            else:
                self.good.append(time.monotonic())
        self._after()

    def end(self) -> float:
        """Stop; the longest time, in seconds, between two that went well."""
        self._ending.set()
        self.join(60)
        return max(later - earlier for earlier, later in zip(self.good, self.good[1:], strict=False))


def talk(phone: Phone) -> Often:
    """One TCP connection through the box on which something is said and answered all the time."""
    line = phone.connect(STRAY4, 9999, timeout=30)

    def say() -> None:
        line.sendall(b"x" * 100)
        got = 0
        while got < 100:
            piece = line.recv(100 - got)
            assert piece, "hung up"
            got += len(piece)

    return Often(say, line.close)


def probe(phone: Phone) -> Often:
    """A phone that looks for the portal, ever anew."""

    def look() -> None:
        answer = phone.get(
            "http://captive.apple.com/hotspot-detect.html", address="198.51.100.99", timeout=60
        )
        assert answer.status == 302

    return Often(look)


def test_a_booted_box_is_a_venue_and_its_processes_can_do_little(venue: Venue):
    phone = venue.phone()
    assert not journey.is_online(phone)
    journey.skip(phone)
    assert journey.is_online(phone)
    assert venue.box.systemctl("--failed", "--plain", "--no-legend") == ""
    for name in UNITS:
        assert venue.box.shown(unit(name), "NRestarts") == "0", venue.box.journal("-u", unit(name))
    for name, capabilities in (("", 0), ("gate", 1 << 12), ("advertise", 1 << 13), ("watch", 1 << 13)):
        pid = venue.box.shown(unit(name), "MainPID")
        status = venue.box.run("cat", f"/proc/{pid}/status").stdout
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (told["NoNewPrivs"], told["Seccomp"], int(told["CapEff"], 16)) == ("1", "2", capabilities), (
            name
        )
    venue.box.run("systemctl", "start", "wificrm-backup.service")
    (backup,) = venue.box.path(f"{DATA}/backups").iterdir()
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_box_that_started_with_a_mistake_in_its_settings_comes_up_once_it_is_corrected(
    made: Made, tmp_path: Path
):
    right: list[str] = []

    def break_settings(on: Box) -> None:
        settings = on.path(SETTINGS)
        right.append(settings.read_text())
        settings.write_text(right[0] + "\n[venue.typo\n")

    with contextlib.ExitStack() as stack:
        venue = Venue(tmp_path / "box", made.layers, stack, break_settings)
        assert eventually(lambda: venue.box.shown(unit(""), "NRestarts") != "0", within=60, every=0.2)
        assert not venue.serves()
        again = partial(venue.box.run, "systemctl", "reload-or-restart", "wificrm-gateway", check=False)
        for _ in range(
            6
        ):  # systemd itself would refuse the sixth within ten seconds, and the right one after it
            assert again().returncode
        # What the portal has just asked systemd to start still reads the mistake, and lends us its failure.
        assert eventually(
            lambda: venue.box.shown(unit("gateway"), "ActiveState") == "failed", within=60, every=0.02
        )
        venue.box.path(SETTINGS).write_text(right[0])
        done = again()
        assert done.returncode == 0, venue.box.journal("-u", unit("gateway"))[-3000:]
        venue.wait()
        phone = venue.phone()
        journey.skip(phone)
        assert journey.is_online(phone)

        # The evening guide's command: a mistake stops nothing, what is right is taken up by all.
        settings, portal = venue.box.path(SETTINGS), venue.box.shown(unit(""), "MainPID")
        change = partial(
            venue.box.run, "systemctl", "reload-or-restart", "wificrm-gateway", "wificrm", check=False
        )
        settings.write_text(right[0] + "[venue.typo\n")
        assert change().returncode
        assert venue.box.shown(unit(""), "MainPID") == portal
        venue.box.run("wificrm", "gateway", "check", check=False).stderr.index("wificrm.toml: not TOML")
        settings.write_text(right[0].replace("[[network]]", '[[network]]\nlease = "17m"'))
        done = change()
        assert done.returncode == 0, venue.box.journal("-u", unit("gateway"), "-u", unit(""))[-3000:]
        for name in ("", "gate", "mend", "advertise", "watch"):
            assert eventually(partial(starts_with_what_was_applied, venue.box, name), within=60), name
        assert ",17m\n" in venue.box.path("/run/wificrm/dnsmasq.conf").read_text()
        assert journey.is_online(phone)


def starts_with_what_was_applied(on: Box, name: str) -> bool:
    """Whether the service runs and began after the last `wificrm gateway apply`."""
    began, pid = on.shown(unit(name), "ExecMainStartTimestampMonotonic"), on.shown(unit(name), "MainPID")
    applied = on.run("stat", "-c", "%Y", "/run/wificrm/gateway.json").stdout
    since = on.run("sh", "-c", f"echo $(( $(date +%s) - {applied.strip()} ))").stdout
    return pid != "0" and time.monotonic() - int(began) / 1e6 <= int(since) + 1


def port_67_taken(stack: contextlib.ExitStack, network: Namespace) -> None:
    """Another DHCP server, until *stack* is closed."""
    other = stack.enter_context(network.open_socket(socket.AF_INET, socket.SOCK_DGRAM))
    other.bind(("0.0.0.0", 67))


def test_a_box_without_guests_of_its_own_rests_until_it_has_some(made: Made, tmp_path: Path):
    """No unit fails, none is started again and again, and nothing is masked by hand."""
    right: list[str] = []

    def serve_routers_only(on: Box) -> None:
        settings = on.path(SETTINGS)
        right.append(settings.read_text())
        certificate, key = Authority(tmp_path / "authority").issue("portal", "wifi.example.vn", days=(-1, 60))
        for name, path in (("certificate", certificate), ("key", key)):
            shutil.copy(path, on.path(f"/etc/wificrm/{name}"))
            on.path(f"/etc/wificrm/{name}").chmod(0o644)
        settings.write_text(
            '[portal]\nname = "wifi.example.vn"\ncertificate = "/etc/wificrm/certificate"\n'
            'key = "/etc/wificrm/key"\n[[router]]\nname = "hall1"\n'
        )

    with contextlib.ExitStack() as stack:
        venue = Venue(tmp_path / "box", made.layers, stack, serve_routers_only)
        assert eventually(lambda: "event='serving'" in venue.box.journal("-u", unit("")), within=60)
        time.sleep(2)  # what cannot run would have been started again by now
        assert venue.box.systemctl("--failed", "--plain", "--no-legend") == ""
        assert {venue.box.shown(unit(name), "NRestarts") for name in UNITS} == {"0"}
        assert venue.network.run("nft", "list", "ruleset") == ""

        # It gets guests of its own; at first something is in the way, as it may be at a boot.
        venue.box.path(SETTINGS).write_text(right[0])
        with contextlib.ExitStack() as other:
            port_67_taken(other, venue.network)
            assert venue.box.run("systemctl", "restart", "wificrm-gateway", check=False).returncode
            venue.box.run("systemctl", "restart", "wificrm")
        venue.wait()
        phone = venue.phone()
        assert eventually(lambda: _goes_online(phone), within=60), venue.box.journal("-u", "wificrm*")[-3000:]
        # The unit tells that it failed until it is started again; a removal takes all away nevertheless.
        assert venue.box.shown(unit("gateway"), "ActiveState") == "failed"
        venue.box.run("dpkg", "--remove", "wificrm")
        assert venue.network.run("nft", "list", "ruleset") == ""
        assert {"wificrm", "dnsmasq"} & processes(venue.box) == set()


def test_an_upgrade_and_the_way_back_keep_everybody_online(venue: Venue):
    online, looking = venue.phone(), venue.phone()
    journey.skip(online)
    gateway = venue.box.shown(unit("gateway"), "InvocationID")
    began = venue.box.run("date", "+%s.%N").stdout.strip()
    conversation, looks = talk(online), probe(looking)

    upgraded = install(venue.box, "newer")
    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    (kept,) = venue.box.path(f"{DATA}/backups").iterdir()
    assert f"{VERSION} are kept in {DATA}/backups/{kept.name}" in upgraded.stdout
    looks_before = len(looks.good)
    assert eventually(lambda: len(looks.good) > looks_before, within=60)
    late = venue.phone()
    journey.skip(late)
    assert journey.is_online(late)
    assert (conversation.failed, journey.is_online(online)) == ([], True)
    assert looks.end() < PAUSE
    assert len(looks.failed) <= 1, (
        looks.failed
    )  # who was just taken by the portal that ends is hung up on; nobody is refused

    changes = venue.box.journal("--since", f"@{began}", "_PID=1")
    assert "Stopping wificrm-gateway" not in changes
    order = [changes.index(f"{word} wificrm{part}.service") for word, part in
             (("Reloaded", "-gateway"), ("Started", "-gate"), ("Stopping", ""), ("Started", ""))]  # fmt: skip
    assert order == sorted(order), changes

    back = install(venue.box, "wificrm")
    assert back.returncode == 0
    restore = re.search(r"^wificrm:   (runuser .* wificrm restore (\S+) --yes)$", back.stdout, re.MULTILINE)
    assert restore, back.stdout
    assert restore.group(2) == f"{DATA}/backups/{kept.name}"
    assert (conversation.failed, journey.is_online(online)) == ([], True)
    venue.box.run(*restore.group(1).split())
    venue.box.run("systemctl", "restart", "wificrm")
    later = venue.phone()
    assert eventually(lambda: _goes_online(later), within=60), venue.box.journal("-u", "wificrm.service")[
        -2000:
    ]
    assert conversation.end() < PAUSE
    assert conversation.failed == []
    assert venue.box.shown(unit("gateway"), "InvocationID") == gateway


def _goes_online(phone: Phone) -> bool:
    try:
        journey.skip(phone)
    except OSError:
        return False
    return journey.is_online(phone)


def processes(on: Box) -> set[str]:
    """The names of the programs that run on it."""
    return set(on.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout.split())


def test_removal_leaves_nothing_in_the_kernel(venue: Venue):
    phone = venue.phone()
    journey.skip(phone)
    assert {"wificrm", "dnsmasq"} <= processes(venue.box)
    venue.box.run("dpkg", "--purge", "wificrm")
    assert venue.network.run("nft", "list", "ruleset") == ""
    assert {"wificrm", "dnsmasq"} & processes(venue.box) == set()
    assert venue.box.systemctl("--failed", "--plain", "--no-legend") == ""
    assert venue.box.run("ip", "link", "show", "br-guest", check=False).returncode != 0
    assert sorted(path.name for path in venue.box.path("/run").glob("*wificrm*")) == []
