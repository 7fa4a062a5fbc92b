"""``wificrm gateway``: print, check, apply, watch, remove, status."""

import argparse
from typing import get_args

import msgspec

from captive.box import box
from captive.box.applied import NO_GUESTS, meant_up
from captive.box.check import Part
from captive.box.watch import watch
from captive.signals import catch_stop
from crm.command_line import add_config, fail
from crm.errors import SetupError
from crm.log import start_log
from crm.settings import Settings
from crm.settings_file import load_settings

_FORMER = {"up": "apply", "down": "remove"}
"""What units and scripts of older releases say."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Our own nft tables, one dnsmasq of our own, forwarding. Running any of these twice is harmless; other "
        "tables and services on the box are not touched."
    )
    command.add_argument(
        "verb",
        type=lambda word: _FORMER.get(word, word),
        choices=("print", "check", "apply", "remove", "watch", "status"),
        help="print: show it; check: have nft and dnsmasq verify it; apply: put it there; remove: leave no trace; "
        "watch: put right what is lost, until stopped; status: what is there now",
    )
    command.add_argument(
        "part", nargs="?", choices=get_args(Part), help="print or check this alone, as its program takes it"
    )
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Do *args.verb*; 1 when `check` finds something."""
    if args.part and args.verb not in ("print", "check"):
        raise SetupError(f"{args.verb} is for all parts; only print and check take {args.part} alone")
    settings = _settings(args)
    if not settings.networks and args.verb not in ("watch", "status"):
        print(NO_GUESTS)
        if args.verb in ("apply", "remove") and meant_up(settings):  # it had guests until now
            box.remove(settings)
    elif args.verb == "print":
        print(box.plan(settings, args.part), end="")
    elif args.verb == "check":
        problems = box.check(settings, args.part)
        print("\n".join(problems) or "nothing to complain of")
        return 1 if problems else 0
    elif args.verb == "status":
        print(msgspec.json.format(msgspec.json.encode(box.status(settings)), indent=2).decode())
    elif args.verb == "watch":
        start_log(settings.log.level, settings.log.format)
        await watch(settings, catch_stop())
    else:
        (box.apply if args.verb == "apply" else box.remove)(settings)
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """The settings; to take the gateway away it needs none that are right, only where its state is."""
    try:
        return load_settings(args.config)
    except SetupError as error:
        if args.verb != "remove":
            raise
        fail(1, f"{error}; what stands is taken away all the same")
        return Settings()
