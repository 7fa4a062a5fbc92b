"""The audit of a table that leaves with some cells hidden: can they be found out? Rules only, no I/O.

See `surveys.suppression` for what is asked of a table that leaves.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

LEAST = 5
"""Answers of a cell that may be shown."""

TRIES = 60
"""Tables looked at for one value of one cell; where they do not settle the matter more is hidden."""

MOST_TRIES = 30_000
"""Tables looked at for one question; a stranger one than any centre has seen is not shown at all."""


class _TooLongError(Exception):
    """The audit of a table took more than `MOST_TRIES`."""


class Pattern(msgspec.Struct, frozen=True):
    """Which cells are hidden (a bit each), and whether the satisfied count and the sum of scores are shown."""

    hidden: int
    top: bool
    mean: bool


def is_small(n: int) -> bool:
    """Whether a count may not be told. Nought may: that nobody said it points at nobody."""
    return 0 < n < LEAST


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
        self._left = MOST_TRIES

    def top_count(self, counts: Sequence[int]) -> int:
        """How many are satisfied."""
        return sum(n for place, n in enumerate(counts) if self.top >> place & 1)

    def total(self, counts: Sequence[int]) -> int:
        """The sum of the scores."""
        return sum(score * n for score, n in zip(self.scores, counts, strict=True))

    def publish(self, counts: tuple[int, ...]) -> Pattern | None:
        """The pattern that *counts* leave in; None: in none, or it would take too long to find out."""
        self._left = MOST_TRIES
        try:
            return next((p for p in patterns(self.size, self.top) if self._passes(p, counts)), None)
        except _TooLongError:
            return None

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
        # The last cells first: on a scale they are the small ones, where the tables that matter lie.
        hidden = [place for place in reversed(range(self.size)) if pattern.hidden >> place & 1]
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
        """Whether the tables that are printed as *counts* are differ enough in every hidden small cell.

        Beside the mean more of them are asked for, so that the next pattern is left to more than the few tables which
        the mean gives away: alone there, they would be given away again.
        """
        hidden = [place for place in range(self.size) if pattern.hidden >> place & 1]
        found: set[tuple[int, ...]] = set()
        tables, values = (4, 3) if pattern.mean else (2, 2)
        complete = True
        # Every table of the class has a small hidden cell: without one it would leave whole.
        for place, small in itertools.product(hidden, range(1, LEAST)):
            complete &= self._collect(pattern, counts, place, small, found)
            columns = [{table[cell] for table in found} for cell in hidden]
            if len(found) >= tables and all(len(column) >= values for column in columns):
                return True
        if not complete or len(found) < tables:
            return False
        return all(len(column) >= values or not any(map(is_small, column)) for column in columns)

    def _collect(
        self, pattern: Pattern, counts: tuple[int, ...], place: int, small: int, found: set[tuple[int, ...]]
    ) -> bool:
        """Look for tables of the class with *small* at *place*; False when the search was broken off."""
        for tried, candidate in enumerate(self._candidates(pattern, counts, place, small)):
            self._left -= 1
            if self._left < 0:
                raise _TooLongError
            if tried == TRIES:
                return False
            if candidate in found or self._leaves_as(pattern, candidate):
                found.add(candidate)
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
