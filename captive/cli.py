"""``wificrm``, the one command line. Exit codes: 0 done, 1 it did not work and says why, 2 wrong usage.

Each command is a module of its own in `captive.commands`, read only when it is the one that is run: the
gate and the advertiser hold neither the stores' libraries nor anybody else's.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib import import_module

import uvloop

from crm.command_line import fail
from crm.errors import SetupError, UserError
from crm.version import VERSION

COMMANDS = {
    "demo": "play a whole centre on this machine, without root",
    "serve": "run the guest portal and the staff pages",
    "gate": "run the small privileged process that opens the network",
    "advertise": "run the small process that advertises this box as the guests' IPv6 router",
    "migrate": "bring both stores to this program's schema",
    "doctor": "say what works on this box and what to do about the rest",
    "gateway": "print, check, apply, watch or remove what this box needs to be the gateway",
    "backup": "write answers, settings and secrets to one file, while the portal runs",
    "restore": "put a backup back, while the portal runs",
    "report": "write a report to a file",
    "announcement": "list, add, edit, withdraw and restore announcements",
    "staff": "list, add and remove the accounts of staff, set passwords",
    "device": "list the devices that are online, end their grants",
    "router": "make the keys of thin routers, list which are connected",
    "watch": "tell of rogue servers, false gateways, copied devices and floods on the guests' networks",
    "connections": "keys, state, sealed exports and audit of the connection log",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``wificrm`` with *argv* (by default the process's) and exit."""
    try:  # a command's module takes a second to be read: long enough for Ctrl-C
        args = parse(sys.argv[1:] if argv is None else argv)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(import_module(f"captive.commands.{args.command}").run(args))
    except (SetupError, UserError) as error:
        code = fail(1, str(error))
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What *argv* says; ends the process with 2 and a sentence where it says nothing that can be done."""
    parser = argparse.ArgumentParser(
        prog="wificrm",
        description="Surveys and announcements on the Wi-Fi of a public-service centre.",
        epilog="Start with: wificrm demo. Every command explains itself with --help.",
    )
    parser.add_argument("--version", action="version", version=f"wificrm {VERSION}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in argv[:1]:
            import_module(f"captive.commands.{name}").add_arguments(command)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
