"""The attacker: he has the figures, the totals and this program, and tries to find a cell of one to four."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surveys.audit import Table, is_small
from surveys.suppression import Cell, Guarded, guard, guard_funnel, guard_rows

SCALE = (5, 4, 3, 2, 1)
TOP = (4, 5)


def tables_of(n: int, size: int) -> Iterator[tuple[int, ...]]:
    """Every table of *size* cells that sum up to *n*."""
    if size == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in tables_of(n - first, size - 1):
            yield (first, *rest)


def guard_scale(counts, no_opinion: int = 0) -> Guarded:
    cells = [Cell(str(score), n, score) for score, n in zip(SCALE, counts, strict=True)]
    return guard([*cells, Cell("na", no_opinion, None, valid=False)], TOP)


def guard_choice(counts) -> Guarded:
    return guard([Cell(str(place), n) for place, n in enumerate(counts)])


def printed(guarded: Guarded) -> tuple[Any, ...]:
    return (guarded.n, guarded.n_valid, tuple(guarded.cells.items()), guarded.top, guarded.total)


def give_away(classes) -> list[Any]:
    """The figures of a class of tables in which a small cell has one value in all tables."""
    found = []
    for figures, tables in classes.items():
        for column in zip(*tables, strict=True):
            if len(set(column)) == 1 and is_small(column[0]):
                found.append((figures, tables[:3]))
    return found


def figures_of(table: Table, counts: tuple[int, ...]) -> tuple[Any, ...]:
    """What is printed of *counts*: nothing below five answers."""
    pattern = None if is_small(sum(counts)) else table.publish(counts)
    if pattern is None:
        return ()
    cells = tuple(None if pattern.hidden >> place & 1 else n for place, n in enumerate(counts))
    top = table.top_count(counts) if pattern.top else None
    return (sum(counts), cells, top, table.total(counts) if pattern.mean else None)


@pytest.mark.parametrize(
    ("scores", "top", "ns"),
    [
        (SCALE, 0b00011, range(12)),
        (SCALE, 0b00011, range(12, 17)),
        ((2, 1, 0), 0b011, range(20)),
        ((0, 0, 0), 0, range(20)),
        ((0, 0, 0, 0), 0, range(15)),
        ((0, 0, 0, 0, 0), 0, range(12)),
        ((0, 0, 0, 0, 0, 0), 0, range(9)),
    ],
)
def test_who_knows_the_program_learns_no_small_cell(scores: tuple[int, ...], top: int, ns: range) -> None:
    table = Table(scores, top)
    classes = defaultdict(list)
    for n in ns:
        for counts in tables_of(n, len(scores)):
            classes[figures_of(table, counts)].append(counts)
    assert give_away(classes) == []


def test_no_opinion_is_no_way_in() -> None:
    classes = defaultdict(list)
    for n, few in itertools.product(range(9), range(7)):
        for counts in tables_of(n, 3):
            cells = [Cell(str(score), count, score) for score, count in zip((5, 3, 1), counts, strict=True)]
            guarded = guard([*cells, Cell("na", few, None, valid=False)], TOP)
            classes[printed(guarded)].append((*counts, few))
    assert give_away(classes) == []


@pytest.mark.parametrize(
    ("block", "length", "most"), [(2, 2, 14), (2, 3, 11), (2, 4, 10), (2, 5, 6), (3, 4, 9)]
)
def test_rows_of_a_known_total_are_no_way_in(block: int, length: int, most: int) -> None:
    classes = defaultdict(list)
    for rows in itertools.product(range(most + 1), repeat=length):
        if sum(rows) <= most:  # so that a class is complete
            shown = guard_rows([(row,) for row in rows], block)
            classes[
                sum(rows), tuple(row if is_shown else None for row, is_shown in zip(rows, shown, strict=True))
            ].append(rows)
    assert give_away(classes) == []


def test_months_with_two_counts_are_no_way_in() -> None:
    classes = defaultdict(list)
    pairs = list(itertools.product(range(8), repeat=2))
    for rows in itertools.product(pairs, repeat=2):
        totals = tuple(map(sum, zip(*rows, strict=True)))
        if max(totals) < 8:
            shown = guard_rows(rows, 3)
            classes[
                totals, tuple(row if is_shown else None for row, is_shown in zip(rows, shown, strict=True))
            ].append(tuple(itertools.chain(*rows)))
    assert give_away(classes) == []


def test_a_trend_and_its_total_together_are_no_way_in() -> None:
    """Two months of a scale: the total's cells and figures, the months' satisfied and other answers."""
    table = Table(SCALE, 0b00011)
    by_total = {counts: table.publish(counts) for counts in tables_of(10, 5)}
    classes = defaultdict(list)
    for cells in tables_of(10, 10):
        months = cells[:5], cells[5:]
        total = tuple(a + b for a, b in zip(*months, strict=True))
        pattern = by_total[total]
        rows = [(sum(month[:2]), sum(month[2:])) for month in months]
        if pattern is not None and pattern.top and all(guard_rows(rows, 3)):
            hidden = tuple(None if pattern.hidden >> place & 1 else n for place, n in enumerate(total))
            mean = table.total(total) if pattern.mean else None
            classes[pattern, hidden, mean, tuple(rows)].append((*cells, *total))
    assert len(classes) > 50
    assert give_away(classes) == []


Counts = st.lists(st.one_of(st.integers(0, 9), st.integers(0, 300)), min_size=5, max_size=5)


@given(Counts, st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_nothing_small_is_printed_or_left_over(counts: list[int], no_opinion: int) -> None:
    guarded = guard_scale(counts, no_opinion)
    assert not any(is_small(n) for n in guarded.cells.values() if n is not None)
    if guarded.n_valid is None:
        assert set(guarded.cells.values()) == {None}
        assert (guarded.n, guarded.top, guarded.total) == (None, None, None)
        return
    assert guarded.n_valid == sum(counts)
    hidden = [n for n, key in zip(counts, guarded.cells, strict=False) if guarded.cells[key] is None]
    assert len(hidden) != 1
    assert not is_small(sum(hidden))
    if guarded.n is not None:
        assert not is_small(guarded.n - guarded.n_valid)
    if guarded.top is not None:
        assert not is_small(guarded.top)
        assert not is_small(guarded.n_valid - guarded.top)
    if hidden and guarded.total is not None:
        assert_many_solutions(guarded)


def assert_many_solutions(guarded: Guarded) -> None:
    """Whoever solves the equations that the printed figures make finds two values for each hidden cell."""
    keys = [key for key in guarded.cells if key != "na"]
    hidden = [key for key in keys if guarded.cells[key] is None]
    shown = {key: guarded.cells[key] or 0 for key in keys if key not in hidden}
    assert guarded.n_valid is not None
    assert guarded.total is not None
    assert guarded.top is not None
    low = [key for key in hidden if int(key) <= 3]
    high = [key for key in hidden if int(key) > 3]
    low_sum = guarded.n_valid - guarded.top - sum(n for key, n in shown.items() if int(key) <= 3)
    high_sum = guarded.top - sum(n for key, n in shown.items() if int(key) > 3)
    weight = guarded.total - sum(int(key) * n for key, n in shown.items())
    seen: dict[str, set[int]] = {key: set() for key in hidden}
    for first in range(high_sum + 1 if high else 1):
        left = weight - (5 * first + 4 * (high_sum - first) if high else 0)
        for one in range(low_sum + 1):
            # n1 = one; n2 + n3 = low_sum - one; 2*n2 + 3*n3 = left - one
            three = left - one - 2 * (low_sum - one)
            two = low_sum - one - three
            if min(two, three) >= 0 and len(low) == 3:
                for key, n in {"3": three, "2": two, "1": one, "5": first, "4": high_sum - first}.items():
                    if key in seen:
                        seen[key].add(n)
        if all(len(values) > 1 for values in seen.values()):
            return
    alone = [values for values in seen.values() if len(values) == 1]
    assert not any(is_small(n) for values in alone for n in values), f"{guarded} gives a cell away: {seen}"


def test_what_is_common_stays_readable() -> None:
    whole = guard_scale((460, 380, 100, 40, 20), 30)
    assert (whole.n, whole.n_valid, whole.top, whole.total) == (1030, 1000, 840, 4220)
    assert list(whole.cells.values()) == [460, 380, 100, 40, 20, 30]
    one_small = guard_scale((46, 38, 10, 4, 2))
    assert (one_small.top, one_small.total) == (84, 422)
    assert list(one_small.cells.values()) == [46, 38, None, None, None, 0]
    assert guard_choice((20, 3, 30, 9)).cells == {"0": None, "1": None, "2": 30, "3": 9}


def test_everybody_content_is_no_secret_and_three_malcontents_are() -> None:
    assert guard_scale((20, 10, 0, 0, 0)).top == 30
    three = guard_scale((20, 10, 2, 1, 0))
    assert (three.n_valid, three.top, three.total) == (33, None, None)


def test_too_few_answers_show_nothing() -> None:
    assert printed(guard_scale((2, 1, 0, 0, 0)))[:2] == (None, None)
    assert set(guard_scale((2, 1, 0, 0, 0), 9).cells.values()) == {None}
    assert guard_scale((0, 0, 0, 0, 0)).n == 0


def test_the_funnel_tells_no_few() -> None:
    assert guard_funnel({"shown": 50, "started": 20, "completed": 9, "skipped": 3}) == {
        "shown": 50,
        "started": 20,
        "completed": 9,
        "skipped": 3,
    }
    assert guard_funnel({"shown": 50, "started": 4, "completed": 0})["started"] is None
    assert guard_funnel({"shown": 50, "started": 20, "completed": 3})["completed"] is None
    assert guard_funnel({"shown": 50, "started": 20, "completed": 18})["completed"] is None
    assert guard_funnel({"shown": 50, "started": 20, "completed": 20})["completed"] == 20


def test_large_tables_are_audited_quickly_enough_to_finish() -> None:
    assert guard_choice((3, 100_000, 2, 1, 70_000, 40, 9, 9, 9, 9, 1, 2)).n_valid == 170_085
    assert guard_scale((100_000, 3, 2, 50_000, 1)).n_valid == 150_006


def test_a_long_choice_is_hidden_by_pairs() -> None:
    cells = guard_choice((9, 3, 30, 9, 10, 10, 0, 8)).cells
    assert list(cells.values()) == [None, None, 30, 9, 10, 10, 0, 8]
