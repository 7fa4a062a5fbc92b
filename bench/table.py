"""How figures are printed."""

from typing import NamedTuple


class Row(NamedTuple):
    """One figure: what, how much, beside what, the ratio, and what it has to hold."""

    what: str
    figure: str
    beside: str
    ratio: str
    hold: str


def show(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    table = [Row("what", "figure", "beside", "ratio", "to hold"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(Row._fields))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
