"""``wificrm staff``: see `crm.staff_command`."""

import argparse

from captive.commands.places import with_store
from crm.command_line import add_place
from crm.staff_command import add_arguments as add_verbs
from crm.staff_command import run as run_on_store


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = "List, add and remove the accounts of staff, set passwords."
    add_place(command)
    add_verbs(command)


async def run(args: argparse.Namespace) -> int:
    """Run the command on the crm store."""
    return await with_store(args, run_on_store)
