"""``wificrm router``: keys of thin routers, and which of them are connected."""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from captive.routers.keys import key_path, make_key, read_key
from captive.routers.state import RouterState, read_states
from crm.command_line import add_config, fail, say
from crm.settings import Settings
from crm.settings_file import load_settings


class Shown(msgspec.Struct, frozen=True):
    """One router, as ``--json`` writes it."""

    name: str
    key: bool
    connected: bool
    since: str  # UTC; "" while it is away
    version: str
    devices: int


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Make the key by which a thin router and this portal know each other, and list the routers. Each router "
        "stands in the settings as a [[router]]; docs/thin-routers.md shows the way."
    )
    add_config(command)
    verbs = command.add_subparsers(dest="verb", required=True, metavar="VERB")
    key = verbs.add_parser(
        "key",
        help="print what goes into the settings of the router NAME; its key is made the first time",
        description="The key is a secret: whoever has it can play the router. Hand it over by hand or over ssh.",
    )
    key.add_argument("name", metavar="NAME", help="the name of a [[router]] in the settings")
    key.add_argument(
        "--new", action="store_true", help="make a new key; the former one is worth nothing then"
    )
    listing = verbs.add_parser(
        "list", help="each router: since when it is connected, version, devices online"
    )
    for verb in (key, listing):
        add_config(verb, again=True)
        verb.add_argument("--json", action="store_true", help="the result as JSON")


async def run(args: argparse.Namespace) -> int:
    """Do *args.verb*."""
    settings = load_settings(args.config)
    folder = Path(settings.secrets)
    if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
        return fail(1, f"{folder}: only root and the portal's user may look there; run it with sudo")
    return _list(settings, args) if args.verb == "list" else _key(settings, args)


def _key(settings: Settings, args: argparse.Namespace) -> int:
    names = [router.name for router in settings.routers]
    if args.name not in names:
        there = f"there: {', '.join(names)}" if names else "there is none yet"
        return fail(
            1, f"no [[router]] in the settings is called {args.name!r} ({there}); write one, then try again"
        )
    key = None if args.new else read_key(settings, args.name)
    if key is None:
        if not args.new and key_path(settings, args.name).exists():
            return fail(
                1, f"{key_path(settings, args.name)} cannot be read or holds no key; --new makes another"
            )
        key = make_key(settings, args.name)
    portal = settings.portal
    values = {"name": args.name, "portal": portal.name, "port": str(portal.router_port), "key": key.hex()}
    if args.json:
        return say(msgspec.json.encode(values).decode())
    values = {"enabled": "1"} | values
    lines = "\n".join(f"uci set wificrm.thin.{name}='{value}'" for name, value in values.items())
    return say(
        f"# On the router, once the package wificrm-thin is installed:\n{lines}\nuci commit wificrm\n"
        "service wificrm-thin restart\n\n# On another Linux the same names and values, one a line as name=value, are "
        "/etc/wificrm/thin.conf.\n# Then, here: wificrm router list"
    )


def _list(settings: Settings, args: argparse.Namespace) -> int:
    states = read_states(settings)
    shown = [_shown(settings, router.name, (states or {}).get(router.name)) for router in settings.routers]
    if args.json:
        return say(msgspec.json.encode({"portal": states is not None, "routers": shown}).decode())
    if not shown:
        return say("no [[router]] stands in the settings; docs/thin-routers.md says how to begin")
    say(f"{'ROUTER':<12}  {'CONNECTED SINCE (UTC)':<22}  {'VERSION':<16}  {'DEVICES':>7}")
    for each in shown:
        since = each.since or ("away" if each.key else "away (it has no key)")
        say(f"{each.name:<12}  {since:<22}  {each.version or '-':<16}  {each.devices:>7}")
    if states is None:
        return fail(1, "no portal runs here, so no router is connected; start it: wificrm serve")
    return 0


def _shown(settings: Settings, name: str, state: RouterState | None) -> Shown:
    key = key_path(settings, name).exists()
    if state is None:
        return Shown(name, key, connected=False, since="", version="", devices=0)
    since = f"{datetime.fromtimestamp(state.since, UTC):%Y-%m-%d %H:%M:%S}"
    return Shown(name, key, connected=True, since=since, version=state.version, devices=state.devices)
