"""``wificrm demo``: a whole centre on loopback."""

import argparse
from pathlib import Path

from captive.demo import run_demo


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Serve the guest portal and the staff pages on loopback, with a year of synthetic answers. A browser on "
        "this machine plays the phone. Runs until stopped with Ctrl-C."
    )
    command.add_argument(
        "--port", type=_port, default=8000, metavar="P", help="portal on P, staff pages on P+1"
    )
    command.add_argument(
        "--data", type=Path, default=Path("demo-data"), metavar="DIR", help="where data is kept"
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65534:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65534")
    return int(text)


async def run(args: argparse.Namespace) -> int:
    """Play the centre until stopped."""
    return await run_demo(args.port, args.data)
