"""How stored answers become counts: the bookkeeping of one response, and rows merged before they are written.

Rules only, no I/O. `surveys.store` writes what these compute, in the same transaction as the answers.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from uuid import UUID

import msgspec

from surveys.questions import Questionnaire, reachable

COMMENT = "text"
"""What a comment counts as: that there is one."""

CountKey = tuple[str, str, date, int, str, str, str, str, str]
"""venue, questionnaire, day, daypart, unit, channel, language, question, value"""
FunnelKey = tuple[str, str, date, int, str, str, str, str]
"""venue, questionnaire, day, daypart, unit, channel, language, step"""
HourKey = tuple[str, date, int, str]
"""venue, month's first day, hour, channel"""


class Kept(msgspec.Struct):
    """A response as stored: everything that its counts are keyed by, and its answers."""

    id: UUID
    venue: str
    version_id: int
    unit: str
    day: date
    daypart: int
    channel: str
    language: str
    complete: bool
    answers: dict[str, str]
    comments: frozenset[str]
    questionnaire: str
    new: bool = False
    changed: bool = False

    @property
    def key(self) -> tuple[str, str, date, int, str, str, str]:
        """What all counts of this response begin with."""
        return (
            self.venue,
            self.questionnaire,
            self.day,
            self.daypart,
            self.unit,
            self.channel,
            self.language,
        )


class Tally:
    """The changes of many responses, merged: what each counter gains, what each fact becomes."""

    def __init__(self) -> None:
        self.counts: Counter[CountKey] = Counter()
        self.funnel: Counter[FunnelKey] = Counter()
        self.hours: Counter[HourKey] = Counter()
        self.facts: dict[tuple[UUID, str], tuple[str, str] | None] = {}
        """(response, question) -> (venue, value), None when the answer was taken back"""

    def start(self, kept: Kept, hour: int) -> None:
        """A response has begun."""
        self.funnel[(*kept.key, "started")] += 1
        self.hours[(kept.venue, kept.day.replace(day=1), hour, kept.channel)] += 1
        kept.changed = True

    def complete(self, kept: Kept) -> None:
        """A response has come to its end."""
        kept.complete = kept.changed = True
        self.funnel[(*kept.key, "completed")] += 1

    def change(self, kept: Kept, answers: Mapping[str, str]) -> None:
        """The answers of *kept* become *answers*."""
        before = kept.answers
        if answers == before:
            return
        for question in before.keys() | answers.keys():
            old, new = before.get(question), answers.get(question)
            if old == new:
                continue
            comment = question in kept.comments
            if old is not None:
                self.counts[(*kept.key, question, COMMENT if comment else old)] -= 1
            if new is not None:
                self.counts[(*kept.key, question, COMMENT if comment else new)] += 1
            if not comment:
                self.facts[(kept.id, question)] = None if new is None else (kept.venue, new)
        kept.answers = dict(answers)
        kept.changed = True


def amend(
    questionnaire: Questionnaire, answers: Mapping[str, str], question: str, value: str
) -> tuple[dict[str, str], bool]:
    """*answers* after *question* got *value* ("": taken back), without what is off the route now.

    The second value says whether *question* is the last on the route.
    """
    given = dict(answers)
    if value:
        given[question] = value
    else:
        given.pop(question, None)
    route = reachable(questionnaire, given)
    return {key: given[key] for key in route if key in given}, route[-1] == question


def comment_keys(questionnaire: Questionnaire) -> frozenset[str]:
    """The questions that are answered in words."""
    return frozenset(question.key for question in questionnaire.questions if question.kind == "comment")
