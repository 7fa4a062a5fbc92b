"""Our own Debian box as gateway: plan, check, apply, remove, status.

``apply`` puts our nft table into the kernel, lets the kernel forward, and runs our own dnsmasq; ``remove``
takes exactly that away again. What was changed is remembered in the state folder (in memory, so that a
reboot forgets it with the changes). Each may be repeated without harm.
"""

import contextlib
import fcntl
import grp
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from captive.advertise.advertiser import ANNOUNCED, is_advertised
from captive.box.applied import MEMORY, Memory, Wish, mark_of, meant_up, read_memory
from captive.box.check import Part, find_problems
from captive.box.dnsmasq import CONFIGURATION, names_open_hosts, render_dnsmasq
from captive.box.resolver import forget_leases, resolver_pid, start_resolver, stop_resolver
from captive.certificate import judge_served, offered_api
from captive.kernel.bridge_address import keep_addresses
from captive.kernel.firewall import Firewall, FirewallError
from captive.kernel.isolation import isolate_ports, isolation_problems
from captive.kernel.ruleset import render_ruleset
from captive.kernel.sysctls import (
    read_sysctl,
    render_sysctls,
    sysctl_problems,
    wanted_sysctls,
    write_sysctl,
)
from crm.commands_here import to_apply_settings
from crm.errors import SetupError
from crm.settings import Settings


class Status(msgspec.Struct, frozen=True):
    """What stands of the gateway."""

    table: bool
    devices: int
    dnsmasq: bool
    forwarding: bool
    gate: bool
    advertised: bool


def plan(settings: Settings, part: Part | None = None) -> str:
    """What ``apply`` would put where, for people to read; one *part* alone as its program takes it."""
    texts: dict[Part, tuple[str, Callable[[], str]]] = {
        "nftables": ("nft -f -", lambda: render_ruleset(settings)),
        "dnsmasq": (str(Path(settings.state) / CONFIGURATION), lambda: _texts(settings)[1]),
        "sysctl": ("sysctl -p", lambda: render_sysctls(settings)),
    }
    if part:
        return texts[part][1]()
    return "\n".join(f"# {where}\n{text()}" for where, text in texts.values())


def check(settings: Settings, part: Part | None = None) -> list[str]:
    """What is in the way of the gateway (or of one *part* of it): a sentence each; empty when all is well."""
    problems = find_problems(settings, part)
    applied = meant_up(settings)  # before `apply` it is no news that nothing is set
    if applied and part in (None, "sysctl"):
        problems += sysctl_problems(settings)
    if applied and part is None:
        problems += isolation_problems(_bridges(settings))
        if Wish(settings).differs():
            problems.append(f"the settings were changed since they were applied: {to_apply_settings()}")
    if part is None and settings.tls and (fault := judge_served(settings).fault):
        problems.append(f"the portal's certificate: {fault}")
    return problems


def apply(settings: Settings) -> None:
    """Make this box the guests' gateway. Raises `SetupError` with what is in the way."""
    firewall = Firewall(settings)
    with _alone(settings, make=True) as memory:
        # Before anything changes: who looks after it must not put back what other settings said.
        memory.settings = mark_of(settings)
        _write_memory(settings, memory)
        _put_up(settings, firewall, memory)


def mend(settings: Settings) -> None:
    """As `apply`, but a gateway that is (being) taken down stays down. Raises `SetupError`, OSError."""
    firewall = Firewall(settings)
    with contextlib.suppress(FileNotFoundError), _alone(settings, make=False) as memory:
        if meant_up(settings):
            _put_up(settings, firewall, memory)


def is_whole(settings: Settings) -> bool:
    """Whether dnsmasq runs and the kernel forwards, or nobody wants them to; costs a few reads."""
    return not meant_up(settings) or (resolver_pid(settings) is not None and _forwards(settings))


def _put_up(settings: Settings, firewall: Firewall, memory: Memory) -> None:
    _tell(firewall.apply)
    keep_addresses(_bridges(settings))
    isolate_ports(_bridges(settings))
    _set_sysctls(settings, memory)
    api, text = _texts(settings)
    # Written as a whole: the process that advertises looks at it at any moment.
    _write(Path(settings.state) / ANNOUNCED, f"{api}\n".encode())
    configuration = Path(settings.state) / CONFIGURATION
    before = configuration.read_text() if configuration.exists() else ""
    if resolver_pid(settings) and before == text:
        return
    stop_resolver(settings)
    if _open_hosts(before) != _open_hosts(text):
        _tell(firewall.forget_hosts)
    configuration.write_text(text)
    start_resolver(settings)


def _forwards(settings: Settings) -> bool:
    return all(read_sysctl(name) == value for name, value in wanted_sysctls(settings).items())


def remove(settings: Settings) -> None:
    """Take away what ``apply`` put there; leases end with it. Raises `SetupError`."""
    firewall = Firewall(settings)
    state = Path(settings.state)
    if not state.is_dir():
        _tell(firewall.remove)
        return
    with _alone(settings, make=False) as memory:
        # The gate puts a lost table back as long as this file says that the gateway is meant to be up.
        (state / MEMORY).unlink(missing_ok=True)
        stop_resolver(settings)
        forget_leases(settings)
        for name in (CONFIGURATION, ANNOUNCED):
            (state / name).unlink(missing_ok=True)
        for name, value in memory.sysctls.items():
            write_sysctl(name, value)
        _tell(firewall.remove)
        if memory.made_state:
            with contextlib.suppress(OSError):  # somebody else keeps a file in it
                state.rmdir()


def status(settings: Settings) -> Status:
    """What stands: table, devices allowed, dnsmasq, forwarding, gate. Raises `SetupError` when not root."""
    if os.geteuid() != 0:
        raise SetupError("only root can look at the firewall: run it with sudo")
    firewall = Firewall(settings)
    intact = firewall.intact()
    return Status(
        table=intact,
        devices=len(firewall.leases()) if intact else 0,
        dnsmasq=resolver_pid(settings) is not None,
        forwarding=_forwards(settings),
        gate=_listens(settings.gate.socket),
        advertised=is_advertised(),
    )


def make_folder(folder: Path, group: str) -> bool:
    """Make *folder* for our user and *group* alone; whether it had to be made. Raises `SetupError`."""
    if folder.is_dir():
        return False
    try:
        folder.mkdir(mode=0o750, parents=True)
        with contextlib.suppress(KeyError):
            os.chown(folder, -1, grp.getgrnam(group).gr_gid)
    except OSError as error:
        raise SetupError(f"{folder}: this folder cannot be made: {error.strerror}; run as root") from None
    return True


@contextlib.contextmanager
def _alone(settings: Settings, *, make: bool) -> Iterator[Memory]:
    """Hold the lock on the state folder (the folder itself is locked: no file of ours stays behind)."""
    made = make_folder(Path(settings.state), settings.gate.group) if make else False
    handle = os.open(settings.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        memory = read_memory(settings)
        memory.made_state = memory.made_state or made
        yield memory
    except PermissionError as error:
        raise SetupError(f"{error.filename or settings.state}: {error.strerror}; run as root") from None
    finally:
        os.close(handle)


def _open_hosts(configuration: str) -> list[str]:
    return [line for line in configuration.splitlines() if names_open_hosts(line)]


def _bridges(settings: Settings) -> list[str]:
    return [network.interface for network in settings.networks]


def _set_sysctls(settings: Settings, memory: Memory) -> None:
    changes = {name: value for name, value in wanted_sysctls(settings).items() if read_sysctl(name) != value}
    for name in changes:
        memory.sysctls.setdefault(name, read_sysctl(name))
    # Remembered before it is done: a crash in between must not make our values look like the old ones.
    _write_memory(settings, memory)
    for name, value in changes.items():
        write_sysctl(name, value)


def _write_memory(settings: Settings, memory: Memory) -> None:
    _write(Path(settings.state) / MEMORY, msgspec.json.encode(memory))


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(0o644)  # the folder is for our group only
    fresh.replace(path)


def _texts(settings: Settings) -> tuple[str, str]:
    """The API that phones are told of at this moment ("" for none), and dnsmasq's configuration with it."""
    verdict = judge_served(settings)
    api = offered_api(settings, verdict)
    return api, render_dnsmasq(settings, api=api, revocation=verdict.hosts if api else ())


def _tell(change: Callable[[], None]) -> None:
    try:
        change()
    except FirewallError as error:
        hint = "run as root" if os.geteuid() != 0 else "wificrm gateway check says more"
        raise SetupError(f"the firewall was not changed: {error}; {hint}") from None


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(path) == 0
