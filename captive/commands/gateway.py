"""``wificrm gateway``: print, check, up, down, status."""

import argparse

import msgspec

from captive import box
from crm.settings_file import load_settings


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
    else:
        (box.up if args.verb == "up" else box.down)(settings)
    return 0
