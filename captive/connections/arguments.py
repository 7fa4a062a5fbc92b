"""The command line of ``wificrm connections``."""

import argparse
from pathlib import Path
from typing import Any

from crm.command_line import day
from crm.settings import DEFAULT_PATH

EPILOG = """examples:
  wificrm connections keygen /media/stick/connections.key --passphrase
  wificrm connections status
  wificrm connections export --key /media/stick/connections.key --from 2026-11-01 --to 2026-11-02 \\
      --reason "Request 123/PA05 of 2026-11-10" --requester "Nguyen Van A" --approver "Tran Thi B" \\
      --for requester.pub -o export.sealed
  wificrm connections audit --manifest export.sealed.manifest.json
"""
_PEOPLE = (
    ("--reason", "TEXT", "number and date of the request that this answers"),
    ("--requester", "NAME", "who asks for it"),
    ("--approver", "NAME", "who agreed to it; somebody else"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of ``wificrm connections`` to *parser*."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    keygen = _verb(verbs, "keygen", "make a pair of keys; prints the public one", config=False)
    keygen.add_argument("file", type=Path, help="where the private key goes; never on the box")
    keygen.add_argument(
        "--passphrase", action="store_true", help="lock it with a passphrase that is asked for"
    )
    keygen.add_argument("--passphrase-file", type=Path, metavar="FILE", help="read it there, do not ask")
    _verb(verbs, "status", "what is kept, under which key, for how long")
    audit = _verb(verbs, "audit", "who opened the log and why; exit code 1: lines were changed or taken out")
    audit.add_argument(
        "--manifest", type=Path, metavar="FILE", help="also look that the lines this manifest names are there"
    )
    _add_export(_verb(verbs, "export", "the records that a request asks for, as a sealed file"))
    _add_open(_verb(verbs, "open", "open a sealed export", config=False))
    purge = _verb(verbs, "purge", "remove what is older than connection_log.days, or --before a day")
    purge.add_argument("--before", type=day, metavar="D", help="everything earlier than this day, 2026-01-31")
    _add_people(purge, required=False)


def _verb(
    verbs: Any,  # noqa: ANN401 - argparse does not name this type
    name: str,
    summary: str,
    *,
    config: bool = True,
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    if config:
        verb.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="settings file")
    return verb


def _add_export(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--key", type=Path, action="append", required=True, metavar="FILE",
        help="private key of the log; repeat it where the key was changed",
    )  # fmt: skip
    verb.add_argument(
        "--key-passphrase-file", type=Path, metavar="FILE", help="its passphrase; else it is asked for"
    )
    verb.add_argument("--from", dest="first", type=day, metavar="D", help="first day, 2026-01-31")
    verb.add_argument("--to", dest="last", type=day, metavar="D", help="last day")
    verb.add_argument("--address", default="", metavar="A", help="only who had this IP address")
    verb.add_argument("--at", metavar="T", help='only who was online then, "2026-01-31 14:05" at the centre')
    _add_people(verb, required=True)
    reader = verb.add_mutually_exclusive_group()
    reader.add_argument(
        "--for", dest="reader", metavar="KEY", help="public key of the reader, or a file with it"
    )
    reader.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="seal it with this passphrase; else it is asked for",
    )
    verb.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help="file to write")


def _add_open(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("file", type=Path, help="the sealed export")
    verb.add_argument("--key", type=Path, metavar="FILE", help="the reader's private key")
    verb.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="a passphrase; else it is asked for"
    )
    verb.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="FILE", help="the CSV file to write"
    )


def _add_people(verb: argparse.ArgumentParser, *, required: bool) -> None:
    for option, metavar, summary in _PEOPLE:
        verb.add_argument(option, metavar=metavar, required=required, default="", help=summary)
