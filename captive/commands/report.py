"""``wificrm report``: a report as a file."""

import argparse

from captive.commands.places import need_current, settings_of
from crm.errors import SetupError
from surveys.report_process import write_report


async def run(args: argparse.Namespace) -> int:
    """Write the report and print the file's name."""
    if args.first > args.last:
        raise SetupError(f"--from {args.first} is after --to {args.last}; swap them")
    settings = settings_of(args)
    await need_current(settings.store.crm, "crm")
    await write_report(settings.store.crm, args.venue, args.first, args.last, args.format, args.output)
    print(args.output)
    return 0
