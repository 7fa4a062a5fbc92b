"""``wificrm migrate``: both stores to this program's schema."""

import argparse
from pathlib import Path

from captive.commands.places import stores_of
from crm.command_line import add_config
from crm.errors import SetupError
from crm.migrate import migrate
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = "Bring both stores to this program's schema. Safe to run again and again."
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Make or upgrade both stores; safe to run again and again."""
    for dsn, package in stores_of(load_settings(args.config)):
        if "://" not in dsn:
            try:
                Path(dsn).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            except OSError as error:
                raise SetupError(f"{Path(dsn).parent}: cannot be made: {error.strerror}") from None
        await migrate(dsn, package)
    print("both stores are up to date")
    return 0
