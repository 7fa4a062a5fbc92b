"""What commands share: where the store is, a sentence on the way out, an exit code."""

import argparse
import sys
from datetime import date
from pathlib import Path

from crm.settings import DEFAULT_PATH


def add_place(command: argparse.ArgumentParser, *, again: bool = False) -> None:
    """``--data DIR`` or ``--config FILE``; *again*: also behind a verb, where leaving it out changes nothing."""
    place = command.add_mutually_exclusive_group()
    nothing = argparse.SUPPRESS if again else None
    place.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=nothing,
        help="folder of SQLite stores, such as the demo's",
    )
    place.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=nothing if again else DEFAULT_PATH,
        help="settings file",
    )


def add_config(command: argparse.ArgumentParser, *, again: bool = False) -> None:
    """``--config FILE``; *again*: also behind a verb, where leaving it out changes nothing."""
    default = argparse.SUPPRESS if again else DEFAULT_PATH
    command.add_argument("--config", type=Path, default=default, metavar="FILE", help="settings file")


def day(text: str) -> date:
    """The day that *text* (2026-01-31) is, for argparse."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-01-31") from None


def say(sentence: str) -> int:
    """Print *sentence*; 0, the exit code of what went well."""
    sys.stdout.write(sentence + "\n")
    return 0


def fail(code: int, sentence: str) -> int:
    """Print *sentence* as an error; *code*."""
    sys.stderr.write(f"wificrm: {sentence}\n")
    return code
