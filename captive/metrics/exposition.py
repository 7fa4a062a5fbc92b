"""Figures as Prometheus reads them (text format 0.0.4). Rules only.

Written here and not by prometheus-client: that takes 2.1 MiB of memory, of which the portal has none to spare.
The tests read what is written with its parser and with promtool.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """A figure: its *name* with unit, what *kind* it is, what it tells, the names of its *labels*."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    tells: str
    labels: tuple[str, ...] = ()


class Exposition:
    """Collects the samples of one scrape. The order of families is that of their first samples."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def add(self, family: Family, value: float, *labels: str) -> None:
        """One sample; *labels* are the values of the family's labels, in its order."""
        self._of(family).append(f"{family.name}{_labels(family.labels, labels)} {_number(value)}")

    def add_histogram(
        self, family: Family, bounds: Sequence[float], counts: Sequence[int], total: float
    ) -> None:
        """One histogram: *counts* by bucket, one more than *bounds*; *total* is the sum of what was observed."""
        lines, below = self._of(family), 0
        for bound, count in zip((*bounds, math.inf), counts, strict=True):
            below += count
            lines.append(f'{family.name}_bucket{{le="{_number(bound)}"}} {below}')
        lines += [f"{family.name}_sum {_number(total)}", f"{family.name}_count {below}"]

    def text(self) -> str:
        """All of it."""
        return "".join(f"{line}\n" for lines in self._lines.values() for line in lines)

    def _of(self, family: Family) -> list[str]:
        lines = self._lines.get(family.name)
        if lines is None:
            told = family.tells.replace("\\", "\\\\").replace("\n", "\\n")
            lines = [f"# HELP {family.name} {told}", f"# TYPE {family.name} {family.kind}"]
            self._lines[family.name] = lines
        return lines


def _labels(names: Iterable[str], values: Sequence[str]) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
