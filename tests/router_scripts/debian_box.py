"""A Debian box in a folder: made by debootstrap once a run, used as layers, booted with a real systemd.

A box is an overlay on the plain system or on another box, so that each test has one of its own within a second.
It is used by ``chroot``, or booted in namespaces of its own: systemd as its first process, cgroups, /proc and /dev
of its own, the network of a namespace of the venue lab.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mounted import Mount

SUITE = "bookworm"
TOOLS = ("debootstrap", "chroot", "unshare", "nsenter", "mount", "dpkg-deb", "apt-get")
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
BOOT_SECONDS = 180

_START = """
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/$device"; done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/outside"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
cd "$root"
pivot_root . run/outside
umount -l /run/outside
exec env -i container=wificrm-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
"""


def missing() -> str:
    """Why no box can be made here, in one sentence; empty when it can."""
    if os.geteuid() != 0:
        return "a Debian box in a folder needs root (it mounts, and runs chroot)"
    tools = [tool for tool in TOOLS if not shutil.which(tool)]
    if tools:
        return f"a Debian box in a folder needs {', '.join(tools)}"
    if not any((home / "cgroup.controllers").exists() and os.access(home, os.W_OK) for home in CGROUPS):
        return "a Debian box that boots needs control groups of version 2 that it may write to"
    return "" if mirror() else f"the apt sources of this machine name no mirror of Debian {SUITE}"


def mirror() -> str:
    """The mirror that this machine's own apt sources name; empty without one."""
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", f"Codename: {SUITE}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return next(iter(found.stdout.splitlines()), "")


def make_plain(folder: Path) -> None:
    """A minimal Debian in *folder*. Raises RuntimeError with the last thing debootstrap said."""
    source = mirror()
    for _ in range(
        2
    ):  # it gives up on the first file that a busy mirror does not hand out, and keeps the others
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", SUITE, folder, source],
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.returncode:
            break
    else:
        raise RuntimeError(f"debootstrap: {done.stdout[-500:]}")
    (folder / "etc/apt/sources.list").write_text(f"deb {source} {SUITE} main\n")
    (folder / "etc/apt/apt.conf.d/patient").write_text('Acquire::Retries "5";\n')
    (folder / "etc/dpkg/dpkg.cfg.d/in-a-hurry").write_text("force-unsafe-io\n")  # no power cut matters here


class Box:
    """A system of its own on top of *layers*, the uppermost first. Close it; it may then be a layer itself."""

    def __init__(self, folder: Path, *layers: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.upper = folder / "upper"
        for each in (self.root, self.upper, folder / "work"):
            each.mkdir(parents=True)
        self._init: int | None = None
        self._started: subprocess.Popen[bytes] | None = None
        self._cgroup: Path | None = None
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={folder / 'work'}"
        self._mount = Mount(self.root, "-t", "overlay", "overlay", "-o", options)

    # -- while it is off: by chroot ---------------------------------------------------------------

    def run(
        self, *command: str, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* in it, booted or not. Raises RuntimeError with what it said when it fails."""
        clean = [
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive",
        ]
        done = subprocess.run(
            [*self._inside(), *clean, *command], capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def _inside(self) -> list[str]:
        if self._init:
            return ["nsenter", "-t", str(self._init), "-a"]
        alone = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            f"--mount-proc={self.root / 'proc'}",
        ]
        return [*alone, "chroot", str(self.root)]

    def path(self, name: str) -> Path:
        """The file *name* of it, as seen from here."""
        return (Path(f"/proc/{self._init}/root") if self._init else self.root) / name.lstrip("/")

    # -- booted -----------------------------------------------------------------------------------

    def boot(self, *, inside: Sequence[str] = ()) -> None:
        """Start it, with systemd as its first process; returns when it is up.

        *inside* is a command prefix, say into a network namespace. Raises RuntimeError when it does not come up.
        """
        self._cgroup = Path(tempfile.mkdtemp(prefix="wificrm-test-", dir=_cgroup_home()))
        script = f'echo $$ >{self._cgroup}/cgroup.procs; exec "$@"'
        alone = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child"]
        with (self.folder / "console.log").open("wb") as console:
            self._started = subprocess.Popen(
                ["sh", "-c", script, "sh", *inside, *alone, "sh", "-c", _START, "sh", self.root],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        self._mount.ends_with(self._started.pid)
        until = time.monotonic() + BOOT_SECONDS
        while not self._is_up():
            if time.monotonic() > until or self._started.poll() is not None:
                raise RuntimeError(
                    f"the box does not boot: {(self.folder / 'console.log').read_text()[-800:]}"
                )
            time.sleep(0.1)

    def _is_up(self) -> bool:
        assert self._started is not None
        below = Path(f"/proc/{self._started.pid}/task/{self._started.pid}/children").read_text().split()
        with contextlib.suppress(OSError):
            if below and Path(f"/proc/{below[0]}/comm").read_text().strip() == "systemd":
                self._init = int(below[0])
                return self.systemctl("is-active", "basic.target") == "active"
        return False

    def systemctl(self, *words: str) -> str:
        """What systemctl prints; its exit code is not looked at."""
        return self.run("systemctl", "--no-pager", *words, check=False).stdout.strip()

    def shown(self, unit: str, name: str) -> str:
        """The property *name* of *unit*."""
        return self.systemctl("show", "--value", f"--property={name}", unit)

    def journal(self, *words: str) -> str:
        """The journal since the boot."""
        return self.run(
            "journalctl", "--no-pager", "-q", "-b", "-o", "short-monotonic", *words, check=False
        ).stdout

    def halt(self) -> None:
        """Switch it off; what is on its disk stays."""
        if self._started is not None:
            self._started.kill()  # --kill-child: takes the box's first process, and so all of them, along
            self._started.wait(60)
            self._mount.ends_with(None)
            if self._init:
                with contextlib.suppress(OSError):
                    while Path(f"/proc/{self._init}/root/etc").exists():
                        time.sleep(0.05)
        self._init = self._started = None
        if self._cgroup is not None:
            _remove_cgroup(self._cgroup)
            self._cgroup = None

    def close(self) -> None:
        """Switch it off and take the overlay away; `upper` is what differs from the layers below."""
        self.halt()
        self._mount.close()


def _cgroup_home() -> Path:
    return next(home for home in CGROUPS if (home / "cgroup.controllers").exists())


def _remove_cgroup(folder: Path) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            for each in sorted(folder.rglob("*/"), reverse=True):
                each.rmdir()
            folder.rmdir()
            return
        time.sleep(0.05)


@contextlib.contextmanager
def box(folder: Path, *layers: Path) -> Iterator[Box]:
    """A `Box` that is closed at the end."""
    made = Box(folder, *layers)
    try:
        yield made
    finally:
        made.close()
