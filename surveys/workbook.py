"""A report as an Excel workbook: real numbers, native charts, ready to print on A4 landscape.

`xlsxwriter` takes 10 MB, so only the report process loads it: nothing the portal imports may import this module.
"""

import math
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from surveys.annexes import NO_DATA, annexes, notes, period
from surveys.report import Report
from surveys.sheets import Annex, Chart, Column, Value

FONT = {"font_name": "Times New Roman", "font_size": 13}
SMALL_FONT = {**FONT, "font_size": 11}
BOX = {"border": 1, "valign": "vcenter", "text_wrap": True}
NUMBERS = {"number": "0", "count": "#,##0", "percent": "0.00", "day": "dd/mm/yyyy", "month": "mm/yyyy"}
ALIGN = {"number": "center", "day": "center", "month": "center"}
LINE = 17.0
"""Points of a line of text."""
LONG = 12
"""Rows after which a chart begins a page of its own."""
A4 = 9
HEAVY = "#0B5CAD"


class _Looks:
    """The formats of a workbook."""

    def __init__(self, book: Workbook) -> None:
        add = book.add_format
        self.title = add({**FONT, "bold": True, "align": "center", "valign": "vcenter", "font_size": 14})
        self.note = add({**FONT, "italic": True, "align": "center", "valign": "vcenter"})
        self.heading = add({**SMALL_FONT, **BOX, "bold": True, "align": "center", "bg_color": "#E8EEF4"})
        # A quote prefix keeps a comment that begins with = + - @ a text also when somebody edits the cell.
        self.text = add({**FONT, **BOX, "quote_prefix": True, "indent": 1})
        self.no_data = add({**SMALL_FONT, **BOX, "italic": True, "align": "center", "font_color": "#595959"})
        self.numbers = {
            kind: add(
                {
                    **FONT,
                    **BOX,
                    "num_format": number,
                    "align": ALIGN.get(kind, "right"),
                }
            )
            for kind, number in NUMBERS.items()
        }


def write_workbook(report: Report, path: Path) -> None:
    """Write *report* to *path*, row by row: memory does not grow with the comments."""
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        book.set_properties(
            {"title": "Kết quả khảo sát ý kiến người dân qua Wi-Fi", "comments": notes(report)[0]}
        )
        looks = _Looks(book)
        for annex in annexes(report):
            _write_sheet(book, annex, report, looks)


def _write_sheet(book: Workbook, annex: Annex, report: Report, looks: _Looks) -> None:
    sheet = book.add_worksheet(annex.sheet)
    _set_up(sheet, annex.columns)
    lines = [annex.title, f"({period(report)})", *notes(report)[: 2 if report.demo else 1]]
    last = len(annex.columns) - 1
    for row, line in enumerate(lines):
        sheet.set_row(row, 22)
        # Centred over the first columns, which fit on a screen; the whole width of a wide table would not.
        sheet.merge_range(row, 0, row, _over(annex.columns), line, looks.note if row else looks.title)
    head = len(lines) + 1
    sheet.set_row(head, 82 if last > 8 else 36)
    for column, heading in enumerate(annex.columns):
        sheet.write_string(head, column, heading.title, looks.heading)
    sheet.freeze_panes(head + 1, 0)
    sheet.repeat_rows(head)
    for row, values in enumerate(annex.rows, head + 1):
        sheet.set_row(row, _height(values, annex.columns))
        for column, (value, kind) in enumerate(zip(values, annex.columns, strict=True)):
            _write_cell(sheet, row, column, value, kind, looks)
    end = head + len(annex.rows)
    if not annex.rows:
        sheet.merge_range(head + 1, 0, head + 1, last, NO_DATA, looks.no_data)
        return
    if annex.charts and len(annex.rows) > LONG:
        sheet.set_h_pagebreaks([end + 1])
    for place, chart in enumerate(annex.charts):
        _insert_chart(book, sheet, annex, chart, (head + 1, end), end + 2 + place * 22)


def _height(values: Sequence[Value], columns: tuple[Column, ...]) -> float:
    """Points that a row needs: nobody else computes it, the file is written before it is ever shown."""
    lines = 1
    for value, column in zip(values, columns, strict=True):
        text = NO_DATA if value is None else value if isinstance(value, str) else ""
        parts = [math.ceil(len(part) / max(column.width - 2, 1)) for part in text.split("\n")]
        lines = max(lines, sum(max(part, 1) for part in parts))
    return min(lines * LINE + 3, 400)


def _over(columns: tuple[Column, ...]) -> int:
    """The last column that a title stands over: as many as a screen shows, also beyond a narrow table."""
    width = 0
    for column in range(len(columns) + 12):
        width += columns[column].width if column < len(columns) else 9
        if width > 110:
            return column
    return len(columns)


def _set_up(sheet: Worksheet, columns: tuple[Column, ...]) -> None:
    for place, column in enumerate(columns):
        sheet.set_column(place, place, column.width)
    sheet.set_landscape()
    sheet.set_paper(A4)
    sheet.fit_to_pages(1, 0)
    # Decree 30/2020, annex I: margins 20-25 mm above and below, 30 left, 15-20 right; the page's number above.
    sheet.set_margins(left=1.18, right=0.6, top=0.8, bottom=0.8)
    sheet.set_header('&C&"Times New Roman,Regular"&13&P')


def _write_cell(
    sheet: Worksheet,
    row: int,
    column: int,
    value: Value,
    kind: Column,
    looks: _Looks,
) -> None:
    look: Format = looks.numbers.get(kind.kind, looks.text)
    if value is None:
        sheet.write_string(row, column, NO_DATA, looks.no_data)
    elif isinstance(value, str):
        sheet.write_string(row, column, value, looks.text)
    elif isinstance(value, date):
        sheet.write_datetime(
            row,
            column,
            datetime.combine(value, time()),
            look if kind.kind != "text" else looks.numbers["day"],
        )
    else:
        sheet.write_number(row, column, float(value), look)


def _insert_chart(
    book: Workbook, sheet: Worksheet, annex: Annex, chart: Chart, rows: tuple[int, int], at: int
) -> None:
    first, last = rows[0], rows[1] - (1 if chart.skip_last else 0)
    drawn: Any = book.add_chart({"type": chart.kind})
    for column in chart.series:
        drawn.add_series(
            {
                "name": [annex.sheet, rows[0] - 1, column],
                "categories": [annex.sheet, first, chart.names, last, chart.names],
                "values": [annex.sheet, first, column, last, column],
                **({"fill": {"color": HEAVY}, "line": {"color": HEAVY}} if len(chart.series) == 1 else {}),
            }
        )
    names = NUMBERS.get(annex.columns[chart.names].kind)
    axis = {"name_font": {"name": FONT["font_name"]}, "num_font": {"name": FONT["font_name"], "size": 11}}
    value_axis = {**axis, "min": 0, "major_gridlines": {"visible": True, "line": {"color": "#D0D0D0"}}}
    if chart.most is not None:
        value_axis["max"] = chart.most
    drawn.set_title({"name": chart.title, "name_font": {"name": FONT["font_name"], "size": 14}})
    if chart.kind == "bar":  # lies on its side: names stand on the y axis, the first row at the top
        drawn.set_y_axis({**axis, "reverse": True})
        drawn.set_x_axis({**value_axis, "label_position": "high"})
    else:
        drawn.set_x_axis({**axis, "text_axis": True, **({"num_format": names} if names else {})})
        drawn.set_y_axis(value_axis)
    drawn.set_legend(
        {"none": True} if len(chart.series) == 1 else {"position": "bottom", "font": {**axis["num_font"]}}
    )
    drawn.set_size({"width": 900, "height": 400})
    sheet.insert_chart(at, 1, drawn)
