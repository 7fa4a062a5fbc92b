"""The list of cases and mistakes holds: nothing in it points into the void. Trying them is ``make broken-builds``."""

import ast
import functools
from pathlib import Path

import pytest

from tests.security.broken_builds import CASES, MISTAKES, Mistake

ROOT = Path(__file__).parents[2]


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """``name`` and ``Class::name`` of every test in the module at *path*."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        for each in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
                found.add(each.name if each is node else f"{getattr(node, 'name', '')}::{each.name}")
    return frozenset(found)


def test_there_are_twenty_cases_and_each_has_a_mistake() -> None:
    assert sorted(CASES) == list(range(1, 21))
    assert {mistake.case for mistake in MISTAKES} == set(CASES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.case}: {mistake.name}")
def test_a_mistake_can_be_made_and_names_tests_that_exist(mistake: Mistake) -> None:
    assert (ROOT / mistake.file).read_text("utf-8").count(mistake.source) == 1
    assert mistake.source != mistake.broken
    if mistake.file.endswith(".py"):
        text = (ROOT / mistake.file).read_text("utf-8").replace(mistake.source, mistake.broken)
        ast.parse(text)  # broken it is meant to be, not unreadable: that any test would notice
    assert mistake.tests
    for test in mistake.tests:
        file, _, name = test.partition("::")
        assert name in names_in(ROOT / file), test
