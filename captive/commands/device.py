"""``wificrm device``: who is online, and an end to it.

The access store is read as it is; what is to end is written into it as a wish, which the portal fulfils.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import msgspec
from tqdm import tqdm

from captive.commands.places import with_store
from captive.gateway import key_parts
from captive.grants.store import KeptGrant, insert_wishes, select_grants, select_wishes
from crm.command_line import add_place, fail, say
from crm.settings import Settings
from crm.store import Store

PATIENCE = 20.0
"""Seconds for which the portal is waited for; it looks every two."""

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class Online(msgspec.Struct, frozen=True):
    """A device with a grant, as ``--json`` writes it; bytes since the grant, as last read (every ten seconds)."""

    network: str
    mac: str
    address: str  # "" where the MAC alone tells devices apart
    seconds_left: int
    bytes_up: int
    bytes_down: int


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "List the devices that are online, end their grants. A device whose grant is ended meets the portal "
        "again. Lists are personal data: which device was here, and when."
    )
    add_place(command)
    verbs = command.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="network, MAC, time left, bytes sent and received of each")
    ending = verbs.add_parser(
        "end",
        help="send a device, or all, back to the portal",
        description="The portal does it within seconds; the command waits for it. Exit code 1: not done (yet).",
    )
    ending.add_argument(
        "device", nargs="*", metavar="DEVICE", help="a MAC, or network, MAC and address as list shows them"
    )
    ending.add_argument("--all", action="store_true", help="everybody who is online")
    ending.add_argument("--yes", action="store_true", help="do not ask whether --all is meant")
    for verb in (listing, ending):
        add_place(verb, again=True)
        verb.add_argument("--json", action="store_true", help="the result as JSON")


async def run(args: argparse.Namespace) -> int:
    """Do *args.verb* on the access store."""
    return await with_store(args, _list if args.verb == "list" else _end, "captive")


async def _list(args: argparse.Namespace, access: Store, _settings: Settings) -> int:
    async with access.read() as conn:
        online = _online(await select_grants(conn), datetime.now(UTC))
    if args.json:
        return say(msgspec.json.encode({"devices": online}).decode())
    if not online:
        return say("nobody is online")
    sys.stderr.write(
        "wificrm: this list names devices, which is personal data: do not keep it or pass it on\n"
    )
    say(f"{'NETWORK':<12}  {'DEVICE':<17}  {'ADDRESS':<15}  {'LEFT':>8}  {'SENT':>10}  {'RECEIVED':>10}")
    for each in online:
        left = f"{each.seconds_left // 3600}:{each.seconds_left % 3600 // 60:02} h"
        up, down = (f"{count / 1e6:,.1f} MB" for count in (each.bytes_up, each.bytes_down))
        say(f"{each.network:<12}  {each.mac:<17}  {each.address or '-':<15}  {left:>8}  {up:>10}  {down:>10}")
    return 0


def _online(kept: Mapping[str, KeptGrant], now: datetime) -> list[Online]:
    return [
        Online(*key_parts(device), max(0, int((row.expires - now).total_seconds())), row.up, row.down)
        for device, row in sorted(kept.items())
    ]


async def _end(args: argparse.Namespace, access: Store, _settings: Settings) -> int:
    if bool(args.device) == args.all:
        return fail(2, "name one device, or --all")
    async with access.read() as conn:
        online = list(await select_grants(conn))
    named = " ".join(args.device).lower().replace("-", ":").split()
    if args.device and not any(MAC.fullmatch(part) for part in named):
        return fail(2, f"{' '.join(args.device)!r} names no device: write its MAC, such as 02:00:5e:10:00:01")
    chosen = [device for device in online if set(named) <= set(key_parts(device))]
    if not chosen and args.device:
        return fail(1, f"{' '.join(named)} is not online by a grant; wificrm device list shows who is")
    if chosen and args.all and not args.yes and not _is_meant(len(chosen)):
        return fail(
            2, f"nothing was done: --all ends {len(chosen)} grants; add --yes where nobody can be asked"
        )
    async with access.begin() as conn:
        await insert_wishes(conn, chosen, "end")
    waiting = await _waited_for(access, chosen, quiet=args.json)
    ended = len(chosen) - waiting
    if args.json:
        say(msgspec.json.encode({"ended": ended, "waiting": waiting}).decode())
    elif not waiting:
        say(f"{ended} {'device meets' if ended == 1 else 'devices meet'} the portal again")
    if waiting:
        return fail(
            1, f"{waiting} of {len(chosen)} wait until the portal runs, which then ends them (wificrm serve)"
        )
    return 0


def _is_meant(count: int) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"wificrm: this ends the grants of all {count} devices that are online. Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _waited_for(access: Store, devices: Collection[str], *, quiet: bool) -> int:
    """How many of *devices* the portal has not ended within `PATIENCE`."""
    until = asyncio.get_running_loop().time() + PATIENCE
    with tqdm(
        desc="  Waiting for the portal",
        total=len(devices),
        unit=" devices",
        leave=False,
        delay=1,
        disable=quiet,
    ) as bar:
        while True:
            async with access.read() as conn:
                left = len(set(devices) & set(await select_wishes(conn)))
            bar.update(len(devices) - left - bar.n)
            if not left or asyncio.get_running_loop().time() > until:
                return left
            await asyncio.sleep(0.2)
