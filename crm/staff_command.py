"""``wificrm staff``: accounts from the command line. A password is asked for or read from a file, never an option.

Exit codes: 0 done, 1 there is no such account or venue, 2 what was asked for cannot be kept.
"""

import argparse
import asyncio
import getpass
import sys
from pathlib import Path

from crm.command_line import add_place, fail, say
from crm.errors import SetupError, UserError
from crm.settings import Settings
from crm.staff import (
    Passwords,
    check_name,
    check_password,
    delete_staff,
    fold_name,
    insert_staff,
    list_staff,
    select_staff_by_name,
    set_password,
)
from crm.store import Store

EPILOG = """examples:
  wificrm staff add mai --role manager
  wificrm staff add nam --role official --venue DEMO-P01
  wificrm staff password nam
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of ``wificrm staff`` to *parser*."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in (
        ("list", "show the accounts"),
        ("add", "make an account; asks for its password"),
        ("password", "set a new password; ends the sessions of the account"),
        ("remove", "remove an account and end its sessions"),
    ):
        verb = verbs.add_parser(
            name, help=summary, description=summary.capitalize() + ".", allow_abbrev=False
        )
        add_place(verb, again=True)
        if name != "list":
            verb.add_argument("name", help="what the person signs in with")
        if name in ("add", "password"):
            verb.add_argument("--password-file", type=Path, metavar="FILE", help="read it there, do not ask")
        if name == "add":
            verb.add_argument(
                "--role",
                choices=("manager", "official"),
                required=True,
                help="managers change, officials read",
            )
            verb.add_argument("--venue", metavar="V", help="code of the one centre it covers (default: all)")


async def run(args: argparse.Namespace, store: Store, _settings: Settings) -> int:
    """Do what *args* ask for; returns the exit code. Raises `SetupError` when a password cannot be had."""
    try:
        if args.verb == "list":
            return await _list(store)
        return await (_add(args, store) if args.verb == "add" else _change(args, store))
    except UserError as error:
        return fail(1 if error.status == 404 else 2, str(error))


async def _list(store: Store) -> int:
    async with store.read() as conn:
        found = await list_staff(conn)
    for each in found:
        say(f"{each.name:<24} {each.role:<9} {each.venue or 'every centre'}")
    return 0 if found else say("there are no accounts yet; wificrm staff add --help says how")


async def _add(args: argparse.Namespace, store: Store) -> int:
    name = check_name(args.name)
    async with store.read() as conn:
        if await select_staff_by_name(conn, name):
            raise UserError("There is already an account called {name}.", 409, name=name)
    password_hash = await Passwords().hash(await _password(args, name))
    async with store.begin() as conn:
        await insert_staff(conn, name, password_hash, args.role, args.venue)
    return say(f"{name} can sign in now")


async def _change(args: argparse.Namespace, store: Store) -> int:
    """Set the password of an account, or remove it."""
    name = fold_name(args.name)
    async with store.read() as conn:
        found = await select_staff_by_name(conn, name)
    if found is None:
        return fail(1, f"there is no account called {name}; wificrm staff list shows them")
    if args.verb == "remove":
        async with store.begin() as conn:
            await delete_staff(conn, found[0].id)
        return say(f"{name} is removed")
    password_hash = await Passwords().hash(await _password(args, name))
    async with store.begin() as conn:
        await set_password(conn, found[0].id, password_hash)
    return say(f"{name} has a new password; who was signed in has to sign in again")


async def _password(args: argparse.Namespace, name: str) -> str:
    """The password: the file's first line, or typed twice without an echo."""
    if args.password_file:
        try:
            lines = args.password_file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"{args.password_file}: the password cannot be read: {error}") from None
        return check_password(lines[0] if lines else "", name)
    if not sys.stdin.isatty():
        raise SetupError("there is no terminal to ask for the password on; use --password-file")
    typed = check_password(await asyncio.to_thread(getpass.getpass, f"New password for {name}: "), name)
    if await asyncio.to_thread(getpass.getpass, "Once more: ") != typed:
        raise UserError("The two passwords differ; nothing was changed.")
    return typed
