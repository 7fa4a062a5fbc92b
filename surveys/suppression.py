"""What may leave of a table of answers: no cell of 1 to 4, nor anything that such a cell follows from.

Rules only, no I/O. The one who reads a report is taken to know this program: besides the figures printed, what he
learns is *that this and nothing finer was printed*. So a table is published in the first of a fixed list of patterns
(which cells are hidden, whether the satisfied share and the mean are shown) that passes an exact audit: among all
tables that would be published with the very same figures, no hidden cell of 1 to 4 has the same value in all of them.
Figures are audited as if unrounded, which can only hide more. The audit of a pattern looks at nothing that is
not printed, so that a pattern was passed over tells nothing that the audit has not counted in.

Beside the cells: n is the sum of the valid answers and the "no opinion" ones, so a small "no opinion" takes the n
of all answers with it. Total rows are sums of what is printed. Rows of a trend or of days, whose total is known,
are hidden together until what is hidden holds at least 5.

Known hole: reports over two overlapping periods (1-30 and 1-29 of a month) subtract to one day. Within one report
nothing does; between reports it takes a person who is allowed to read both. No simple rule closes it without
refusing periods that offices need, so the pages lead to whole months and a report over other periods says that
it is not to be compared with another that overlaps it.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from surveys.audit import LEAST, Pattern, Table, is_small

__all__ = ["LEAST", "Cell", "Guarded", "guard", "guard_funnel", "guard_rows", "is_small"]

MOST_AUDITED = 6
"""Cells of a table that is audited; one of more cells (a choice) is hidden by pairs of neighbours."""


class Cell(msgspec.Struct, frozen=True):
    """One option's count; *score* None: not on a scale; not *valid*: no opinion."""

    key: str
    n: int
    score: int | None = None
    valid: bool = True


class Guarded(msgspec.Struct, frozen=True):
    """What may leave of one question; None: not enough data ("chưa đủ dữ liệu")."""

    n: int | None  # all answers
    n_valid: int | None  # those that are not "no opinion"
    cells: dict[str, int | None]
    top: int | None  # how many are satisfied
    total: int | None  # the sum of the scores


def guard(cells: Sequence[Cell], top: Sequence[int] = ()) -> Guarded:
    """What may leave of the table *cells*; *top* names the scores that count as satisfied."""
    valid = [cell for cell in cells if cell.valid]
    others = [cell for cell in cells if not cell.valid]
    n_valid = sum(cell.n for cell in valid)
    n = n_valid + sum(cell.n for cell in others)
    counts = tuple(cell.n for cell in valid)
    table = Table(tuple(cell.score or 0 for cell in valid), _bits(cell.score in top for cell in valid))
    if is_small(n_valid) or is_small(n):
        pattern = None
    elif len(valid) > MOST_AUDITED:
        shown_rows = guard_rows([(count,) for count in counts], 2)
        pattern = Pattern(_bits(not is_shown for is_shown in shown_rows), top=False, mean=False)
    else:
        pattern = table.publish(counts)
    if pattern is None:
        return Guarded(None, None, dict.fromkeys((cell.key for cell in cells), None), None, None)
    shown = {cell.key: None if pattern.hidden >> place & 1 else cell.n for place, cell in enumerate(valid)}
    tell = not any(is_small(cell.n) for cell in others)
    shown.update({cell.key: cell.n if tell else None for cell in others})
    return Guarded(
        n if tell else None,
        n_valid,
        {cell.key: shown[cell.key] for cell in cells},
        table.top_count(counts) if pattern.top and table.top else None,
        table.total(counts) if pattern.mean and table.top else None,
    )


def _bits(flags: Iterable[bool]) -> int:
    return sum(1 << place for place, flag in enumerate(flags) if flag)


def guard_rows(rows: Sequence[Sequence[int]], block: int) -> list[bool]:
    """Which of *rows* may be shown when their sums are known: True, shown.

    A row is one or more counts (a month's satisfied and other answers). Rows are hidden by fixed blocks of *block*
    (two or more; a single last row belongs to the block before): every block with a small count, and then the blocks
    after the first such, and those before it, until each sum of hidden counts is nought or at least 5. Hiding single
    rows would tell which was the small one.
    """
    starts = [place for place in range(0, len(rows), block) if place == 0 or len(rows) - place > 1]
    blocks = [range(start, end) for start, end in itertools.pairwise([*starts, len(rows)])]
    small = [any(is_small(n) for place in part for n in (*rows[place], sum(rows[place]))) for part in blocks]
    if not any(small):
        return [True] * len(rows)
    first = small.index(True)
    for part in (*range(first, len(blocks)), *range(first - 1, -1, -1)):
        hidden = [
            rows[place]
            for is_hidden, places in zip(small, blocks, strict=True)
            if is_hidden
            for place in places
        ]
        sums = [sum(column) for column in zip(*hidden, strict=True)]
        if not any(map(is_small, (*sums, sum(sums)))):
            break
        small[part] = True
    return [not is_hidden for is_hidden, places in zip(small, blocks, strict=True) for _ in places]


def guard_funnel(steps: Mapping[str, int]) -> dict[str, int | None]:
    """*steps* (shown, started, completed, skipped) without small counts of people who answered.

    Those who stopped half way are started less completed, so they must not be few either.
    """
    started, completed = steps.get("started", 0), steps.get("completed", 0)
    hide = is_small(started)
    hide_completed = hide or is_small(completed) or is_small(started - completed)
    return {
        "shown": steps.get("shown", 0),
        "started": None if hide else started,
        "completed": None if hide_completed else completed,
        "skipped": steps.get("skipped", 0),
    }
