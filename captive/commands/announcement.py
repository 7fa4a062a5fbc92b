"""``wificrm announcement``: see `campaigns.command`."""

import argparse

from campaigns.command import add_arguments as add_verbs
from campaigns.command import run as run_on_store
from captive.commands.places import with_store
from crm.command_line import add_place


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = "List, add, edit, withdraw and restore announcements."
    add_place(command)
    add_verbs(command)


async def run(args: argparse.Namespace) -> int:
    """Run the command on the crm store."""
    return await with_store(args, run_on_store)
