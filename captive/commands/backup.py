"""``wificrm backup``: answers, settings and secrets in one file, while the portal runs."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from captive.backup.backup import make_backup
from captive.backup.folder import Occasion
from captive.commands.places import settings_of
from crm.command_line import add_place, say
from crm.times import local_moment


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Write answers, settings and secrets to one file, while the portal runs. Keep it as you keep the box: it holds "
        "all answers and the keys. Who is online and the connection log are not in it. wificrm restore puts it back."
    )
    add_place(command)
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="file to write, or folder for one of the day; by default backup.folder",
    )
    command.add_argument(
        "--before-upgrade",
        action="store_true",
        help="keep it beside those of the day, as what an upgrade began from",
    )


async def run(args: argparse.Namespace) -> int:
    """Make the backup and print where it is."""
    settings = settings_of(args)
    today = local_moment(datetime.now(UTC), ZoneInfo(settings.venue.timezone)).day
    occasion: Occasion = "before-upgrade" if args.before_upgrade else ""
    return say(str(await make_backup(settings, args.config, today, target=args.file, occasion=occasion)))
