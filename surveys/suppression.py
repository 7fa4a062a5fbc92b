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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec

LEAST = 5
"""Answers of a cell that may be shown."""

TRIES = 20
"""Tables looked at for one value of one cell; where they do not settle the matter more is hidden."""

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


class Pattern(msgspec.Struct, frozen=True):
    """Which cells are hidden (a bit each), and whether the satisfied count and the sum of scores are shown."""

    hidden: int
    top: bool
    mean: bool


def is_small(n: int) -> bool:
    """Whether a count may not be told. Nought may: that nobody said it points at nobody."""
    return 0 < n < LEAST


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


@lru_cache(maxsize=64)
def patterns(size: int, top: int) -> tuple[Pattern, ...]:
    """All patterns for *size* cells of which those in the mask *top* count as satisfied, best first.

    The two headline figures come first, then as many cells as possible. Without *top* there are only cells.
    """
    everything = (1 << size) - 1
    rest = everything & ~top
    subsets = sorted(range(1 << size), key=lambda mask: (mask.bit_count(), mask))
    some = [mask for mask in subsets if mask.bit_count() != 1]
    if not top:
        return tuple(Pattern(mask, top=False, mean=False) for mask in some)
    low = [mask for mask in some if mask and not mask & top]
    found = [
        Pattern(0, top=True, mean=True),
        Pattern(rest, top=True, mean=True),
        *(Pattern(mask, top=True, mean=False) for mask in low),
        Pattern(everything, top=True, mean=True),
        *(Pattern(mask | top, top=True, mean=False) for mask in (0, *low)),
        *(Pattern(mask, top=False, mean=False) for mask in some if mask),
    ]
    return tuple(found)


class Table:
    """Tables of one shape: the *scores* of their cells and a mask of those that count as satisfied."""

    def __init__(self, scores: tuple[int, ...], top: int) -> None:
        self.scores = scores
        self.top = top
        self.size = len(scores)
        self._safe: dict[tuple[Pattern, tuple[int, ...]], bool] = {}

    def top_count(self, counts: Sequence[int]) -> int:
        """How many are satisfied."""
        return sum(n for place, n in enumerate(counts) if self.top >> place & 1)

    def total(self, counts: Sequence[int]) -> int:
        """The sum of the scores."""
        return sum(score * n for score, n in zip(self.scores, counts, strict=True))

    def publish(self, counts: tuple[int, ...]) -> Pattern | None:
        """The pattern that *counts* leave in; None: in none."""
        return next(
            (pattern for pattern in patterns(self.size, self.top) if self._passes(pattern, counts)), None
        )

    def _passes(self, pattern: Pattern, counts: tuple[int, ...]) -> bool:
        for place, n in enumerate(counts):
            if is_small(n) and not pattern.hidden >> place & 1:
                return False
        if any(is_small(total) for _, total in self._groups(pattern, counts)):
            return False
        if not pattern.hidden:
            return True
        key = (pattern, self._figures(pattern, counts))
        if key not in self._safe:
            self._safe[key] = self._is_safe(pattern, counts)
        return self._safe[key]

    def _groups(self, pattern: Pattern, counts: Sequence[int]) -> list[tuple[list[int], int]]:
        """The sets of hidden cells whose sums follow from what is shown, with these sums."""
        hidden = [place for place in range(self.size) if pattern.hidden >> place & 1]
        parts = [hidden]
        if pattern.top:
            satisfied = [place for place in hidden if self.top >> place & 1]
            parts = [satisfied, [place for place in hidden if place not in satisfied]]
        return [(part, sum(counts[place] for place in part)) for part in parts if part]

    def _figures(self, pattern: Pattern, counts: tuple[int, ...]) -> tuple[int, ...]:
        """All that is printed of *counts*."""
        shown = [-1 if pattern.hidden >> place & 1 else n for place, n in enumerate(counts)]
        sums = [total for _, total in self._groups(pattern, counts)]
        return (*shown, *sums, self.total(counts) if pattern.mean else -1)

    def _is_safe(self, pattern: Pattern, counts: tuple[int, ...]) -> bool:
        """Whether two tables or more of those printed as *counts* are differ in every hidden small cell."""
        hidden = [place for place in range(self.size) if pattern.hidden >> place & 1]
        values: dict[int, set[int]] = {place: set() for place in hidden}
        complete = True
        # Every table of the class has a small hidden cell: without one it would leave whole.
        for place, small in itertools.product(hidden, range(1, LEAST)):
            if all(len(seen) > 1 for seen in values.values()):
                return True
            if len(values[place]) > 1:
                continue
            complete &= self._collect(pattern, counts, place, small, values)
        return all(len(seen) > 1 or (complete and not any(map(is_small, seen))) for seen in values.values())

    def _collect(
        self, pattern: Pattern, counts: tuple[int, ...], place: int, small: int, values: dict[int, set[int]]
    ) -> bool:
        """Look for tables of the class with *small* at *place*; False when the search was broken off."""
        for tried, candidate in enumerate(self._candidates(pattern, counts, place, small)):
            if tried == TRIES:
                return False
            if self._leaves_as(pattern, candidate):
                for cell, seen in values.items():
                    seen.add(candidate[cell])
        return True

    def _leaves_as(self, pattern: Pattern, candidate: tuple[int, ...]) -> bool:
        """Whether nothing finer than *pattern* would be printed of *candidate*."""
        for better in patterns(self.size, self.top):
            if better == pattern:
                return True
            if self._passes(better, candidate):
                return False
        return False

    def _candidates(
        self, pattern: Pattern, counts: tuple[int, ...], place: int, small: int
    ) -> Iterator[tuple[int, ...]]:
        """Tables with *small* at *place* that fit the figures which *pattern* prints of *counts*."""
        table = list(counts)
        table[place] = small
        groups = []
        for cells, total in self._groups(pattern, counts):
            left = total - small if place in cells else total
            if left < 0:
                return
            groups.append(([cell for cell in cells if cell != place], left))
        wanted = self.total(counts) if pattern.mean else None
        yield from self._solve(table, groups, wanted)

    def _solve(
        self, table: list[int], groups: list[tuple[list[int], int]], wanted: int | None
    ) -> Iterator[tuple[int, ...]]:
        """Fill the cells of *groups* in all ways that keep their sums and the sum of scores *wanted*."""
        if not groups:
            if wanted is None or self.total(table) == wanted:
                yield tuple(table)
            return
        (cells, left), *others = groups
        if not cells:
            if left == 0:
                yield from self._solve(table, others, wanted)
        elif len(cells) == 1:
            table[cells[0]] = left
            yield from self._solve(table, others, wanted)
        elif len(cells) == 2 and not others and wanted is not None:
            yield from self._solve_pair(table, cells, left, wanted)
        else:
            for n in range(left + 1):
                table[cells[0]] = n
                yield from self._solve(table, [(cells[1:], left - n), *others], wanted)

    def _solve_pair(
        self, table: list[int], cells: list[int], left: int, wanted: int
    ) -> Iterator[tuple[int, ...]]:
        first, second = cells
        table[first], table[second] = 0, left
        missing, step = wanted - self.total(table), self.scores[first] - self.scores[second]
        if step and missing % step == 0 and 0 <= missing // step <= left:
            table[first] = missing // step
            table[second] = left - table[first]
            yield tuple(table)


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
