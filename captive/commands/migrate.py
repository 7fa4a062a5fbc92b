"""``wificrm migrate``: both stores to this program's schema."""

import argparse

from captive.backup.folder import give_to_owner_of, make_folder
from captive.commands.places import stores_of
from captive.store_care import sqlite_path
from crm.command_line import add_config
from crm.errors import SetupError
from crm.migrate import migrate
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = "Bring both stores to this program's schema. Safe to run again and again."
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Make or upgrade both stores; safe to run again and again. What root makes is the portal's, as its folder."""
    for dsn, package in stores_of(load_settings(args.config)):
        path = sqlite_path(dsn)
        is_new = path is not None and not path.exists()
        try:
            if path:
                make_folder(path.parent)
                path.touch(mode=0o600)
            await migrate(dsn, package)
            if path and is_new:
                give_to_owner_of(path.parent, path)
        except OSError as error:
            raise SetupError(f"{error.filename}: cannot be made: {error.strerror}") from None
    print("both stores are up to date")
    return 0
