"""Settings in OpenWrt's own form (UCI, ``/etc/config/wificrm``): the same keys, so that they stand in one place.

A table of the settings file is a section of that type, ``[[network]]`` and ``[[router]]`` are sections with
the place's name, and the terms of a place stand among its options. UCI keeps no empty values: ``none`` is one, and
what is empty here counts as left out, as it is for everybody who asks `uci`.
What only the router needs (SSIDs, radios, ports of switches) is `wificrm-setup`'s and left out here.
"""

import re
import shlex
from typing import Any

from crm.errors import SetupError
from crm.settings import Grant

PLACES = ("network", "router")
ROUTERS_OWN = {"network": {"ssid", "radio", "owe", "port"}}
NOT_OURS = ("wificrm", "thin")
"""Types of sections that speak to the router's scripts alone."""
ON_STORAGE = {
    ("store", "crm"): "crm.db",
    ("store", "access"): "access.db",
    ("connection_log", "path"): "connections.db",
    ("backup", "folder"): "backups",
}
"""Settings that name a place on the disk, and what they are there."""
BOOLEANS = {("uplink", "masquerade"), ("connection_log", "enabled")}
WORDS = {"on": "1", "yes": "1", "enabled": "1", "off": "0", "no": "0", "disabled": "0"}
"""What OpenWrt takes for 1 and 0 besides, and msgspec does not."""


class Origin:
    """Where the settings' dotted keys, as ``network[1].lease``, come from."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._sections: dict[str, str] = {}

    def open(self, prefix: str, kind: str, section: str, line: int) -> None:
        """Keys under *prefix* stand in the section of that *kind* and name ("" for none) that begins on *line*."""
        self._lines.setdefault(prefix, line)
        self._sections.setdefault(prefix, section or f"@{prefix if kind in PLACES else f'{kind}[0]'}")

    def put(self, key: str, line: int) -> None:
        """The dotted *key* is set on *line*."""
        self._lines.setdefault(key, line)

    def find(self, key: str) -> tuple[int, str]:
        """The line on which *key* (or the nearest table around it, or 1) stands, and what `uci set` calls it."""
        prefix, _, rest = key.partition(".")
        rest = re.sub(r"\[[0-9]+\]$", "", rest).removeprefix("grant.").replace("names.", "name_")
        name = ".".join(filter(None, ["wificrm", self._sections.get(prefix, prefix), rest]))
        while key and key not in self._lines:
            key = key.rpartition(".")[0]
        return self._lines.get(key, 1), name


def is_uci(text: str) -> bool:
    """Whether *text* is UCI: its first line that says anything begins a section, as no line of TOML does."""
    said = (line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    first = next(said, [])
    return first[:1] in (["config"], ["package"]) and first[1:2] != ["="]


def read_uci(text: str, name: str) -> tuple[dict[str, Any], Origin]:
    """What `tomllib` would give for the same settings (all values as text), and where each comes from.

    Raises `SetupError` with the line (after *name*) of what is not UCI, and when no storage is named.
    """
    raw: dict[str, Any] = {place: [] for place in PLACES}
    own: dict[str, Any] = {}
    origin = Origin()
    table, kind, prefix = own, "", ""
    for number, words in _statements(text, name):
        match words:
            case ["package", _]:
                continue
            case ["config", kind, *section] if len(section) < 2:
                table, prefix = _open_section(raw, own, kind, section)
                origin.open(prefix, kind, section[0] if section else "", number)
            case ["option", "name", _] if kind in PLACES:
                raise SetupError(f"{name}:{number}: its name is that of its section: config {kind} 'NAME'")
            case ["option" | "list" as form, key, value] if kind:
                if value and key not in ROUTERS_OWN.get(kind, ()):
                    at = _put(table, kind, key, value if form == "option" else [value])
                    origin.put(f"{prefix}.{at}", number)
            case _:
                raise SetupError(f"{name}:{number}: expected config, option or list as in UCI")
    _put_on_storage(raw, own.get("storage", ""), name)
    for network in raw["network"]:
        network.setdefault("interface", f"br-{network['name']}")
    _drop_none(raw)
    return raw, origin


def _statements(text: str, name: str) -> list[tuple[int, list[str]]]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise SetupError(f"{name}:{number}: a quotation mark is left open") from None
        if words:
            found.append((number, words))
    return found


def _open_section(
    raw: dict[str, Any], own: dict[str, Any], kind: str, section: list[str]
) -> tuple[dict[str, Any], str]:
    """The table that the options below belong to, and the keys' prefix in errors."""
    if kind in NOT_OURS:
        return (own if kind == "wificrm" else {}), kind
    if kind not in PLACES:
        return raw.setdefault(kind, {}), kind
    table: dict[str, Any] = {"name": section[0] if section else ""}
    raw[kind].append(table)
    return table, f"{kind}[{len(raw[kind]) - 1}]"


def _put(table: dict[str, Any], kind: str, key: str, value: str | list[str]) -> str:
    """Put *value* where the settings file has it; the dotted key within the table."""
    place = [key]
    if kind in PLACES and key in Grant.__struct_fields__:
        place = ["grant", key]
    elif kind == "venue" and key.startswith("name_"):
        place = ["names", key.removeprefix("name_")]
    for each in place[:-1]:
        table = table.setdefault(each, {})
    before = table.get(place[-1])
    if isinstance(value, list) and before:
        value = [*(before if isinstance(before, list) else [before]), *value]
    elif (kind, key) in BOOLEANS and isinstance(value, str):
        value = WORDS.get(value, value)
    table[place[-1]] = value
    return ".".join(place)


def _put_on_storage(raw: dict[str, Any], storage: str, name: str) -> None:
    if not storage.startswith("/"):
        raise SetupError(
            f"{name}: wificrm.main.storage: name the folder on a disk where answers are to be kept, such as "
            "/mnt/sda1/wificrm"
        )
    raw.setdefault("secrets", f"{storage}/secrets")
    for (table, key), file in ON_STORAGE.items():
        raw.setdefault(table, {}).setdefault(key, f"{storage}/{file}")


def _drop_none(table: dict[str, Any]) -> None:
    for key, value in table.items():
        if value in ("none", ["none"]):
            table[key] = [] if isinstance(value, list) else ""
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                _drop_none(inner)
