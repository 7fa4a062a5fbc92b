"""The settings file: TOML (UCI on OpenWrt), checked at start with the key, the line and what was expected."""

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from crm.commands_here import to_install
from crm.errors import SetupError
from crm.network_checks import check_networks, is_address
from crm.settings import Settings, StoreSection, Venue, given_secret
from crm.uci import is_uci, read_uci

MAX_SOCKET_PATH = 107
"""Bytes; unix(7): 108 with the zero at its end."""

Finder = Callable[[str], tuple[int, str]]
"""On which line a dotted key stands, and what it is called in the file."""


def load_settings(path: Path, name: str = "") -> Settings:
    """Read and check the file at *path*. Raises `SetupError` naming file (as *name*), line, key and expectation."""
    try:
        text = path.read_text("utf-8-sig")  # Windows' editors write a mark before the first line
    except FileNotFoundError:
        raise SetupError(
            f"{path}: no such file; copy wificrm.example.toml there, or name one with --config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: cannot be read: {error}") from None
    return _with_password(parse_settings(text, name or str(path)))


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
    uci = is_uci(text)
    raw, find = _read_uci(text, name) if uci else _read_toml(text, name)
    _spread_grant(raw)
    try:
        settings = msgspec.convert(raw, Settings, strict=not uci)  # in UCI all values are text
    except msgspec.ValidationError as error:
        example = "/usr/share/wificrm/wificrm.config" if uci else "wificrm.example.toml"
        raise SetupError(_explain(error, find, name, example)) from None
    for key, problem in _check_meaning(settings):
        line, shown = find(key)
        raise SetupError(f"{name}:{line}: {shown}: {problem}")
    return settings


def _read_toml(text: str, name: str) -> tuple[dict[str, Any], Finder]:
    try:
        return tomllib.loads(text), lambda key: (_line_of(text, key), key)
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{name}: not TOML: {error}") from None


def _read_uci(text: str, name: str) -> tuple[dict[str, Any], Finder]:
    raw, origin = read_uci(text, name)
    return raw, origin.find


def _spread_grant(raw: dict[str, Any]) -> None:
    """Make a lone ``[network]`` the only one of several, and give each place the box-wide grant it overrides.

    A box that only serves routers elsewhere names no network and has none.
    """
    routers = raw.get("router", [])
    networks = raw.get("network")
    if isinstance(networks, dict):
        networks = raw["network"] = [networks]
    elif networks is None:
        networks = raw["network"] = [] if routers else [{}]
    common = raw.get("grant", {})
    for place in (each for table in (networks, routers) if isinstance(table, list) for each in table):
        if isinstance(place, dict) and isinstance(common, dict):
            own = place.get("grant", {})
            place["grant"] = common | own if isinstance(own, dict) else own


def _explain(error: msgspec.ValidationError, find: Finder, name: str, example: str) -> str:
    message = str(error)
    path = re.search(r" - at `\$\.?([^`]*)`", message)
    key = path.group(1) if path else ""
    expectation = re.sub(r" - at `[^`]*`", "", message)
    expectation = expectation.replace("`array`, got `str`", "a list (in UCI: list, not option)")
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown:
        key = f"{key}.{unknown.group(1)}" if key else unknown.group(1)
        expectation = f"there is no such setting; {example} lists them all"
    line, shown = find(key)
    return f"{name}:{line}: {shown or 'the file'}: {expectation}"


def _line_of(text: str, key: str) -> int:
    """The line (from 1) on which the dotted *key* is set; the nearest table header or 1 when it is not.

    ``network[1].lease`` is looked for in the second ``[[network]]``.
    """
    index = re.match(r"[a-z_]+\[([0-9]+)\]", key)
    skip = int(index.group(1)) + 1 if index else 0
    parts = re.sub(r"\[[^\]]*\]", "", key).split(".")
    wanted = {".".join(parts[:length]) for length in range(2, len(parts) + 1)} or {key}
    wanted |= {key} if len(parts) == 1 else set()
    table, found = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header:
            table = header.group(1)
            if table == parts[0]:
                skip -= 1
                found = number if skip == 0 or not index else found
            continue
        assigned = re.match(r"\s*([A-Za-z0-9_\-.\"]+)\s*=", line)
        here = ".".join(filter(None, [table, assigned.group(1).strip('"')])) if assigned else ""
        if here in wanted and (skip == 0 or not index):
            return number
    return found


def _check_meaning(settings: Settings) -> list[tuple[str, str]]:
    """What the types cannot say: [(key, what is wrong and what was expected)]."""
    return [
        *check_networks(settings),
        *_check_venue(settings.venue),
        *_check_listening(settings),
        *_check_stores(settings.store),
        *_check_connection_log(settings),
    ]


def _check_stores(store: StoreSection) -> list[tuple[str, str]]:
    if store.crm == store.access:
        return [("store.access", "must not be the crm store: answers and devices are kept apart")]
    return []


def _check_connection_log(settings: Settings) -> list[tuple[str, str]]:
    section = settings.connection_log
    if section.path in (settings.store.crm, settings.store.access):
        return [("connection_log.path", "must be a file of its own: nothing joins connections to answers")]
    if section.on and not section.public_key:
        return [("connection_log.public_key", "is missing; wificrm connections keygen makes one")]
    return []


def _check_listening(settings: Settings) -> list[tuple[str, str]]:
    portal = settings.portal
    problems: list[tuple[str, str]] = []
    if not is_address(settings.console.address):
        problems.append(("console.address", "expected an IP address such as 127.0.0.1"))
    if bool(portal.certificate) != bool(portal.key):
        problems.append(("portal.key", "certificate and key go together; set both or none"))
    if portal.certificate and not portal.name:
        problems.append(
            ("portal.name", "a certificate needs the name it was made for, e.g. portal.example.vn")
        )
    if len(os.fsencode(settings.gate.socket)) > MAX_SOCKET_PATH:
        problems.append(("gate.socket", f"a socket's path has at most {MAX_SOCKET_PATH} bytes"))
    ports = (portal.port, portal.tls_port, portal.router_port, settings.console.port, settings.metrics.port)
    if len(set(ports)) < len(ports):
        problems.append(
            (
                "portal.port",
                "portal.port, .tls_port and .router_port, console.port and metrics.port must all differ",
            )
        )
    if not is_address(settings.metrics.address):
        problems.append(("metrics.address", "expected an IP address such as 127.0.0.1"))
    if settings.watch.webhook and not _is_web_address(settings.watch.webhook):
        problems.append(("watch.webhook", "expected an address such as https://chat.example.vn/hooks/wifi"))
    return problems


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(re.fullmatch(r"https?://\S+", text) and parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        return False


def _check_venue(venue: Venue) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    try:
        ZoneInfo(venue.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, such as "Asia"
        expected = "expected a name such as Asia/Ho_Chi_Minh"
        if not available_timezones():  # as on a bare OpenWrt
            install = to_install("tzdata", "zoneinfo-core zoneinfo-asia")
            expected = f"this system knows of no time zones: {install}"
        problems.append(("venue.timezone", expected))
    for language in venue.languages:
        if not re.fullmatch(r"[a-z]{2,3}", language):
            problems.append(("venue.languages", f"{language!r} is not a language code such as vi or en"))
        elif language not in venue.names:
            problems.append(
                ("venue.names", f"the name in {language!r} is missing (venue.languages offers it)")
            )
    return problems
