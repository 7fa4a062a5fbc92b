"""The catalogues hold what the program says, in every language that is offered."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from crm.words import DRAFTS, NAMES, choose_language, load_words

ROOT = Path(__file__).parents[2]
PACKAGES = ("crm", "surveys", "campaigns", "captive")
CATALOGUES = ROOT / "crm" / "locales"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
SAME_IN_VIETNAMESE = {"Wi-Fi", "CSV", "Excel", "JSON", "OTP"}


def in_templates() -> Iterator[tuple[str, str]]:
    """(message, where) of every ``_("...")`` in a template."""
    for package in PACKAGES:
        for path in sorted((ROOT / package / "templates").rglob("*.html")):
            with path.open("rb") as file:
                options = {"silent": "false", "trimmed": "false"}
                for line, message, _, _ in extract("jinja2", file, keywords={"_": None}, options=options):
                    assert isinstance(message, str), f"{path}:{line}: {message}"
                    yield message, f"{path.relative_to(ROOT)}:{line}"


def in_code() -> Iterator[tuple[str, str]]:
    """(message, where) of every `UserError` and every ``say(language, "...")`` in the packages."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            for line, message in messages_of(tree):
                yield message, f"{path.relative_to(ROOT)}:{line}"


def messages_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    constants = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for scope in ast.walk(tree):
        if not isinstance(scope, FUNCTION):
            continue
        for call in ast.walk(scope):
            if isinstance(call, ast.Call) and (message := message_of(call)) is not None:
                if isinstance(message, ast.Name):
                    message = constants.get(message.id, message)
                # A message chosen at run time: every sentence that stands in this function may be it.
                yield from sentences(message) or sentences(scope)


def message_of(call: ast.Call) -> ast.expr | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "UserError" and call.args:
        return call.args[0]
    if name == "say" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        return call.args[1]
    return None


def sentences(node: ast.AST) -> list[tuple[int, str]]:
    if isinstance(node, ast.Constant):
        return [(node.lineno, node.value)] if isinstance(node.value, str) else []
    body = [part for part in node.body if not is_docstring(part)] if isinstance(node, FUNCTION) else [node]
    return [
        (part.lineno, part.value)
        for statement in body
        for part in ast.walk(statement)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and re.match(r"[A-Z].* .*\.$", part.value)
    ]


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def entries(language: str) -> dict[str, str]:
    with (CATALOGUES / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language, abort_invalid=True)
    return {str(message.id): str(message.string) for message in catalogue if message.id}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_the_collector_sees_every_way_a_message_is_given():
    tree = ast.parse(
        'LATE = "Too late."\n'
        "def one():\n    raise UserError('Not now.')\n"
        "def two():\n    raise UserError(LATE, 400)\n"
        "async def three(status):\n    '''Not me at all.'''\n"
        "    raise UserError({4: 'Four it is.'}.get(status, 'Any of it.'))\n"
        "def four():\n    words.say(language, 'Said aloud')\n"
    )
    assert {message for _, message in messages_of(tree)} == {
        "Not now.",
        "Too late.",
        "Four it is.",
        "Any of it.",
        "Said aloud",
    }


def test_vietnamese_says_everything_that_english_says():
    vietnamese = entries("vi")
    said = [*in_templates(), *in_code()]
    assert len(said) > 100
    missing = [f"{where}: {message}" for message, where in said if not vietnamese.get(message)]
    assert not missing, "\n".join(missing)


def test_no_sentence_was_left_in_english():
    same = {key for key, text in entries("vi").items() if key == text}
    assert same <= SAME_IN_VIETNAMESE


@pytest.mark.parametrize("language", ["vi", "km"])
def test_translations_keep_placeholders_edges_and_full_stops(language: str):
    for key, text in entries(language).items():
        assert placeholders(key) == placeholders(text), key
        assert text == text.strip(), key
        if language == "vi":
            assert (key[-1] in ".?:!") == (text[-1] in ".?:!"), key
        assert not set("<>&") & set(text), f"{key}: markup belongs into templates"


def test_khmer_is_a_draft_and_knows_no_sentence_that_vietnamese_lacks():
    assert {"km"} == DRAFTS
    assert '"X-Status: draft-unreviewed\\n"' in (CATALOGUES / "km.po").read_text("utf-8")
    assert set(entries("km")) <= set(entries("vi"))


def test_a_draft_falls_back_to_vietnamese():
    words = load_words()
    assert words.say("km", "Send") == "ផ្ញើ"
    assert words.say("km", "You are online") == words.say("vi", "You are online") != "You are online"


def test_every_language_has_a_name_and_a_catalogue():
    assert set(load_words().languages) == set(NAMES)
    assert {path.stem for path in CATALOGUES.glob("*.po")} | {"en"} == set(NAMES)


@pytest.mark.parametrize("language", ["vi", "km"])
def test_gettext_itself_has_nothing_to_complain_about(language: str):
    if not shutil.which("msgfmt"):
        pytest.skip("msgfmt (Debian: gettext) is not installed")
    done = subprocess.run(
        ["msgfmt", "-c", "-o", "/dev/null", CATALOGUES / f"{language}.po"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("en-GB,en;q=0.9", "en"),
        ("fr, en;q=0.3, vi;q=0.2", "en"),
        ("fr", "vi"),
        ("", "vi"),
        ("en;q=0", "vi"),
        ("en;q=x, VI-vn", "vi"),
        ("x" * 5000 + ",en", "vi"),
    ],
)
def test_the_phone_chooses_the_language(accept: str, chosen: str):
    assert choose_language(accept, ("vi", "en")) == chosen
