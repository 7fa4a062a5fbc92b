"""Questionnaires as data: what is asked, of whom, in which words. Rules only, no I/O.

A questionnaire is a TOML file (`surveys/questionnaires/nhanh.toml` shows the form). Question and option keys
are what answers are stored under: once published they are never reused and never change their kind.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from crm.errors import UserError

Texts = dict[str, str]
"""Language code to text."""

Kind = Literal["choice", "scale", "comment"]
FALLBACK = "vi"
"""The language a text is taken from when the asked one is missing."""


class Option(msgspec.Struct, frozen=True):
    """One answer of a closed question.

    *face* is "5".."1" for a drawn face or the name of an icon; *valid* is False for "no opinion", which is
    counted but not scored; *score* is 5..1 on scales. Who chose one that holds only for *now* is offered the
    question again at the end of the visit: who was waiting may have been served by then.
    """

    key: str
    text: Texts
    face: str = ""
    valid: bool = True
    score: int | None = None
    now: bool = False


class Question(msgspec.Struct, frozen=True):
    """One question; it is asked when every line of *when* (question -> wanted options) holds.

    *factor* is the factor of the national survey SIPAS ("overall", "1".."5"), *nd61_item* the letter of
    Decree 61/2018/ND-CP article 31.1 that it touches; both only label reports.
    """

    key: str
    kind: Kind
    text: Texts
    options: tuple[Option, ...] = ()
    when: dict[str, tuple[str, ...]] = {}
    factor: str = ""
    nd61_item: str = ""
    max_length: int = 1000
    hint: Texts = {}


class Questionnaire(msgspec.Struct, frozen=True):
    """Questions in the order in which they are asked."""

    key: str
    title: Texts
    questions: tuple[Question, ...]


def in_language(texts: Mapping[str, str], language: str) -> str:
    """The text in *language*, else in Vietnamese, else in any; "" when there is none."""
    return texts.get(language) or texts.get(FALLBACK) or next(iter(texts.values()), "")


def first_question(questionnaire: Questionnaire) -> Question:
    """The question everybody meets first."""
    return questionnaire.questions[0]


def find_question(questionnaire: Questionnaire, key: str) -> Question:
    """The question called *key*. Raises `UserError` 404."""
    for question in questionnaire.questions:
        if question.key == key:
            return question
    raise UserError("There is no such question.", 404)


def _route(questionnaire: Questionnaire, answers: Mapping[str, str]) -> list[Question]:
    """The questions on the route; an answer off the route opens nothing."""
    route: list[Question] = []
    given: dict[str, str] = {}
    for question in questionnaire.questions:
        if all(given.get(key) in wanted for key, wanted in question.when.items()):
            route.append(question)
            if question.key in answers:
                given[question.key] = answers[question.key]
    return route


def reachable(questionnaire: Questionnaire, answers: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of the questions that somebody with *answers* meets, in order."""
    return tuple(question.key for question in _route(questionnaire, answers))


def next_question(questionnaire: Questionnaire, after: str, answers: Mapping[str, str]) -> Question | None:
    """The first question after *after* on the route; None at the end. Raises `UserError` 404."""
    place = _place(questionnaire, after)
    return next((q for q in _route(questionnaire, answers) if _place(questionnaire, q.key) > place), None)


def previous_question(
    questionnaire: Questionnaire, before: str, answers: Mapping[str, str]
) -> Question | None:
    """The last question before *before* on the route; None at the start. Raises `UserError` 404."""
    place = _place(questionnaire, before)
    found = [q for q in _route(questionnaire, answers) if _place(questionnaire, q.key) < place]
    return found[-1] if found else None


def question_to_repeat(questionnaire: Questionnaire, answers: Mapping[str, str]) -> Question | None:
    """The first question whose answer held only for then; None: each stays true."""
    return next(
        (
            question
            for question in _route(questionnaire, answers)
            for option in question.options
            if option.now and answers.get(question.key) == option.key
        ),
        None,
    )


def progress(questionnaire: Questionnaire, key: str, answers: Mapping[str, str]) -> tuple[int, int]:
    """(step, of): where *key* stands; while it is unanswered the longest of its ways on is promised."""
    question = find_question(questionnaire, key)
    ways = (
        [dict(answers)] if key in answers else [{**answers, key: option.key} for option in question.options]
    )
    routes = [reachable(questionnaire, way) for way in ways or [dict(answers)]]
    route = max(routes, key=len)
    return (route.index(key) + 1 if key in route else 1), len(route)


def _place(questionnaire: Questionnaire, key: str) -> int:
    for place, question in enumerate(questionnaire.questions):
        if question.key == key:
            return place
    raise UserError("There is no such question.", 404)


def structure_hash(questionnaire: Questionnaire) -> str:
    """SHA-256 of what answers depend on: keys, kinds, options, scores, routing. Equal: answers compare."""
    return _sha256(
        [
            questionnaire.key,
            [
                [q.key, q.kind, [[o.key, o.valid, o.score] for o in q.options], q.when]
                for q in questionnaire.questions
            ],
        ]
    )


def content_hash(questionnaire: Questionnaire) -> str:
    """SHA-256 of everything, words included."""
    return _sha256(questionnaire)


def _sha256(value: Any) -> str:  # noqa: ANN401
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def check_successor(questionnaire: Questionnaire, earlier: Sequence[Questionnaire]) -> None:
    """Check that *questionnaire* may follow the *earlier* versions (newest last).

    A key keeps its kind, an option its score and whether it counts. What had been dropped may come back only
    word for word as it was: else it is something new and needs a new key. Raises `UserError` 409.
    """
    questions = {q.key: q for version in earlier for q in version.questions}
    options = {(q.key, o.key): o for version in earlier for q in version.questions for o in q.options}
    newest = earlier[-1].questions if earlier else ()
    asked = {q.key for q in newest}
    offered = {(q.key, o.key) for q in newest for o in q.options}
    for question in questionnaire.questions:
        then = questions.get(question.key, question)
        if question.kind != then.kind or (question.key not in asked and question.text != then.text):
            raise UserError(
                "Question {key} was used for something else before; give the new question a new key.",
                409,
                key=question.key,
            )
        for option in question.options:
            place = question.key, option.key
            was = options.get(place, option)
            moved = (option.score, option.valid) != (was.score, was.valid)
            if moved or (place not in offered and option.text != was.text):
                raise UserError(
                    "Option {key} of {question} was used for something else before; give it a new key.",
                    409,
                    key=option.key,
                    question=question.key,
                )
