"""``wificrm announcement``: announcements from the command line.

Exit codes: 0 done, 1 there is no such announcement or venue, 2 what was asked for cannot be kept.
"""

import argparse
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from campaigns.announcements import NETWORK, ON, as_form, check_draft, state_on, text_in
from campaigns.store import (
    Centre,
    Counts,
    insert_announcement,
    restore_announcement,
    select_announcement,
    select_announcements,
    select_centres,
    select_counts,
    update_announcement,
    withdraw_announcement,
)
from crm.command_line import add_place, fail, say
from crm.settings import Settings
from crm.store import Store
from crm.times import local_moment
from crm.words import NAMES

EPILOG = """examples:
  wificrm announcement list
  wificrm announcement add --title-vi 'Nghỉ lễ' --body-vi 'Trung tâm nghỉ **ngày 2/9**.' --to 2026-09-02
  wificrm announcement edit 3 --title-en 'Public holiday' --body-en 'Closed on **2 September**.'
  wificrm announcement withdraw 3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of ``wificrm announcement`` to *parser*."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in (
        ("list", "show what there is, with how often it was shown and opened"),
        ("add", "write a new announcement"),
        ("edit", "change an announcement; what is not named stays"),
        ("withdraw", "take an announcement away from guests"),
        ("restore", "put a withdrawn announcement back"),
    ):
        verb = verbs.add_parser(
            name, help=summary, description=summary.capitalize() + ".", allow_abbrev=False
        )
        add_place(verb, again=True)
        if name in ("edit", "withdraw", "restore"):
            verb.add_argument("id", type=int, help="its number, as list shows it")
        verb.add_argument("--venue", metavar="V", help="code of the centre (default: the settings')")
        if name in ("add", "edit"):
            _add_content(verb)


def _add_content(verb: argparse.ArgumentParser) -> None:
    for language, name in NAMES.items():
        verb.add_argument(f"--title-{language}", metavar="TEXT", help=f"title in {name}, up to 120 letters")
        verb.add_argument(
            f"--body-{language}", metavar="TEXT", help=f"text in {name}, Markdown, up to 4000 letters"
        )
    verb.add_argument(
        "--from", dest="starts", metavar="DAY", help="first day shown, 2026-11-02 (default: today)"
    )
    verb.add_argument("--to", dest="ends", metavar="DAY", help="last day shown; '' for until it is withdrawn")
    verb.add_argument(
        "--network",
        dest="networks",
        action="append",
        metavar="NAME",
        help="show it on this network only; repeat for several, '' for all (default: all)",
    )
    verb.add_argument(
        "--urgent", action=argparse.BooleanOptionalAction, help="above the survey, for warnings only"
    )


async def run(args: argparse.Namespace, store: Store, settings: Settings) -> int:
    """Do what *args* ask for; returns the exit code."""
    today = local_moment(datetime.now(UTC), ZoneInfo(settings.venue.timezone)).day
    venue = args.venue or settings.venue.code
    async with store.read() as conn:
        centres = await select_centres(conn, venue)
        if not centres:
            known = ", ".join(centre.code for centre in await select_centres(conn, None)) or "none yet"
            return fail(1, f"there is no centre {venue} in the store; it knows: {known}")
    if args.verb == "list":
        return await _list(store, venue, today)
    if args.verb in ("add", "edit"):
        return await _write(args, store, settings, centres[0], today)
    async with store.begin() as conn:
        act = withdraw_announcement if args.verb == "withdraw" else restore_announcement
        if not await act(conn, args.id, venue):
            return _no_such(args.id, venue)
    return say(f"announcement {args.id} is {'withdrawn' if args.verb == 'withdraw' else 'back'}")


async def _list(store: Store, venue: str, today: date) -> int:
    async with store.read() as conn:
        found = await select_announcements(conn, venue)
        counts = await select_counts(conn, venue)
    for each in found:
        seen = counts.get(each.id, Counts())
        until = each.ends.isoformat() if each.ends else "withdrawn"
        mark = "urgent, " if each.urgent else ""
        say(f"{each.id:>4}  {text_in(each.texts, 'vi')[1]}")
        say(
            f"      {mark}{state_on(each, today)}, {each.starts} until {until}, {'/'.join(sorted(each.texts))},"
        )
        where = f"on {', '.join(each.networks)}; " if each.networks else ""
        say(f"      {where}shown {seen.shown}, opened {seen.opened}")
    return 0 if found else say(f"{venue} has no announcements yet; wificrm announcement add --help says how")


async def _write(
    args: argparse.Namespace, store: Store, settings: Settings, centre: Centre, today: date
) -> int:
    """Add or edit: the same form and the same checks as the staff page."""
    venue, languages = centre.code, centre.languages
    form = {"starts": today.isoformat()}
    if args.verb == "edit":
        async with store.read() as conn:
            before = await select_announcement(conn, args.id, venue)
        if before is None:
            return _no_such(args.id, venue)
        form = as_form(before)
    if args.networks is not None:
        if wrong := _unknown_network(args.networks, form, venue, settings):
            return fail(2, wrong)
        form = {key: value for key, value in form.items() if not key.startswith(ON)}
        form |= {ON + name: "on" for name in args.networks if name}
    draft, problems = check_draft(form | _given(args), languages)
    extra = sorted({key.split("-")[1] for key in _given(args) if "-" in key} - set(languages))
    if extra:
        return fail(2, f"{venue} does not offer {', '.join(extra)}; its languages are {', '.join(languages)}")
    for problem in problems:
        option = {"starts": "from", "ends": "to"}.get(problem.field, problem.field)
        fail(2, f"--{option}: {problem.message.format(**problem.values)}")
    if problems:
        return 2
    async with store.begin() as conn:
        if args.verb == "edit":
            await update_announcement(conn, args.id, venue, draft)
            return say(f"announcement {args.id} is changed")
        return say(f"announcement {await insert_announcement(conn, venue, draft)} is added")


def _unknown_network(names: list[str], form: dict[str, str], venue: str, settings: Settings) -> str:
    """What is wrong with the *names* of networks; "" when nothing. Only our own venue's networks are known."""
    known = [network.name for network in settings.places] if venue == settings.venue.code else []
    for name in filter(None, names):
        if not NETWORK.fullmatch(name):
            return f"--network: {name!r} is not the name of a network, such as guest"
        if known and name not in known and ON + name not in form:
            return f"--network: the settings have no network {name}; they have: {', '.join(known)}"
    return ""


def _given(args: argparse.Namespace) -> dict[str, str]:
    """The fields of the form that the command line names."""
    given: dict[str, Any] = {"starts": args.starts, "ends": args.ends}
    if args.urgent is not None:
        given["urgent"] = "on" if args.urgent else ""
    for language in NAMES:
        given[f"title-{language}"] = getattr(args, f"title_{language}")
        given[f"body-{language}"] = getattr(args, f"body_{language}")
    return {key: value for key, value in given.items() if value is not None}


def _no_such(number: int, venue: str) -> int:
    return fail(1, f"{venue} has no announcement {number}; wificrm announcement list shows them")
