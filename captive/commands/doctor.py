"""``wificrm doctor``: what works on this box, and what to do about the rest."""

import argparse

from captive import doctor
from crm.command_line import add_config
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = "Say what works on this box and what to do about the rest. Exit code 1: a fault."
    add_config(command)
    command.add_argument("--json", action="store_true", help="the findings as JSON")


async def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when there is a fault."""
    findings = await doctor.examine(load_settings(args.config))
    print(doctor.as_json(findings) if args.json else doctor.as_text(findings))
    return 1 if any(finding.state == "fault" for finding in findings) else 0
