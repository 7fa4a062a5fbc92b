"""A report as a file: CSV for any spreadsheet, JSON for programs, a workbook for the office.

The workbook's writer takes 10 MB and is loaded only when one is written, never by the portal.
"""

import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from surveys.annexes import NO_DATA, notes
from surveys.questions import in_language
from surveys.report import QuestionResult, Report, VenueResult
from surveys.workbook import write_workbook

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP: CSV injection), full width included."""

HEADINGS = (
    "Mã định danh",
    "Tên đơn vị",
    "Từ ngày",
    "Đến ngày",
    "Phần",
    "Mã",
    "Nội dung",
    "Lựa chọn",
    "Số phiếu",
    "Tỷ lệ (%)",
    "Giá trị (%)",
)

Line = tuple[str, str, str, str, int | str | None, Decimal | str | None, Decimal | str | None]
"""part, key, text, option, n, percent, value"""


def write_csv(report: Report, path: Path) -> None:
    """Write *report* to *path* as one table with one line per figure.

    UTF-8 with a byte order mark, ``;`` between cells, decimal comma: what a Vietnamese Excel opens by itself.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow([guard_cell(heading) for heading in HEADINGS])
        for venue in report.venues:
            head = (venue.code, in_language(venue.names, "vi"), _day(report.first), _day(report.last))
            for line in _lines(report, venue):
                writer.writerow([guard_cell(_cell(value)) for value in (*head, *line)])


def write_json(report: Report, path: Path) -> None:
    """Write *report* to *path*; null says "not enough data", numbers are numbers, keys keep their names."""
    encoded = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode(report)
    path.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


def write_xlsx(report: Report, path: Path) -> None:
    """Write *report* to *path* as a workbook."""
    write_workbook(report, path)


WRITERS = {"csv": write_csv, "xlsx": write_xlsx, "json": write_json}


def guard_cell(text: str) -> str:
    """*text* so that no spreadsheet takes it for a formula; a number stays a number."""
    begins = text.lstrip(" \u00a0\ufeff")
    if begins.startswith(FORMULA) and not _is_number(begins):
        return f"'{text}"
    return text


def _is_number(text: str) -> bool:
    return (
        text.removeprefix("-").replace(",", "", 1).isdecimal() and text.isascii() and not text.startswith("+")
    )


def _cell(value: str | int | Decimal | None) -> str:
    if value is None:
        return NO_DATA
    return str(value).replace(".", ",") if isinstance(value, Decimal) else str(value)


def _day(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _lines(report: Report, venue: VenueResult) -> Iterator[Line]:
    for note in notes(report):
        yield ("Lưu ý", "", note, "", "", "", "")
    yield ("Lưu ý", "", f"Cách tính điểm: {report.template}", "", "", "", "")
    funnel = venue.funnel
    yield ("Tiếp cận", "shown", "Lượt hiển thị cổng", "", funnel.shown, "", "")
    yield ("Tiếp cận", "started", "Trả lời câu đầu", "", funnel.started, funnel.rate, "")
    yield ("Tiếp cận", "completed", "Hoàn thành", "", funnel.completed, "", "")
    yield ("Tiếp cận", "skipped", "Bỏ qua", "", funnel.skipped, "", "")
    for question in venue.questions:
        yield from _question_lines(question)
    for month in venue.trend:
        share = month.top_two.percent if month.top_two else None
        yield ("Theo tháng", venue.headline, f"{month.month:%m/%Y}", "", month.n, share, "")
    for day in venue.days:
        yield ("Theo ngày", "", _day(day.day), "Lượt hiển thị cổng", day.shown, "", "")
        yield ("Theo ngày", "", _day(day.day), "Trả lời câu đầu", day.started, "", "")
    for comment in venue.comments:
        yield ("Ý kiến", f"{comment.month:%m/%Y}", comment.text, "", "", "", "")


def _question_lines(question: QuestionResult) -> Iterator[Line]:
    part, text = "Câu hỏi", in_language(question.texts, "vi")
    yield (part, question.key, text, "Tổng số phiếu", question.n, "", "")
    if question.kind == "scale":
        share = question.top_two
        yield (part, question.key, text, "Phiếu có ý kiến", question.n_valid, "", "")
        yield (part, question.key, text, "Tỷ lệ hài lòng", "", "", share.percent if share else None)
        yield (part, question.key, text, "Khoảng tin cậy 95%, từ", "", "", share.low if share else None)
        yield (part, question.key, text, "Khoảng tin cậy 95%, đến", "", "", share.high if share else None)
        yield (part, question.key, text, "Điểm trung bình quy đổi", "", "", question.mean)
    for option in question.options:
        yield (part, question.key, text, in_language(option.texts, "vi"), option.n, option.percent, "")
