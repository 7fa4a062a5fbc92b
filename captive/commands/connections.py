"""``wificrm connections``: keys, state, sealed exports, removal and audit of the connection log."""

import argparse
import getpass
import os
import pwd
import signal
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from nacl.public import PrivateKey
from tqdm import tqdm

from captive.connections.arguments import add_arguments
from captive.connections.audit import Entry, breaks, check_people, check_text
from captive.connections.export import Export, Wanted
from captive.connections.keys import (
    check_passphrase,
    find_public,
    fingerprint,
    make_private,
    read_private,
    write_public,
)
from captive.connections.sealed_file import Reader, needs_passphrase, unseal
from captive.connections.state import describe
from captive.connections.store import (
    DamagedLogError,
    delete_records,
    first_day_kept,
    insert_audit,
    opened,
    select_audit,
    transaction,
)
from crm.command_line import fail, say
from crm.errors import SetupError
from crm.settings_file import load_settings
from crm.times import is_sound, local_moment

__all__ = ["add_arguments", "run"]


async def run(args: argparse.Namespace) -> int:
    """Do *args.verb*. Raises `SetupError` for whatever cannot be done."""
    verbs = {
        "keygen": _keygen,
        "status": _status,
        "audit": _audit,
        "export": _export,
        "open": _open,
        "purge": _purge,
    }
    # Nothing here waits for events, so Ctrl-C may interrupt it anywhere, at a question for a passphrase too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return verbs[args.verb](args)
    except DamagedLogError as error:
        raise SetupError(f"the connection log is damaged: {error}") from None
    except sqlite3.Error as error:
        raise SetupError(f"the connection log cannot be used: {error}") from None


def _keygen(args: argparse.Namespace) -> int:
    passphrase = ""
    if args.passphrase or args.passphrase_file:
        passphrase = _new_passphrase(args.passphrase_file)
    public = make_private(args.file, passphrase)
    sys.stderr.write(
        f"wificrm: the private key is in {args.file}; without it nobody can ever read the log, so keep a copy.\n"
        "For the settings, [connection_log] public_key:\n"
    )
    return say(write_public(public))


def _status(args: argparse.Namespace) -> int:
    state, lines = describe(load_settings(args.config))
    say("\n".join(lines))
    return 1 if state == "fault" else 0


def _audit(args: argparse.Namespace) -> int:
    path = Path(load_settings(args.config).connection_log.path)
    with opened(path) as conn:
        lines = list(select_audit(conn))
    for line in lines:
        say(f"{line.n} {line.hash.hex()[:16]} {line.text}")
    broken = list(breaks(lines))
    if broken:
        return fail(1, f"the audit was changed: line {broken[0]} does not follow from the line before it")
    if args.manifest:
        known = {(line.n, line.hash.hex()) for line in lines}
        for n, digest in _named_lines(args.manifest):
            if (n, digest) not in known:
                return fail(1, f"the audit was changed: line {n} is not the one that {args.manifest} names")
    last = lines[-1].hash.hex() if lines else "none"
    return say(f"{len(lines)} lines, unbroken; the last hash is {last}")


def _named_lines(manifest: Path) -> list[tuple[int, str]]:
    try:
        told = msgspec.json.decode(manifest.read_bytes())
        return [(line["line"], line["hash"]) for line in told["audit"]]
    except OSError as error:
        raise SetupError(f"{manifest}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, KeyError, TypeError):
        raise SetupError(f"{manifest}: this is no manifest of an export") from None


def _export(args: argparse.Namespace) -> int:
    settings = load_settings(args.config)
    zone = ZoneInfo(settings.venue.timezone)
    check_text("--reason", args.reason)
    check_people(args.requester, args.approver)
    _need_sound_clock()
    reader: Reader = find_public(args.reader) if args.reader else ""
    wanted = _wanted(
        args, zone, f"key {fingerprint(reader)}" if not isinstance(reader, str) else "passphrase"
    )
    keys = [
        read_private(each, _asking(args.key_passphrase_file, f"Passphrase of {each}: ")) for each in args.key
    ]
    if isinstance(reader, str):
        reader = _new_passphrase(args.passphrase_file)
    with tqdm(desc="  Looking through the log", unit=" records", leave=False, delay=0.5) as bar:
        export = Export(Path(settings.connection_log.path), keys, zone, bar.update)
        bar.total = export.count(wanted)
        line = export.write(wanted, reader, args.output, _account(), datetime.now(UTC))
    tally = export.tally
    say(f"{args.output}: {tally.sessions} connections, sealed for {wanted.recipient}; audit line {line.n}")
    if tally.unopened:
        say(f"{tally.unopened} of {tally.events} records open with another key; name it with a further --key")
    if tally.lost:
        say(f"{tally.lost} events of these days could not be kept (disk or clock)")
    return 0


def _wanted(args: argparse.Namespace, zone: ZoneInfo, recipient: str) -> Wanted:
    at = _moment(args.at, zone) if args.at else None
    first = args.first or (at.date() if at else None)
    last = args.last or (at.date() if at else None)
    if first is None or last is None:
        raise SetupError("say which days: --from and --to, or --at")
    if first > last:
        raise SetupError(f"--from {first} is after --to {last}; swap them")
    try:
        address = str(ip_address(args.address)) if args.address else ""
    except ValueError:
        raise SetupError(f"--address: {args.address!r} is not an IP address such as 192.168.50.12") from None
    return Wanted(first, last, args.reason, args.requester, args.approver, recipient, address, at)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SetupError(f'--at: {text!r} is not a time such as "2026-01-31 14:05"') from None
    return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)


def _open(args: argparse.Namespace) -> int:
    draft = args.output.with_name(f".{args.output.name}.draft")
    if args.output.exists():
        raise SetupError(f"{args.output}: there is a file already; name another one")
    try:
        with args.file.open("rb") as file:
            ask = _asking(args.passphrase_file, "Passphrase of the export: ")
            key = _reader_key(args, locked=needs_passphrase(file))
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                for piece in unseal(file, key, ask):
                    out.write(piece)
        draft.rename(args.output)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return say(str(args.output))


def _reader_key(args: argparse.Namespace, *, locked: bool) -> PrivateKey | None:
    if locked:
        return None
    if not args.key:
        raise SetupError("this export was sealed for a key: name the private one with --key")
    return read_private(args.key, _asking(args.passphrase_file, f"Passphrase of {args.key}: "))


def _purge(args: argparse.Namespace) -> int:
    settings = load_settings(args.config)
    _need_sound_clock()
    now = datetime.now(UTC)
    today = local_moment(now, ZoneInfo(settings.venue.timezone)).day
    before = first_day_kept(today, settings.connection_log.days)
    if args.before:
        check_text("--reason", args.reason)
        check_people(args.requester, args.approver)
        before = args.before
        if before > today + timedelta(days=1):
            raise SetupError(
                f"--before {before} is in the future; the last day can be {today + timedelta(days=1)}"
            )
    with opened(Path(settings.connection_log.path)) as conn, transaction(conn):
        rows = delete_records(conn, before)
        insert_audit(
            conn,
            Entry(
                f"{now:%Y-%m-%dT%H:%M:%SZ}", "purge", _account(), args.requester, args.approver, args.reason,
                last=(before - timedelta(days=1)).isoformat(), rows=rows,
            ),
        )  # fmt: skip
    return say(f"{rows} records of days before {before} were removed")


def _need_sound_clock() -> None:
    if not is_sound(datetime.now(UTC)):
        raise SetupError("the clock shows a time in the past; set it first (timedatectl)")


def _asking(file: Path | None, question: str) -> Callable[[], str]:
    return lambda: _read_passphrase(file) if file else _ask(question)


def _new_passphrase(file: Path | None) -> str:
    """A passphrase from *file*, or asked for twice."""
    passphrase = _read_passphrase(file) if file else _ask("New passphrase: ")
    if not file and _ask("Once more: ") != passphrase:
        raise SetupError("the two passphrases differ; nothing was done")
    check_passphrase(passphrase)
    return passphrase


def _read_passphrase(file: Path) -> str:
    try:
        return file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file}: cannot be read: {getattr(error, 'strerror', 'not a text file')}") from None


def _ask(question: str) -> str:
    if not sys.stdin.isatty():
        raise SetupError("a passphrase is needed: run this at a terminal, or name a file with it")
    return getpass.getpass(question)


def _account() -> str:
    """The account of the operating system that this runs under."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
