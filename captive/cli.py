"""``wificrm``, the one command line. Exit codes: 0 done, 1 it did not work and says why, 2 wrong usage."""

import argparse
import asyncio
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop

import campaigns.command
import captive.connections.arguments
import crm.staff_command
from crm.command_line import add_place, day, fail
from crm.errors import SetupError, UserError
from crm.settings import DEFAULT_PATH
from surveys.report_job import FORMATS


def main(argv: list[str] | None = None) -> None:
    """Run ``wificrm`` with *argv* (by default the process's) and exit."""
    args = _parser().parse_args(argv)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(import_module(f"captive.commands.{args.command}").run(args))
    except (SetupError, UserError) as error:
        code = fail(1, str(error))
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wificrm",
        description="Surveys and announcements on the Wi-Fi of a public-service centre.",
        epilog="Start with: wificrm demo. Every command explains itself with --help.",
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_serving(commands)
    _add_gateway(commands)
    _add_report(commands)
    for name, module, summary in (
        ("announcement", campaigns.command, "list, add, edit, withdraw and restore announcements"),
        ("staff", crm.staff_command, "list, add and remove the accounts of staff, set passwords"),
    ):
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        add_place(command)
        module.add_arguments(command)
    _add_device(commands)
    summary = "keys, state, sealed exports and audit of the connection log"
    command = commands.add_parser("connections", help=summary, description=f"{summary.capitalize()}.")
    captive.connections.arguments.add_arguments(command)
    return parser


def _add_demo(commands: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    command = commands.add_parser(
        "demo",
        help="play a whole centre on this machine, without root",
        description="Serve the guest portal and the staff pages on loopback, with a year of synthetic answers. "
        "A browser on this machine plays the phone. Runs until stopped with Ctrl-C.",
    )
    command.add_argument(
        "--port", type=_port, default=8000, metavar="P", help="portal on P, staff pages on P+1"
    )
    command.add_argument(
        "--data", type=Path, default=Path("demo-data"), metavar="DIR", help="where data is kept"
    )


_SERVING = (
    ("serve", "run the guest portal and the staff pages", "Needs no privileges. Stops at SIGTERM."),
    ("gate", "run the small privileged process that opens the network", "Needs CAP_NET_ADMIN only."),
    (
        "advertise",
        "run the small process that advertises this box as the guests' IPv6 router",
        "Needs CAP_NET_RAW only.",
    ),
    ("migrate", "bring both stores to this program's schema", "Safe to run again and again."),
    ("doctor", "say what works on this box and what to do about the rest", "Exit code 1: a fault."),
)


def _add_serving(commands: Any) -> None:  # noqa: ANN401
    for name, summary, detail in _SERVING:
        about = f"{summary[0].upper()}{summary[1:]}. {detail}"
        command = commands.add_parser(name, help=summary, description=about)
        _add_config(command)
        if name == "doctor":
            command.add_argument("--json", action="store_true", help="the findings as JSON")


def _add_gateway(commands: Any) -> None:  # noqa: ANN401
    command = commands.add_parser(
        "gateway",
        help="print, check, apply or remove what this box needs to be the gateway",
        description="One nft table of our own, one dnsmasq of our own, forwarding. Running any of these twice is "
        "harmless; other tables and services on the box are not touched.",
    )
    command.add_argument(
        "verb",
        choices=("print", "check", "up", "watch", "down", "status"),
        help="print: show it; check: have nft and dnsmasq verify it; up: apply; watch: put right what is lost, until "
        "stopped; down: leave no trace; "
        "status: what is there now",
    )
    _add_config(command)


def _add_device(commands: Any) -> None:  # noqa: ANN401
    command = commands.add_parser(
        "device",
        help="list the devices that are online, end their grants",
        description="List the devices that are online, end their grants. A device whose grant is ended meets the "
        "portal again. Lists are personal data: which device was here, and when.",
    )
    add_place(command)
    verbs = command.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="network, MAC, time left, bytes sent and received of each")
    ending = verbs.add_parser(
        "end",
        help="send a device, or all, back to the portal",
        description="The portal does it within seconds; the command waits for it. Exit code 1: not done (yet).",
    )
    ending.add_argument(
        "device", nargs="*", metavar="DEVICE", help="a MAC, or network, MAC and address as list shows them"
    )
    ending.add_argument("--all", action="store_true", help="everybody who is online")
    ending.add_argument("--yes", action="store_true", help="do not ask whether --all is meant")
    for verb in (listing, ending):
        add_place(verb, again=True)
        verb.add_argument("--json", action="store_true", help="the result as JSON")


def _add_report(commands: Any) -> None:  # noqa: ANN401
    command = commands.add_parser(
        "report",
        help="write a report to a file",
        description="Counts, top-two-box, converted mean and response funnel; cells under 5 answers are withheld.",
    )
    add_place(command)
    command.add_argument(
        "--venue", action="append", required=True, metavar="V", help="code; repeat for several"
    )
    command.add_argument(
        "--from", dest="first", type=day, required=True, metavar="D", help="first day, 2026-01-31"
    )
    command.add_argument(
        "--to", dest="last", type=day, required=True, metavar="D", help="last day, 2026-12-31"
    )
    command.add_argument("--format", choices=FORMATS, required=True)
    command.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help="file to write")


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="settings file")


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65534:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65534")
    return int(text)


if __name__ == "__main__":
    main()
