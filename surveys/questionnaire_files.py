"""Questionnaire files: TOML to `Questionnaire`, every mistake told with its line and what was expected."""

import re
import tomllib
from collections.abc import Iterator
from importlib import resources

import msgspec

from crm.errors import SetupError
from surveys.questions import Kind, Option, Question, Questionnaire, Texts

Problems = Iterator[tuple[str, str]]
"""(path, what was expected there)"""

MAX_QUESTIONS = 60
MAX_OPTIONS = 12
KEY = re.compile(r"[A-Za-z0-9_]{1,32}")
LANGUAGE = re.compile(r"[a-z]{2,3}")
TABLE = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
TOKEN = re.compile(r"[^.\[\]]+|\[[^\]]*\]")
ASSIGNED = re.compile(r"\s*([A-Za-z0-9_\-.\"]+)\s*=")


class _Option(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    text: Texts
    face: str = ""
    valid: bool = True
    score: int | None = None
    now: bool = False


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    kind: Kind
    text: Texts
    scale: str = ""
    option: tuple[_Option, ...] = ()
    when: dict[str, tuple[str, ...]] = {}
    factor: str = ""
    nd61_item: str = ""
    max_length: int = 1000
    hint: Texts = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    title: Texts
    question: tuple[_Question, ...]
    scale: dict[str, tuple[_Option, ...]] = {}


def parse_questionnaire(text: str, name: str) -> Questionnaire:
    """The questionnaire that *text* holds. Raises `SetupError` "name:line: key: what was expected"."""
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{name}: not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise SetupError(_explain(error, text, name)) from None
    for path, problem in _check(file):
        raise SetupError(f"{name}:{_line_of(text, path)}: {_spoken(path)}: {problem}")
    return Questionnaire(file.key, file.title, tuple(_question(question, file) for question in file.question))


def load_questionnaire(key: str) -> Questionnaire:
    """The questionnaire *key* that ships with the program. Raises `SetupError` when there is none."""
    folder = resources.files("surveys").joinpath("questionnaires")
    file = folder.joinpath(f"{key}.toml")
    if not KEY.fullmatch(key) or not file.is_file():
        there = ", ".join(
            sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
        )
        raise SetupError(f"there is no questionnaire {key!r}; there are: {there}")
    return parse_questionnaire(file.read_text("utf-8"), f"{key}.toml")


def _options(question: _Question, file: _File) -> tuple[_Option, ...]:
    return file.scale[question.scale] if question.scale else question.option


def _question(question: _Question, file: _File) -> Question:
    return Question(
        question.key,
        question.kind,
        question.text,
        tuple(Option(o.key, o.text, o.face, o.valid, o.score, o.now) for o in _options(question, file)),
        question.when,
        question.factor,
        question.nd61_item,
        question.max_length,
        question.hint,
    )


def _check(file: _File) -> Problems:
    """What the types cannot say: (path, what was expected)."""
    if not KEY.fullmatch(file.key):
        yield "key", "expected 1 to 32 letters, digits or _"
    yield from _check_texts("title", file.title)
    for name, scale in file.scale.items():
        yield from _check_options(f"scale.{name}", scale, scored=True)
    if not 1 <= len(file.question) <= MAX_QUESTIONS:
        yield "question", f"expected 1 to {MAX_QUESTIONS} questions"
    earlier: dict[str, frozenset[str]] = {}
    for index, question in enumerate(file.question):
        path = f"question[{index}]"
        if not KEY.fullmatch(question.key):
            yield f"{path}.key", "expected 1 to 32 letters, digits or _"
        if question.key in earlier:
            yield f"{path}.key", f"{question.key!r} stands twice; every question needs its own key"
        yield from _check_texts(f"{path}.text", question.text)
        yield from _check_kind(path, question, file)
        yield from _check_when(path, question, earlier)
        earlier[question.key] = frozenset(option.key for option in _options(question, file))


def _check_kind(path: str, question: _Question, file: _File) -> Problems:
    if question.scale and question.scale not in file.scale:
        yield (
            f"{path}.scale",
            f"expected the name of a scale of this file: {', '.join(file.scale) or 'it has none'}",
        )
        return
    if question.scale and question.option:
        yield f"{path}.scale", "expected a scale or options of its own, not both"
    if not 1 <= question.max_length <= 1000:
        yield f"{path}.max_length", "expected 1 to 1000 letters"
    if question.hint:
        yield from _check_texts(f"{path}.hint", question.hint)
    if question.kind == "comment":
        if question.option or question.scale:
            yield f"{path}.kind", "a comment has no options; expected choice or scale, or no options"
        return
    options = _options(question, file)
    if not question.scale:
        yield from _check_options(f"{path}.option", options, scored=question.kind == "scale")
    elif question.kind != "scale":
        yield f"{path}.kind", "a question with a scale is of the kind scale"


def _check_options(path: str, options: tuple[_Option, ...], *, scored: bool) -> Problems:
    if not 2 <= len(options) <= MAX_OPTIONS:
        yield path, f"expected 2 to {MAX_OPTIONS} options"
    seen: set[str] = set()
    for index, option in enumerate(options):
        where = f"{path}[{index}]"
        if not KEY.fullmatch(option.key):
            yield f"{where}.key", "expected 1 to 32 letters, digits or _"
        if option.key in seen:
            yield f"{where}.key", f"{option.key!r} stands twice; every option of a question needs its own key"
        seen.add(option.key)
        yield from _check_texts(f"{where}.text", option.text)
        if scored and option.valid and option.score not in range(1, 6):
            yield f"{where}.score", "expected 1 to 5 (or valid = false for no opinion)"
        if option.score is not None and not (scored and option.valid):
            yield f"{where}.score", "only options of a scale that count have a score"


def _check_when(path: str, question: _Question, earlier: dict[str, frozenset[str]]) -> Problems:
    for key, wanted in question.when.items():
        if key not in earlier:
            yield (
                f"{path}.when",
                f"expected an earlier question instead of {key!r}: {', '.join(earlier) or 'none yet'}",
            )
            continue
        options = earlier[key]
        missing = [option for option in wanted if option not in options]
        if missing or not wanted:
            yield f"{path}.when", f"expected options of {key}: {', '.join(sorted(options)) or 'it has none'}"


def _check_texts(path: str, texts: Texts) -> Problems:
    if not any(text.strip() for text in texts.values()):
        yield path, 'expected a text in at least one language, e.g. vi = "..."'
    for language in texts:
        if not LANGUAGE.fullmatch(language):
            yield path, f"{language!r} is not a language code such as vi or en"


def _explain(error: msgspec.ValidationError, text: str, name: str) -> str:
    message = str(error)
    found = re.search(r" - at `(?:key in )?\$\.?([^`]*)`", message)
    path = found.group(1) if found else ""
    expectation = re.sub(r" - at `[^`]*`", "", message)
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown:
        path = f"{path}.{unknown.group(1)}".lstrip(".")
        expectation = "there is no such key here"
    return f"{name}:{_line_of(text, path)}: {_spoken(path) or 'the file'}: {expectation}"


def _spoken(path: str) -> str:
    """`question[1].text` as people count: ``question 2: text``."""
    parts = (
        f" {int(token[1:-1]) + 1}" if token[1:-1].isdigit() else f": {token}" for token in TOKEN.findall(path)
    )
    return "".join(parts).removeprefix(": ").replace(": [...]", "")


def _line_of(text: str, path: str) -> int:
    """The line (from 1) on which *path* is set: the assignment, else the table it belongs to, else 1."""
    wanted = TOKEN.findall(path)
    best, length = 1, 0
    for number, where in _lines(text):
        there = TOKEN.findall(where)
        # msgspec writes [...] for a key of a mapping
        inside = len(there) <= len(wanted) and all(
            w in (t, "[...]") for w, t in zip(wanted, there, strict=False)
        )
        if inside and len(there) > length:
            best, length = number, len(there)
    return best


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(line, path) of every table header and assignment; arrays of tables are counted."""
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = TABLE.match(line)
        if header:
            parts, table = header.group(2).replace('"', "").split("."), ""
            for depth, part in enumerate(parts):
                table = f"{table}.{part}".lstrip(".")
                if depth == len(parts) - 1 and header.group(1) == "[[":
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = f"{table}[{counts[table]}]"
            yield number, table
            continue
        assigned = ASSIGNED.match(line)
        if assigned:
            yield number, f"{table}.{assigned.group(1)}".lstrip(".").replace('"', "")
