"""``wificrm doctor``: what works on this box, what a phone meets on it, and what to do about the rest."""

import argparse
import asyncio
import signal
import sys

from captive.doctor.examination import PLAYED, examine
from captive.doctor.finding import Finding, as_json, as_text, exit_code
from crm.command_line import add_config
from crm.errors import SetupError
from crm.settings import Settings
from crm.settings_file import load_settings

STOPS = (signal.SIGTERM, signal.SIGHUP)
"""Beside Ctrl-C."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Say what works on this box and what to do about the rest. As root it plays a phone on each guests' "
        "network: it joins, looks for the portal, tries to get past it, goes online by skipping the survey, and "
        "is sent back. That takes some ten seconds, harms no guest, and is counted nowhere. "
        "Exit codes: 0 no fault (there may be warnings), 1 a fault, 2 wrong usage."
    )
    add_config(command)
    command.add_argument("--json", action="store_true", help="the findings as JSON; see docs/doctor.md")
    chosen = command.add_mutually_exclusive_group()
    chosen.add_argument(
        "--quick", action="store_true", help="no phone: the box alone, for a monitor every minute"
    )
    chosen.add_argument(
        "--only",
        action="append",
        choices=PLAYED,
        metavar="PART",
        help=f"play this part of a phone's visit only: {', '.join(PLAYED)}; may be repeated",
    )


async def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when there is a fault."""
    try:
        settings = load_settings(args.config)
    except SetupError as error:
        if not args.json:
            raise
        # A monitor reads findings only: without any it would say that all is well.
        findings = [
            Finding("settings", "fault", str(error), "correct the settings; the rest is not looked at")
        ]
    else:
        findings = await _examine(args, settings)
    print(as_json(findings) if args.json else as_text(findings))
    return exit_code(findings)


async def _examine(args: argparse.Namespace, settings: Settings) -> list[Finding]:
    """The findings. Who ends the doctor, be it a monitor's patience or a lost terminal, leaves no phone behind."""
    parts = () if args.quick else tuple(args.only or PLAYED)
    if parts and sys.stderr.isatty() and settings.gate.gateway != "open":
        sys.stderr.write("wificrm: a phone is played on each network; this takes some ten seconds\n")
    task, stopped = asyncio.current_task(), list[int]()
    assert task is not None  # noqa: S101 - it runs

    def stop(number: int) -> None:
        stopped.append(number)
        task.cancel()

    for number in STOPS:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await examine(settings, parts)
    except asyncio.CancelledError:
        if stopped:  # Ctrl-C has a word of its own for it
            sys.exit(128 + stopped[0])
        raise
