"""``wificrm announcement``: see `campaigns.command`."""

import argparse

from campaigns.command import run as run_on_store
from captive.commands.places import with_store


async def run(args: argparse.Namespace) -> int:
    """Run the command on the crm store."""
    return await with_store(args, run_on_store)
