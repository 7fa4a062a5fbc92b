"""``wificrm gateway``: print, check, up, watch, down, status."""

import argparse

import msgspec

from captive.box import box
from captive.box.watch import watch
from captive.signals import catch_stop
from crm.command_line import add_config
from crm.log import start_log
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Our own nft tables, one dnsmasq of our own, forwarding. Running any of these twice is harmless; other "
        "tables and services on the box are not touched."
    )
    command.add_argument(
        "verb",
        choices=("print", "check", "up", "watch", "down", "status"),
        help="print: show it; check: have nft and dnsmasq verify it; up: apply; watch: put right what is lost, "
        "until stopped; down: leave no trace; status: what is there now",
    )
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Do *args.verb*; 1 when `check` finds something."""
    settings = load_settings(args.config)
    if args.verb == "print":
        print(box.plan(settings))
    elif args.verb == "check":
        problems = box.check(settings)
        print("\n".join(problems) or "nothing to complain of")
        return 1 if problems else 0
    elif args.verb == "status":
        print(msgspec.json.format(msgspec.json.encode(box.status(settings)), indent=2).decode())
    elif args.verb == "watch":
        start_log(settings.log.level)
        await watch(settings, catch_stop())
    else:
        (box.up if args.verb == "up" else box.down)(settings)
    return 0
