"""The files: what a spreadsheet makes of them, and that nothing in them is run."""

import csv
import datetime as dt
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.reader.excel import load_workbook

from crm.errors import SetupError, UserError
from crm.store import Store
from surveys.report_files import HEADINGS, guard_cell, write_csv, write_json, write_xlsx
from surveys.report_job import FORMATS
from surveys.report_process import write_report
from surveys.synthetic import fill
from tests.surveys.test_results import D, open_centre, report_of, tell

EVIL = [
    "=1+1",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "＝1+1",
    '="a";"b"',
    "- Nhân viên tốt",
]
OCTOBER = D(2026, 10, 1), D(2026, 10, 31)


@pytest.mark.parametrize("text", EVIL)
def test_a_formula_becomes_a_text(text: str) -> None:
    assert guard_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Tốt", "83,94", "-14,09", "-5", "12", "'=1", "a=1", "01/10/2026"])
def test_plain_cells_stay(text: str) -> None:
    assert guard_cell(text) == text


@given(st.text())
def test_no_guarded_cell_begins_a_formula(text: str) -> None:
    guarded = guard_cell(text).lstrip(" \u00a0\ufeff")
    number = guarded.removeprefix("-").replace(",", "", 1)
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r")) or (
        number.isascii() and number.isdecimal()
    )


@pytest.fixture
async def store_with_evil(store: Store) -> Store:
    version = await open_centre(store, "V1")
    for text in EVIL:
        await tell(store, version, D(2026, 10, 5), "554433211-", comment=text.strip() or "-")
    return store


async def test_csv_is_what_a_vietnamese_excel_opens(store_with_evil: Store, tmp_path: Path) -> None:
    write_csv(await report_of(store_with_evil, ["V1"], *OCTOBER), tmp_path / "r.csv")
    raw = (tmp_path / "r.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in raw
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert tuple(rows[0]) == HEADINGS
    assert {len(row) for row in rows} == {len(HEADINGS)}
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    satisfied = next(row for row in table if row["Lựa chọn"] == "Tỷ lệ hài lòng")
    assert satisfied["Giá trị (%)"] == "44,44"
    assert [row["Số phiếu"] for row in table if row["Mã"] == "started"] == ["100"]
    comments = [row["Nội dung"] for row in table if row["Phần"] == "Ý kiến"]
    assert len(comments) == len(EVIL)
    assert all(comment.startswith("'") for comment in comments)
    assert {row["Mã"] for row in table if row["Phần"] == "Ý kiến"} == {"10/2026"}
    assert any("mẫu tự nguyện" in row["Nội dung"] for row in table)


async def test_json_has_numbers_and_null(store_with_evil: Store, tmp_path: Path) -> None:
    await tell(
        store_with_evil, await open_centre(store_with_evil, "V2"), D(2026, 10, 5), "5" * 20 + "4" * 9 + "31"
    )
    write_json(await report_of(store_with_evil, ["V1", "V2"], *OCTOBER), tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert (report["first"], report["last"], report["template"]) == (
        "2026-10-01",
        "2026-10-31",
        "levels5-share/1",
    )
    overall = next(question for question in report["venues"][0]["questions"] if question["key"] == "A1")
    assert [option["n"] for option in overall["options"]] == [20, 20, 20, 10, 20, 10]
    assert overall["top_two"]["percent"] == 44.44
    hidden = next(question for question in report["venues"][1]["questions"] if question["key"] == "A1")
    assert hidden["top_two"] is None
    assert "hour" not in str(report)


async def test_the_workbook_has_numbers_texts_and_no_formula(store_with_evil: Store, tmp_path: Path) -> None:
    write_xlsx(await report_of(store_with_evil, ["V1"], *OCTOBER), tmp_path / "r.xlsx")
    book: Any = load_workbook(tmp_path / "r.xlsx")  # type: ignore[no-untyped-call]
    assert book.sheetnames == [
        "Thông tin",
        "I. Theo đơn vị",
        "II. Theo câu hỏi",
        "II.b Lựa chọn",
        "IV. Ý kiến",
        "V. Theo ngày",
        "V.b Theo tháng",
    ]
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells} <= {"s", "n", "d"}  # "f" would be a formula
    assert not any(cell.hyperlink for cell in cells)
    units = book["I. Theo đơn vị"]
    head = next(row for row in units.iter_rows() if row[0].value == "STT")
    titles = {cell.value: cell.column for cell in head}
    row = head[0].row + 1
    assert units.cell(row, titles["Tỷ lệ hài lòng (%)"]).value == 44.44
    assert units.cell(row, titles["Số phiếu (trả lời câu đầu)"]).value == 100
    assert units.freeze_panes == f"A{row}"
    assert units.page_setup.orientation == "landscape"
    assert units.page_setup.paperSize in (9, "9")
    assert units._charts
    comments = book["IV. Ý kiến"]
    texts = [
        row[3].value for row in comments.iter_rows(min_row=row) if row[0].data_type == "n" and row[0].value
    ]
    assert set(texts) == {text.strip() for text in EVIL}
    text_cell = comments.cell(row, 4)
    assert (text_cell.font.name, text_cell.font.sz, text_cell.quotePrefix) == ("Times New Roman", 13, True)
    day = book["V. Theo ngày"].cell(head[0].row + 1, 3)
    assert (day.value.date(), day.number_format) == (dt.date(2026, 10, 1), "dd/mm/yyyy")


async def test_an_empty_report_can_be_written(store: Store, tmp_path: Path) -> None:
    await open_centre(store, "V1")
    report = await report_of(store, ["V1"], *OCTOBER)
    for write, name in ((write_csv, "r.csv"), (write_json, "r.json"), (write_xlsx, "r.xlsx")):
        write(report, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100


async def test_a_whole_province_is_written_by_name(
    both_stores: Store, both_dsns: str, tmp_path: Path
) -> None:
    await fill(both_stores, D(2026, 10, 31), months=2)
    for form in FORMATS:
        await write_report(both_dsns, ["DEMO-T01", "DEMO-X03"], *OCTOBER, form, tmp_path / f"r.{form}")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("r.", ".r"))) == [
        "r.csv",
        "r.json",
        "r.xlsx",
    ]
    with (tmp_path / "r.csv").open(encoding="utf-8-sig") as file:
        assert "DỮ LIỆU MINH HỌA" in file.read()


async def test_a_file_that_cannot_be_written_is_told(store: Store, sqlite_dsn: str, tmp_path: Path) -> None:
    await open_centre(store, "V1")
    with pytest.raises(SetupError, match="cannot be written"):
        await write_report(sqlite_dsn, ["V1"], *OCTOBER, "csv", tmp_path / "nowhere" / "r.csv")
    with pytest.raises(UserError, match="V9"):
        await write_report(sqlite_dsn, ["V9"], *OCTOBER, "csv", tmp_path / "r.csv")
    assert not (tmp_path / "r.csv").exists()


def test_the_process_says_what_is_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "surveys.report_process"],
        input=b'{"dsn": 1}',
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"dsn" in done.stderr


def test_the_portal_never_loads_a_writer() -> None:
    code = "import sys, surveys.console, surveys.pages; print({'xlsxwriter', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "set()"
