"""``wificrm staff``: see `crm.staff_command`."""

import argparse

from captive.commands.places import with_store
from crm.staff_command import run as run_on_store


async def run(args: argparse.Namespace) -> int:
    """Run the command on the crm store."""
    return await with_store(args, run_on_store)
