"""A sheet of a report file as data: columns, rows, charts. Rules only, no I/O."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

Value = str | int | Decimal | date | None
Kind = Literal["text", "number", "count", "percent", "day", "month"]


class Column(msgspec.Struct, frozen=True):
    """A column: its heading, its width in letters and what stands in it."""

    title: str
    width: int
    kind: Kind = "text"


class Chart(msgspec.Struct, frozen=True):
    """A native chart under the table: the column that names, the columns that count."""

    kind: Literal["bar", "column", "line"]
    title: str
    names: int
    series: tuple[int, ...]
    most: int | None = None  # the axis ends there
    skip_last: bool = False  # the last row is a total


class Annex(msgspec.Struct, frozen=True):
    """One sheet; in *rows* None says "not enough data" and "" leaves a cell empty."""

    sheet: str
    title: str
    columns: tuple[Column, ...]
    rows: list[Sequence[Value]]
    charts: tuple[Chart, ...] = ()
