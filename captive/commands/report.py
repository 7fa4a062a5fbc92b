"""``wificrm report``: a report as a file."""

import argparse
from pathlib import Path

from captive.commands.places import need_current, settings_of
from crm.command_line import add_place, day
from crm.errors import SetupError
from surveys.report_job import FORMATS
from surveys.report_process import write_report


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Counts, top-two-box, converted mean and response funnel; cells under 5 answers are withheld."
    )
    add_place(command)
    command.add_argument(
        "--venue", action="append", required=True, metavar="V", help="code; repeat for several"
    )
    command.add_argument(
        "--from", dest="first", type=day, required=True, metavar="D", help="first day, 2026-01-31"
    )
    command.add_argument(
        "--to", dest="last", type=day, required=True, metavar="D", help="last day, 2026-12-31"
    )
    command.add_argument("--format", choices=FORMATS, required=True)
    command.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help="file to write")


async def run(args: argparse.Namespace) -> int:
    """Write the report and print the file's name."""
    if args.first > args.last:
        raise SetupError(f"--from {args.first} is after --to {args.last}; swap them")
    settings = settings_of(args)
    await need_current(settings.store.crm, "crm")
    await write_report(settings.store.crm, args.venue, args.first, args.last, args.format, args.output)
    print(args.output)
    return 0
