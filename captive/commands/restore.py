"""``wificrm restore``: a backup put back, while the portal runs."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from captive.backup.archive import is_archive
from captive.backup.backup import read_settings, restore_backup
from captive.commands.places import settings_of
from crm.command_line import add_place, fail, say
from crm.commands_here import to_apply_settings
from crm.errors import SetupError
from crm.settings import Settings
from crm.settings_file import parse_settings
from crm.times import local_moment


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Put the answers of a backup in place of those there are, while the portal runs. What was there before is "
        "kept as a backup of its own; restoring that one is the way back."
    )
    add_place(command)
    command.add_argument("file", type=Path, metavar="FILE", help="what wificrm backup wrote")
    command.add_argument(
        "--with-settings",
        action="store_true",
        help="its settings and secrets too, as on a new box; those there are stay beside them as *.before-restore",
    )
    command.add_argument("--yes", action="store_true", help="do not ask")


async def run(args: argparse.Namespace) -> int:
    """Put the backup back; say of what day it is, and where what it replaced is kept."""
    if not args.file.is_file():
        raise SetupError(f"{args.file}: no such file; wificrm backup makes one, by default in backup.folder")
    settings = _settings(args)
    if not (args.yes or _agreed(args.file)):
        return fail(1, "nothing was changed")
    today = local_moment(datetime.now(UTC), ZoneInfo(settings.venue.timezone)).day
    contents, kept = await restore_backup(
        settings, args.config, args.file, today, with_settings=args.with_settings
    )
    say(f"the answers are those of {contents.taken}, from {contents.venue}")
    if kept and is_archive(kept):
        say(f"those of before are kept: wificrm restore {kept}")
    elif kept:
        say(f"the store of before was damaged; it is kept as {kept}")
    if args.with_settings:
        say(f"settings and secrets were put back; on the same box, now: {to_apply_settings()}")
        say("on another one: wificrm-setup apply, with its own interfaces; then wificrm doctor")
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """The settings of this box; of a new one that has none, those in the backup."""
    if args.with_settings and args.config and not args.config.exists():
        return parse_settings(read_settings(args.file), f"{args.file}: settings/wificrm.toml")
    return settings_of(args)


def _agreed(file: Path) -> bool:
    if not sys.stdin.isatty():
        raise SetupError("say --yes to put the backup in place of the answers there are")
    answer = input(f"Put {file} in place of the answers there are? They are kept as a backup. [y/N] ")
    return answer.strip().lower() in ("y", "yes")
