"""What the doctor finds, one thing a line: for people, and for machines."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

State = Literal["ok", "warning", "fault", "skipped"]
Part = Literal["box", "join", "names", "portal", "walls", "online"]

MOST_DETAIL = 600
"""Letters of what was found; an option of DHCP alone has 255."""

HEADINGS: dict[Part, str] = {
    "box": "This box",
    "join": "A phone joins {network}",
    "names": "It asks for names",
    "portal": "It looks for the portal",
    "walls": "It tries to get past the portal",
    "online": "It skips the survey and is online; then its time ends",
}
SIGNS: dict[State, str] = {"ok": "ok     ", "warning": "WARNING", "fault": "FAULT  ", "skipped": "-      "}


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. *skipped*: it could not be, for the reason in *detail*."""

    what: str
    state: State
    detail: str
    todo: str = ""
    """What to do about it, as an order."""
    network: str = ""
    """The guests' network that it was met on; "" for the box itself."""
    part: Part = "box"


class Notes:
    """Findings of one part as they are made, each under what was looked at."""

    def __init__(self, part: Part = "box", network: str = "") -> None:
        self._part, self._network = part, network
        self.findings: list[Finding] = []

    def ok(self, what: str, detail: str) -> None:
        """*what* is as it should be."""
        self._note(what, "ok", detail, "")

    def warn(self, what: str, detail: str, todo: str) -> None:
        """*what* serves, and should be looked at."""
        self._note(what, "warning", detail, todo)

    def fault(self, what: str, detail: str, todo: str) -> None:
        """*what* keeps guests from something."""
        self._note(what, "fault", detail, todo)

    def skip(self, what: str, detail: str) -> None:
        """*what* could not be looked at."""
        self._note(what, "skipped", detail, "")

    def _note(self, what: str, state: State, detail: str, todo: str) -> None:
        self.findings.append(Finding(what, state, _clean(detail), todo, self._network, self._part))


def _clean(text: str) -> str:
    """*text*, which may quote what strangers sent, without what could steer a terminal or begin a line."""
    return "".join(each if each.isprintable() else "?" for each in text)[:MOST_DETAIL]


def exit_code(findings: Sequence[Finding]) -> int:
    """For monitors: 1 where there is a fault; warnings are none."""
    return int(any(finding.state == "fault" for finding in findings))


def as_text(findings: Sequence[Finding]) -> str:
    """The findings line by line, under headings, and how many are bad."""
    return "\n".join([*_lines(findings), "", _sum(findings)])


def as_json(findings: Sequence[Finding]) -> str:
    """The findings for a machine: a list of objects, each with all keys."""
    return msgspec.json.encode(findings).decode()


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    above = ("", "")
    for each in findings:
        if (each.network, each.part) != above:
            yield ("" if above == ("", "") else "\n") + HEADINGS[each.part].format(network=each.network)
            above = (each.network, each.part)
        yield f"{SIGNS[each.state]}  {each.what}: {each.detail}"
        if each.todo:
            yield f"         -> {each.todo}"


def _sum(findings: Sequence[Finding]) -> str:
    """How many are bad, and which: on a console the lines themselves may have scrolled away."""
    told = [
        f"{len(bad)} {state}{'' if len(bad) == 1 else 's'}: {'; '.join(dict.fromkeys(bad))}."
        for state in ("fault", "warning")
        if (bad := [each.what for each in findings if each.state == state])
    ]
    return "\n".join(told) or "Nothing is wrong."
