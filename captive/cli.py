"""``wificrm``, the one command line. Exit codes: 0 done, 1 it did not work and says why, 2 wrong usage."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date
from pathlib import Path
from typing import Any

import campaigns.command
import crm.staff_command
import msgspec
import structlog
import uvloop
from surveys.report_process import FORMATS, write_report

from captive import box, doctor
from captive.app import running
from captive.demo import run_demo
from captive.gate import serve_gate
from captive.signals import until_stopped
from crm.errors import SetupError, UserError
from crm.migrate import is_current, migrate
from crm.settings import DEFAULT_PATH, Settings, StoreSection, load_settings
from crm.store import Store, open_store

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


def main(argv: list[str] | None = None) -> None:
    """Run ``wificrm`` with *argv* (by default the process's) and exit."""
    args = _parser().parse_args(argv)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(args.run(args))
    except (SetupError, UserError) as error:
        print(f"wificrm: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wificrm",
        description="Surveys and announcements on the Wi-Fi of a public-service centre.",
        epilog="Start with: wificrm demo. Every command explains itself with --help.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_serving(commands)
    _add_gateway(commands)
    _add_report(commands)
    for name, module, summary in (
        ("announcement", campaigns.command, "list, add, edit, withdraw and restore announcements"),
        ("staff", crm.staff_command, "list, add and remove the accounts of staff, set passwords"),
    ):
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        _add_place(command)
        module.add_arguments(command)
        command.set_defaults(run=_with_store(module.run))
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
    command.set_defaults(run=lambda args: run_demo(args.port, args.data))


def _add_serving(commands: Any) -> None:  # noqa: ANN401
    for name, run, summary, detail in (
        (
            "serve",
            _serve,
            "run the guest portal and the staff pages",
            "Needs no privileges. Stops at SIGTERM.",
        ),
        (
            "gate",
            _gate,
            "run the small privileged process that opens the network",
            "Needs CAP_NET_ADMIN only.",
        ),
        ("migrate", _migrate, "bring both stores to this program's schema", "Safe to run again and again."),
        (
            "doctor",
            _doctor,
            "say what works on this box and what to do about the rest",
            "Exit code 1: a fault.",
        ),
    ):
        about = f"{summary.capitalize()}. {detail}"
        command = commands.add_parser(name, help=summary, description=about)
        _add_config(command)
        command.set_defaults(run=run)
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
        choices=("print", "check", "up", "down", "status"),
        help="print: show it; check: have nft and dnsmasq verify it; up: apply; down: leave no trace; "
        "status: what is there now",
    )
    _add_config(command)
    command.set_defaults(run=_gateway)


def _add_report(commands: Any) -> None:  # noqa: ANN401
    command = commands.add_parser(
        "report",
        help="write a report to a file",
        description="Counts, top-two-box, converted mean and response funnel; cells under 5 answers are withheld.",
    )
    _add_place(command)
    command.add_argument(
        "--venue", action="append", required=True, metavar="V", help="code; repeat for several"
    )
    command.add_argument(
        "--from", dest="first", type=_day, required=True, metavar="D", help="first day, 2026-01-31"
    )
    command.add_argument(
        "--to", dest="last", type=_day, required=True, metavar="D", help="last day, 2026-12-31"
    )
    command.add_argument("--format", choices=FORMATS, required=True)
    command.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help="file to write")
    command.set_defaults(run=_report)


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="settings file")


def _add_place(command: argparse.ArgumentParser) -> None:
    place = command.add_mutually_exclusive_group()
    place.add_argument("--data", type=Path, metavar="DIR", help="folder of SQLite stores, such as the demo's")
    place.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="settings file")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-01-31") from None


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65534:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65534")
    return int(text)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that ``--config`` names, or plain ones around the stores of ``--data``."""
    data: Path | None = getattr(args, "data", None)
    if data is None:
        return load_settings(args.config)
    if not (data / "crm.db").exists():
        raise SetupError(f"{data}: no store here (crm.db is missing); wificrm demo --data {data} makes one")
    return Settings(store=StoreSection(crm=str(data / "crm.db"), access=str(data / "access.db")))


def start_log(level: str) -> None:
    """Lines of ``key=value`` on standard error, for the journal. They name no device and no person."""
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"], drop_missing=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def _serve(args: argparse.Namespace) -> int:
    settings = load_settings(args.config)
    start_log(settings.log.level)
    await _need_current(settings)
    async with running(settings):
        structlog.get_logger().info("serving", portal=settings.portal.port, console=settings.console.port)
        await until_stopped()
    return 0


async def _need_current(settings: Settings) -> None:
    for dsn, package in ((settings.store.crm, "crm"), (settings.store.access, "captive")):
        if not await is_current(dsn, package):
            raise SetupError(f"the store {_shown(dsn)} is not of this program's schema; run: wificrm migrate")


def _shown(dsn: str) -> str:
    return "of the settings" if "://" in dsn else dsn


async def _gate(args: argparse.Namespace) -> int:
    settings = load_settings(args.config)
    start_log(settings.log.level)
    await serve_gate(settings, lambda: structlog.get_logger().info("gate open"))
    return 0


async def _migrate(args: argparse.Namespace) -> int:
    settings = load_settings(args.config)
    for dsn, package in ((settings.store.crm, "crm"), (settings.store.access, "captive")):
        if "://" not in dsn:
            Path(dsn).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        await migrate(dsn, package)
    print("both stores are up to date")
    return 0


async def _gateway(args: argparse.Namespace) -> int:
    settings = load_settings(args.config)
    if args.verb == "print":
        print(box.plan(settings))
    elif args.verb == "check":
        problems = box.check(settings)
        print("\n".join(problems) or "nothing to complain of")
        return 1 if problems else 0
    elif args.verb == "status":
        status = box.status(settings)
        print(msgspec.json.format(msgspec.json.encode(status), indent=2).decode())
    else:
        (box.up if args.verb == "up" else box.down)(settings)
    return 0


async def _report(args: argparse.Namespace) -> int:
    if args.first > args.last:
        raise SetupError(f"--from {args.first} is after --to {args.last}; swap them")
    settings = settings_of(args)
    await write_report(settings.store.crm, args.venue, args.first, args.last, args.format, args.output)
    print(args.output)
    return 0


async def _doctor(args: argparse.Namespace) -> int:
    findings = await doctor.examine(load_settings(args.config))
    print(doctor.as_json(findings) if args.json else doctor.as_text(findings))
    return 1 if any(finding.state == "fault" for finding in findings) else 0


def _with_store(run: Callable[[argparse.Namespace, Store, Settings], Awaitable[int]]) -> Command:
    async def with_store(args: argparse.Namespace) -> int:
        settings = settings_of(args)
        await _need_current_crm(settings)
        store = open_store(settings.store.crm)
        try:
            return await run(args, store, settings)
        finally:
            await store.close()

    return with_store


async def _need_current_crm(settings: Settings) -> None:
    if not await is_current(settings.store.crm, "crm"):
        raise SetupError(
            f"the store {_shown(settings.store.crm)} is not of this program's schema; run: wificrm migrate"
        )


if __name__ == "__main__":
    main()
