"""A report's tables as the annexes that offices attach to it, in Vietnamese. Rules only, no I/O.

Columns follow the annexes of provincial reporting software: I by unit, II by question, IV comments, V by day.
"""

from collections.abc import Iterator, Sequence

from surveys.questions import in_language
from surveys.report import QuestionResult, Report, Total, VenueResult
from surveys.scores import TEMPLATES
from surveys.sheets import Annex, Chart, Column, Value

LANGUAGE = "vi"
NO_DATA = "chưa đủ dữ liệu"
SAMPLE = "Khảo sát tham khảo qua Wi-Fi: mẫu tự nguyện qua Wi-Fi, không đại diện cho toàn bộ người dân"
DEMO = "DỮ LIỆU MINH HỌA (dữ liệu tổng hợp, không phải ý kiến thật)"
OVERLAP = "Kỳ báo cáo không trọn tháng: không so sánh, trừ cho báo cáo khác có kỳ trùng ngày"
SMALL = "Ô có dưới 5 phiếu, hoặc suy ra được ô như vậy, ghi “chưa đủ dữ liệu”"
SCORES = ("5", "4", "3", "2", "1")


def notes(report: Report) -> list[str]:
    """What has to be read with every figure."""
    found = [SAMPLE, SMALL]
    if not report.whole_months:
        found.append(OVERLAP)
    if report.demo:
        found.insert(0, DEMO)
    return found


def period(report: Report) -> str:
    """The period in words."""
    return f"Từ ngày {report.first:%d/%m/%Y} đến ngày {report.last:%d/%m/%Y}"


def annexes(report: Report) -> list[Annex]:
    """All sheets of *report*."""
    return [
        _about(report),
        _units(report),
        _scales(report),
        _choices(report),
        _comments(report),
        _days(report),
        _months(report),
    ]


def _name(venue: VenueResult) -> str:
    return in_language(venue.names, LANGUAGE)


def _about(report: Report) -> Annex:
    template = TEMPLATES[report.template]
    rows: list[Sequence[Value]] = [
        ("Kỳ báo cáo", period(report)),
        ("Ngày lập", report.made),
        ("Cách tính điểm", f"{in_language(template.names, LANGUAGE)} ({template.id})"),
        (
            "Tỷ lệ hài lòng",
            "(Rất hài lòng + Hài lòng) / số phiếu có ý kiến × 100, kèm khoảng tin cậy 95% (Wilson)",
        ),
        ("Làm tròn", "Tỷ lệ 2 chữ số thập phân, điểm 1 chữ số thập phân, nửa làm tròn lên"),
    ]
    for venue in report.venues:
        asked = ", ".join(f"{v.questionnaire}/{v.number} (từ {v.published:%d/%m/%Y})" for v in venue.versions)
        rows += [
            ("Đơn vị", f"{_name(venue)} ({venue.code})"),
            ("Bảng hỏi/phiên bản", asked or "chưa có"),
            ("Kênh thu thập", ", ".join(venue.channels) or "chưa có"),
        ]
    rows += [("Lưu ý", note) for note in notes(report)]
    return Annex("Thông tin", "THÔNG TIN VỀ SỐ LIỆU", (Column("Mục", 24), Column("Nội dung", 100)), rows)


LEVELS = tuple(
    Column(title, 9, "count")
    for title in ("Rất hài lòng", "Hài lòng", "Bình thường", "Không hài lòng", "Rất không hài lòng")
)


UNIT_COLUMNS = (
    Column("STT", 6, "number"),
    Column("Mã định danh", 13),
    Column("Tên đơn vị", 32),
    Column("Lượt hiển thị cổng", 9, "count"),
    Column("Số phiếu (trả lời câu đầu)", 9, "count"),
    Column("Hoàn thành", 9, "count"),
    Column("Bỏ qua", 9, "count"),
    Column("Tỷ lệ trả lời (%)", 9, "percent"),
    Column("Phiếu có ý kiến (câu chung)", 9, "count"),
    *LEVELS,
    Column("Tỷ lệ hài lòng (%)", 9, "percent"),
    Column("Điểm TB quy đổi (%)", 9, "percent"),
    Column("So kỳ trước (điểm %)", 9, "percent"),
    Column("Ghi chú", 14),
)
SATISFIED = 14
"""The place of the satisfied share among them."""


def _units(report: Report) -> Annex:
    rows = [_unit_row(number, venue) for number, venue in enumerate(report.venues, 1)]
    if report.total is not None:
        rows.append(_total_row(report.total, len(report.venues)))
    title = "Tỷ lệ hài lòng theo đơn vị (%)"
    bars = Chart("bar", title, 2, (SATISFIED,), 100, skip_last=report.total is not None)
    return Annex("I. Theo đơn vị", "PHỤ LỤC I. KẾT QUẢ THEO ĐƠN VỊ", UNIT_COLUMNS, rows, (bars,))


def _unit_row(number: int, venue: VenueResult) -> Sequence[Value]:
    funnel = venue.funnel
    steps = (funnel.shown, funnel.started, funnel.completed, funnel.skipped, funnel.rate)
    change = "" if venue.change is None else venue.change
    note = "" if venue.enough else NO_DATA
    return (number, venue.code, _name(venue), *steps, *_levels(venue.overall), change, note)


def _total_row(total: Total, venues: int) -> Sequence[Value]:
    steps = (total.shown, total.started, "", "", total.rate)
    cells = [total.cells.get(score) for score in SCORES]
    note = "" if total.venues == venues else f"Cộng {total.venues}/{venues} đơn vị đủ dữ liệu"
    return ("", "", "Tổng cộng", *steps, total.n_valid, *cells, total.top_two.percent, total.mean, "", note)


def _levels(question: QuestionResult | None) -> tuple[Value, ...]:
    """n_valid, the five levels, satisfied share, mean; all withheld when there is no such question."""
    if question is None:
        return (None,) * 8
    cells = {option.key: option.n for option in question.options}
    share = question.top_two.percent if question.top_two else None
    return (question.n_valid, *(cells.get(score, "") for score in SCORES), share, question.mean)


def _questions(report: Report, kind: str) -> Iterator[tuple[VenueResult, QuestionResult]]:
    for venue in report.venues:
        for question in venue.questions:
            if question.kind == kind:
                yield venue, question


def _scales(report: Report) -> Annex:
    columns = (
        Column("STT", 6, "number"),
        Column("Mã định danh", 13),
        Column("Câu", 7),
        Column("Nội dung câu hỏi", 44),
        Column("Yếu tố SIPAS", 10),
        Column("Khoản 1 Đ.31 NĐ 61", 10),
        Column("Số phiếu", 9, "count"),
        Column("Phiếu có ý kiến", 9, "count"),
        *LEVELS,
        Column("Tỷ lệ hài lòng (%)", 9, "percent"),
        Column("Khoảng 95% từ", 9, "percent"),
        Column("đến", 9, "percent"),
        Column("Điểm TB quy đổi (%)", 9, "percent"),
    )
    rows: list[Sequence[Value]] = []
    for number, (venue, question) in enumerate(_questions(report, "scale"), 1):
        valid, *levels, share, mean = _levels(question)
        interval = (question.top_two.low, question.top_two.high) if question.top_two else (None, None)
        asked = in_language(question.texts, LANGUAGE)
        factor = "chung" if question.factor == "overall" else question.factor
        labels = (number, venue.code, question.key, asked, factor, question.nd61_item)
        rows.append((*labels, question.n, valid, *levels, share, *interval, mean))
    charts = (Chart("column", "Số phiếu theo mức độ hài lòng", 2, (8, 9, 10, 11, 12)),)
    return Annex("II. Theo câu hỏi", "PHỤ LỤC II. KẾT QUẢ THEO CÂU HỎI (THANG 5 MỨC)", columns, rows, charts)


def _choices(report: Report) -> Annex:
    columns = (
        Column("STT", 6, "number"),
        Column("Mã định danh", 13),
        Column("Câu", 7),
        Column("Nội dung câu hỏi", 44),
        Column("Lựa chọn", 28),
        Column("Số phiếu", 13, "count"),
        Column("Tỷ lệ (%)", 13, "percent"),
        Column("Tổng số phiếu của câu", 13, "count"),
    )
    rows: list[Sequence[Value]] = []
    for venue, question in _questions(report, "choice"):
        asked = in_language(question.texts, LANGUAGE)
        rows += [
            (
                len(rows) + number,
                venue.code,
                question.key,
                asked,
                in_language(option.texts, LANGUAGE),
                option.n,
                option.percent,
                question.n,
            )
            for number, option in enumerate(question.options, 1)
        ]
    return Annex("II.b Lựa chọn", "PHỤ LỤC II.b KẾT QUẢ THEO CÂU HỎI LỰA CHỌN", columns, rows)


def _comments(report: Report) -> Annex:
    columns = (
        Column("STT", 6, "number"),
        Column("Tháng", 11, "month"),
        Column("Đơn vị", 13),
        Column("Nội dung đã ẩn danh", 90),
        Column("Phân loại", 16),
        Column("Tình trạng", 16),
    )
    rows: list[Sequence[Value]] = []
    for venue in report.venues:
        rows += [
            (len(rows) + number, comment.month, venue.code, comment.text, "", "")
            for number, comment in enumerate(venue.comments, 1)
        ]
    return Annex("IV. Ý kiến", "PHỤ LỤC IV. Ý KIẾN CỦA NGƯỜI DÂN (ĐÃ ẨN DANH)", columns, rows)


def _days(report: Report) -> Annex:
    columns = (
        Column("STT", 6, "number"),
        Column("Mã định danh", 13),
        Column("Ngày", 13, "day"),
        Column("Lượt hiển thị cổng", 14, "count"),
        Column("Số phiếu", 14, "count"),
    )
    rows: list[Sequence[Value]] = []
    for venue in report.venues:
        rows += [
            (len(rows) + number, venue.code, day.day, day.shown, day.started)
            for number, day in enumerate(venue.days, 1)
        ]
    charts = (
        (Chart("column", "Lượt hiển thị cổng và số phiếu theo ngày", 2, (3, 4)),)
        if len(report.venues) == 1
        else ()
    )
    return Annex("V. Theo ngày", "PHỤ LỤC V. THEO NGÀY", columns, rows, charts)


def _months(report: Report) -> Annex:
    columns = (
        Column("STT", 6, "number"),
        Column("Mã định danh", 13),
        Column("Tháng", 11, "month"),
        Column("Phiếu có ý kiến", 14, "count"),
        Column("Tỷ lệ hài lòng (%)", 14, "percent"),
        Column("Khoảng 95% từ", 14, "percent"),
        Column("đến", 14, "percent"),
    )
    rows: list[Sequence[Value]] = []
    for venue in report.venues:
        for month in venue.trend:
            top = month.top_two
            figures = (top.percent, top.low, top.high) if top else (None, None, None)
            rows.append((len(rows) + 1, venue.code, month.month, month.n, *figures))
    chart = Chart("line", "Tỷ lệ hài lòng theo tháng (%)", 2, (4,), 100)
    return Annex(
        "V.b Theo tháng",
        "PHỤ LỤC V.b CÂU HỎI CHUNG THEO THÁNG",
        columns,
        rows,
        (chart,) if len(report.venues) == 1 else (),
    )
