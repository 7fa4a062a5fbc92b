"""The settings file: TOML, checked at start with the key, the line and what was expected."""

import ipaddress
import re
import tomllib
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from crm.errors import SetupError
from crm.settings import Console, Network, Portal, Settings, StoreSection, Venue, given_secret


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
    password = given_secret("database_password")
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
