"""``wificrm doctor``: what works on this box, and what to do about the rest."""

import argparse

from captive import doctor
from crm.settings_file import load_settings


async def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when there is a fault."""
    findings = await doctor.examine(load_settings(args.config))
    print(doctor.as_json(findings) if args.json else doctor.as_text(findings))
    return 1 if any(finding.state == "fault" for finding in findings) else 0
