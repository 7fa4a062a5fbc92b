"""What citizens are told: an announcement, when it is shown, what it may hold, how it looks (no I/O)."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

import msgspec
import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

MAX_TITLE = 120
MAX_BODY = 4000
"""Letters, counted after composing them (NFC), so that a Vietnamese letter is one."""

ON = "network-"
"""What the fields of a form begin with that name the networks."""
NETWORK = re.compile(r"[a-z][a-z0-9_]{0,11}")

State = Literal["shown", "coming", "past", "withdrawn"]

Texts = dict[str, dict[str, str]]
"""{language: {"title": plain text, "body": Markdown}}"""

# No headings (the page has its own outline), no HTML, no code: what an official pastes with four spaces in
# front is still text. Pictures fall to the list of tags: a guest page asks for nothing besides itself.
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable(
    ["heading", "lheading", "code", "fence", "html_block", "html_inline", "reference"]
)
_TAGS = {"p", "br", "strong", "em", "ul", "ol", "li", "a", "blockquote", "hr"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")


class Announcement(msgspec.Struct, frozen=True):
    """One announcement of one venue."""

    id: int
    venue: str
    texts: Texts
    starts: date  # first local day shown
    ends: date | None  # last local day shown; None: until withdrawn
    urgent: bool
    withdrawn: bool
    networks: tuple[str, ...] = ()  # the networks of the venue that it is shown on; (): all of them


class Draft(msgspec.Struct, frozen=True):
    """What can be written into an announcement."""

    texts: Texts
    starts: date
    ends: date | None
    urgent: bool
    networks: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a field: a message key and what fills it."""

    field: str
    message: str
    values: dict[str, object] = {}


def state_on(announcement: Announcement, day: date) -> State:
    """Where *announcement* stands on the local *day*."""
    if announcement.withdrawn:
        return "withdrawn"
    if day < announcement.starts:
        return "coming"
    return "past" if announcement.ends is not None and announcement.ends < day else "shown"


def shown_on(announcement: Announcement, day: date) -> bool:
    """Whether guests see *announcement* on the local *day*; both its days count."""
    return state_on(announcement, day) == "shown"


def is_for(announcement: Announcement, network: str) -> bool:
    """Whether guests on *network* see *announcement*."""
    return not announcement.networks or network in announcement.networks


def in_order(announcements: Iterable[Announcement]) -> list[Announcement]:
    """Urgent ones first, then the newest start, then the newest."""
    return sorted(announcements, key=lambda a: (a.urgent, a.starts, a.id), reverse=True)


def text_in(texts: Texts, language: str, first: str = "vi") -> tuple[str, str, str]:
    """The (language, title, body) to show who reads *language*: that, else *first*, else any."""
    for choice in (language, first, *sorted(texts)):
        if choice in texts:
            return choice, texts[choice]["title"], texts[choice]["body"]
    raise ValueError("an announcement without a text")


@functools.lru_cache(maxsize=256)
def body_html(markdown: str) -> Markup:
    """*markdown* as safe HTML: paragraphs, lists, stress, and links to http(s) addresses."""
    html = _MARKDOWN.render(markdown[:MAX_BODY])
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        attribute_filter=_keep_attribute,
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(clean)  # noqa: S704 - cleaned on the line above


def _keep_attribute(_tag: str, name: str, value: str) -> str | None:
    """Only whole http(s) addresses: a relative one would lead into the portal, any other to an application."""
    if name == "rel":  # the cleaner's own
        return value
    return value if name == "href" and re.match(r"https?://[\w\[]", value, re.IGNORECASE) else None


def tidy(text: str, *, lines: bool = False) -> str:
    """*text* composed and without control letters; *lines* keeps its line ends."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = unicodedata.normalize("NFC", _CONTROL.sub("", text))
    return text.strip() if lines else " ".join(text.split())


def check_draft(form: Mapping[str, str], languages: Iterable[str]) -> tuple[Draft, list[Problem]]:
    """What *form* says, and what is wrong with it; the draft may be kept only when nothing is.

    Fields: ``title-LL`` and ``body-LL`` for each of *languages* (the first must be filled in, another may be
    left empty), ``starts`` and ``ends`` as YYYY-MM-DD, ``urgent``, ``network-NAME`` for each network it is on.
    """
    problems: list[Problem] = []
    texts: Texts = {}
    for number, language in enumerate(languages):
        title = tidy(form.get(f"title-{language}", ""))
        body = tidy(form.get(f"body-{language}", ""), lines=True)
        if title or body or number == 0:
            problems += _check_text(language, title, body)
            texts[language] = {"title": title, "body": body}
    starts = _read_day(form, "starts")
    ends = _read_day(form, "ends")
    if starts is None:
        problems.append(Problem("starts", "Choose the first day it is shown, for example 2026-11-02."))
    if ends is None and form.get("ends", "").strip():
        problems.append(Problem("ends", "Choose the last day it is shown, or leave it empty."))
    if starts and ends and ends < starts:
        problems.append(Problem("ends", "The last day is before the first day."))
    networks = tuple(sorted(key.removeprefix(ON) for key in form if key.startswith(ON) and form[key]))
    if not all(NETWORK.fullmatch(name) for name in networks):
        problems.append(Problem("networks", "Choose networks by their names in the settings."))
    return Draft(texts, starts or date.min, ends, bool(form.get("urgent")), networks), problems


def as_form(announcement: Announcement) -> dict[str, str]:
    """*announcement* as the fields that `check_draft` reads."""
    form = {"starts": announcement.starts.isoformat()}
    form["ends"] = announcement.ends.isoformat() if announcement.ends else ""
    form["urgent"] = "on" if announcement.urgent else ""
    for language, text in announcement.texts.items():
        form |= {f"title-{language}": text["title"], f"body-{language}": text["body"]}
    return form | {ON + name: "on" for name in announcement.networks}


def _check_text(language: str, title: str, body: str) -> Iterable[Problem]:
    if not title:
        yield Problem(f"title-{language}", "Write a title.")
    elif len(title) > MAX_TITLE:
        yield Problem(
            f"title-{language}",
            "The title has {n} letters; {most} are the most.",
            {"n": len(title), "most": MAX_TITLE},
        )
    if not body:
        yield Problem(f"body-{language}", "Write the text.")
    elif len(body) > MAX_BODY:
        yield Problem(
            f"body-{language}",
            "The text has {n} letters; {most} are the most.",
            {"n": len(body), "most": MAX_BODY},
        )


def _read_day(form: Mapping[str, str], field: str) -> date | None:
    raw = form.get(field, "").strip()
    if not re.fullmatch(r"20\d\d-\d\d-\d\d", raw, re.ASCII):
        return None
    try:
        return date.fromisoformat(raw)
    except ValueError:
        return None
