"""Settings: one TOML file, checked at start with the key, the line and what was expected.

The only module that reads the environment. Every key stands with its default in
``wificrm.example.toml`` and in the README; a test holds the three together.
"""

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from crm.errors import SetupError

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
InterfaceName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{1,15}$")]
HostName = Annotated[
    str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?(\.|$))*$", max_length=253)
]
DEMO_NAMES = {
    "vi": "Trung tâm Phục vụ hành chính công phường Bến Đò",
    "en": "Bến Đò Ward Public Administrative Service Centre",
}
DEFAULT_PATH = Path("/etc/wificrm/wificrm.toml")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the settings file."""


class Venue(Section, frozen=True):
    """The centre this gateway stands in."""

    code: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_\-]{1,32}$")] = "DEMO-P01"
    names: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEMO_NAMES))
    languages: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("vi", "en")
    accent: Annotated[str, msgspec.Meta(pattern=r"^#[0-9a-fA-F]{6}$")] = "#0b5cad"
    questionnaire: str = "nhanh"
    timezone: str = "Asia/Ho_Chi_Minh"
    phone: str = ""


class Network(Section, frozen=True):
    """The guest network: where phones are, and where the Internet is."""

    guest: InterfaceName = "br-guest"
    uplink: InterfaceName = "eth0"
    address4: str = "192.168.50.1/24"
    address6: str = "fd50:7c3a:1::1/64"
    lease: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+[mh]$")] = "2h"
    upstream_dns: tuple[str, ...] = ()
    masquerade: bool = True
    walled_garden: tuple[str, ...] = ()
    off_limits: tuple[str, ...] = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "fc00::/7",
    )

    @property
    def net4(self) -> ipaddress.IPv4Interface:
        """The gateway's IPv4 address and network on the guest side."""
        return ipaddress.IPv4Interface(self.address4)

    @property
    def net6(self) -> ipaddress.IPv6Interface | None:
        """The gateway's IPv6 address and network on the guest side; None: guests get no IPv6."""
        return ipaddress.IPv6Interface(self.address6) if self.address6 else None


class Portal(Section, frozen=True):
    """Where the guest portal listens and what it is called."""

    name: HostName = ""
    port: Port = 8080
    tls_port: Port = 8443
    certificate: str = ""
    key: str = ""


class Console(Section, frozen=True):
    """Where staff sign in; never reachable from the guest network."""

    address: str = "127.0.0.1"
    port: Port = 8081


class Grant(Section, frozen=True):
    """How long a device stays online."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=7 * 24 * 60)] = 240


class Gate(Section, frozen=True):
    """The small privileged process and the socket it listens on."""

    gateway: Literal["gate", "open"] = "gate"
    socket: str = "/run/wificrm/gate.sock"
    group: str = "wificrm"


class StoreSection(Section, frozen=True):
    """Where the two stores are; they must not be the same database."""

    crm: str = "/var/lib/wificrm/crm.db"
    access: str = "/var/lib/wificrm/access.db"
    password_file: str = ""


class Log(Section, frozen=True):
    """How much is told to the journal."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section, frozen=True):
    """The whole settings file."""

    venue: Venue = Venue()
    network: Network = Network()
    portal: Portal = Portal()
    console: Console = Console()
    grant: Grant = Grant()
    gate: Gate = Gate()
    store: StoreSection = StoreSection()
    log: Log = Log()
    state: str = "/run/wificrm"
    secrets: str = "/var/lib/wificrm/secrets"

    @property
    def tls(self) -> bool:
        """Whether the portal has a name and a certificate, so that RFC 8908 can be offered."""
        return bool(self.portal.name and self.portal.certificate and self.portal.key)


def load_settings(path: Path) -> Settings:
    """Read and check the file at *path*. Raises `SetupError` naming file, line, key and expectation."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise SetupError(
            f"{path}: no such file; copy wificrm.example.toml there, or name one with --config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: cannot be read: {error}") from None
    return _with_password(parse_settings(text, str(path)))


def _with_password(settings: Settings) -> Settings:
    """Put the database password, from ``WIFICRM_DATABASE_PASSWORD`` or its file, into the stores' addresses."""
    password = os.environ.get("WIFICRM_DATABASE_PASSWORD", "")
    if not password and settings.store.password_file:
        try:
            password = Path(settings.store.password_file).read_text("utf-8").strip()
        except OSError as error:
            raise SetupError(
                f"store.password_file: {settings.store.password_file}: {error.strerror}"
            ) from None
    if not password:
        return settings
    stores = {
        name: re.sub(
            r"^(postgresql://[^:@/]+)@", lambda user: f"{user.group(1)}:{quote(password, safe='')}@", dsn
        )
        for name, dsn in (("crm", settings.store.crm), ("access", settings.store.access))
    }
    return msgspec.structs.replace(settings, store=msgspec.structs.replace(settings.store, **stores))


def parse_settings(text: str, name: str = "settings") -> Settings:
    """Check *text*; *name* stands before the line number in errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{name}: not TOML: {error}") from None
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise SetupError(_explain(error, text, name)) from None
    for key, problem in _check_meaning(settings):
        raise SetupError(f"{name}:{_line_of(text, key)}: {key}: {problem}")
    return settings


def _explain(error: msgspec.ValidationError, text: str, name: str) -> str:
    message = str(error)
    path = re.search(r" - at `\$\.?([^`]*)`", message)
    key = path.group(1) if path else ""
    expectation = re.sub(r" - at `[^`]*`", "", message)
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown:
        key = f"{key}.{unknown.group(1)}" if key else unknown.group(1)
        expectation = "there is no such setting; wificrm.example.toml lists them all"
    return f"{name}:{_line_of(text, key)}: {key or 'the file'}: {expectation}"


def _line_of(text: str, key: str) -> int:
    """The line (from 1) on which the dotted *key* is set; the nearest table header or 1 when it is not."""
    parts = re.sub(r"\[[^\]]*\]", "", key).split(".")
    table, found = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header:
            table = header.group(1)
            if table == parts[0]:
                found = number
            continue
        assigned = re.match(r"\s*([A-Za-z0-9_\-.\"]+)\s*=", line)
        if assigned and ".".join(filter(None, [table, assigned.group(1).strip('"')])) in (
            key,
            ".".join(parts[:2]),
        ):
            return number
    return found


def _check_meaning(settings: Settings) -> list[tuple[str, str]]:
    """What the types cannot say: [(key, what is wrong and what was expected)]."""
    return [
        *_check_network(settings.network),
        *_check_venue(settings.venue),
        *_check_portal(settings.portal, settings.console),
        *_check_stores(settings.store),
    ]


def _check_network(network: Network) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    for key, text, kind, example in (
        ("network.address4", network.address4, ipaddress.IPv4Interface, "192.168.50.1/24"),
        ("network.address6", network.address6, ipaddress.IPv6Interface, "fd50:7c3a:1::1/64"),
    ):
        try:
            if (text or key == "network.address4") and kind(text).network.num_addresses < 4:
                problems.append((key, f"the network is too small for guests; expected e.g. {example}"))
        except ValueError:
            problems.append((key, f"expected an address with its prefix, e.g. {example}"))
    problems += [
        ("network.upstream_dns", f"{server!r} is not an IP address such as 9.9.9.9")
        for server in network.upstream_dns
        if not _is_address(server)
    ]
    problems += [
        ("network.walled_garden", f"{host!r} is not a host name such as dichvucong.gov.vn")
        for host in network.walled_garden
        if not re.fullmatch(r"([a-z0-9]([a-z0-9\-]*[a-z0-9])?\.)+[a-z]{2,}", host)
    ]
    return problems


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_stores(store: StoreSection) -> list[tuple[str, str]]:
    if store.crm == store.access:
        return [("store.access", "must not be the crm store: answers and devices are kept apart")]
    return []


def _check_portal(portal: Portal, console: Console) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    if not _is_address(console.address):
        problems.append(("console.address", "expected an IP address such as 127.0.0.1"))
    if bool(portal.certificate) != bool(portal.key):
        problems.append(("portal.key", "certificate and key go together; set both or none"))
    if portal.certificate and not portal.name:
        problems.append(
            ("portal.name", "a certificate needs the name it was made for, e.g. portal.example.vn")
        )
    if len({portal.port, portal.tls_port, console.port}) < 3:
        problems.append(("portal.port", "portal.port, portal.tls_port and console.port must differ"))
    return problems


def _check_venue(venue: Venue) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    try:
        ZoneInfo(venue.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        problems.append(("venue.timezone", "expected a name such as Asia/Ho_Chi_Minh"))
    for language in venue.languages:
        if not re.fullmatch(r"[a-z]{2,3}", language):
            problems.append(("venue.languages", f"{language!r} is not a language code such as vi or en"))
        elif language not in venue.names:
            problems.append(
                ("venue.names", f"the name in {language!r} is missing (venue.languages offers it)")
            )
    return problems


def secret(settings: Settings, name: str) -> bytes:
    """The secret called *name*: ``WIFICRM_<NAME>``, or a file in ``secrets`` made on first use (0600).

    32 random bytes when it is ours to make. Raises `SetupError` when the folder cannot be written.
    """
    given = os.environ.get(f"WIFICRM_{name.upper()}")
    if given:
        return given.encode()
    path = Path(settings.secrets) / name
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(32))
        return path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path}: the secret cannot be kept there: {error.strerror}") from None


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, without what must not be printed."""
    shown: dict[str, Any] = msgspec.to_builtins(settings)
    for key in ("crm", "access"):
        shown["store"][key] = re.sub(r"://[^@/]*@", "://***@", shown["store"][key])
    return shown
