"""``wificrm demo``: a whole centre on loopback."""

import argparse

from captive.demo import run_demo


async def run(args: argparse.Namespace) -> int:
    """Play the centre until stopped."""
    return await run_demo(args.port, args.data)
