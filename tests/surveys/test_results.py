"""A report against the documents it came from, on both databases."""

import datetime as dt
import random
import uuid
from decimal import Decimal

import pytest
from sqlalchemy import insert

from crm.errors import UserError
from crm.store import Store
from crm.tables import venue
from surveys.figures import months_between, period_before
from surveys.periods import presets, read_day, read_period
from surveys.questionnaire_files import load_questionnaire
from surveys.report import Report, VenueResult
from surveys.results import build_report
from surveys.store import Answer, Step, Version, count_steps, publish, save_answers
from surveys.suppression import is_small

NHANH = load_questionnaire("nhanh")
NOW = dt.datetime(2026, 11, 20, 9, tzinfo=dt.UTC)
D = dt.date


async def open_centre(store: Store, code: str) -> Version:
    async with store.begin() as conn:
        await conn.execute(insert(venue).values(code=code, names={"vi": code}, languages=["vi"]))
        return await publish(conn, code, NHANH, D(2026, 1, 1))


async def tell(
    store: Store, version: Version, day: dt.date, levels: str, comment: str = "", channel: str = "wifi"
) -> None:
    """One served person for each letter of *levels*; each saw the portal, as did one who skipped."""
    batch = []
    for number, level in enumerate(levels):
        guest = uuid.uuid4()
        given = {"A0": "done", "A1": "na" if level == "-" else level, "A2": "nothing"}
        if comment and not number:
            given["A4"] = comment
        batch += [
            Answer(guest, version, "", day, 0, 9, channel, "vi", question, value, question == "A2")
            for question, value in given.items()
        ]
    steps = [Step(version, "", day, 0, channel, "vi", "shown")] * (len(levels) + 1)
    async with store.begin() as conn:
        await conn.run_sync(save_answers, batch)
        await conn.run_sync(count_steps, [*steps, Step(version, "", day, 0, channel, "vi", "skipped")])


async def report_of(store: Store, codes: list[str], first: dt.date, last: dt.date) -> Report:
    async with store.read() as conn:
        return await build_report(conn, codes, first, last, now=NOW)


def cells_of(result: VenueResult, key: str) -> list[int | None]:
    return next(
        [option.n for option in question.options] for question in result.questions if question.key == key
    )


async def test_the_figures_are_those_of_the_answers(both_stores: Store) -> None:
    version = await open_centre(both_stores, "V1")
    await tell(both_stores, version, D(2026, 10, 5), "5" * 46 + "4" * 38)
    await tell(both_stores, version, D(2026, 10, 6), "3" * 10 + "2" * 8 + "1" * 6 + "-" * 5)
    await tell(both_stores, version, D(2026, 11, 1), "1" * 50)
    (result,) = (await report_of(both_stores, ["V1"], D(2026, 10, 1), D(2026, 10, 31))).venues
    assert (result.funnel.shown, result.funnel.started, result.funnel.completed, result.funnel.skipped) == (
        115,
        113,
        113,
        2,
    )
    assert result.funnel.rate == Decimal("98.26")
    assert cells_of(result, "A1") == [46, 38, 10, 8, 6, 5]
    assert result.headline == "A1"
    overall = result.overall
    assert overall is not None
    assert overall.top_two is not None
    assert (overall.n, overall.n_valid) == (113, 108)
    assert overall.top_two.percent == Decimal("77.78")
    assert overall.top_two.low < overall.top_two.percent < overall.top_two.high
    assert overall.mean == Decimal("80.37")  # 434 of 540
    assert [version.number for version in result.versions] == [1]
    assert result.channels == ("wifi",)
    assert not overall.withheld


async def test_few_answers_are_no_report(both_stores: Store) -> None:
    version = await open_centre(both_stores, "V1")
    await tell(both_stores, version, D(2026, 10, 5), "5411", comment="Tốt")
    (result,) = (await report_of(both_stores, ["V1"], D(2026, 10, 1), D(2026, 10, 31))).venues
    assert not result.enough
    assert (result.questions, result.comments, result.trend, result.days) == ((), (), (), ())
    assert (result.funnel.started, result.funnel.rate, result.funnel.shown) == (None, None, 5)


async def test_comments_tell_their_month_and_are_in_no_order_of_arrival(both_stores: Store) -> None:
    version = await open_centre(both_stores, "V1")
    for number in range(20):
        await tell(both_stores, version, D(2026, 9 + number % 2, 7), "55", comment=f"{number}")
    (result,) = (await report_of(both_stores, ["V1"], D(2026, 9, 1), D(2026, 10, 31))).venues
    assert {comment.month for comment in result.comments} == {D(2026, 9, 1), D(2026, 10, 1)}
    assert sorted(int(comment.text) for comment in result.comments) == list(range(20))
    september = [int(comment.text) for comment in result.comments if comment.month.month == 9]
    assert september != sorted(september)


async def test_the_period_and_the_channel_are_told(both_stores: Store) -> None:
    version = await open_centre(both_stores, "V1")
    await tell(both_stores, version, D(2026, 10, 5), "5" * 20, channel="demo")
    whole = await report_of(both_stores, ["V1"], D(2026, 10, 1), D(2026, 10, 31))
    part = await report_of(both_stores, ["V1"], D(2026, 10, 1), D(2026, 10, 30))
    assert (whole.demo, whole.whole_months, part.whole_months) == (True, True, False)
    assert whole.made == D(2026, 11, 20)


async def test_the_change_is_against_the_period_before(both_stores: Store) -> None:
    version = await open_centre(both_stores, "V1")
    await tell(both_stores, version, D(2026, 9, 5), "5" * 50 + "1" * 50)
    await tell(both_stores, version, D(2026, 10, 5), "5" * 75 + "1" * 25)
    (result,) = (await report_of(both_stores, ["V1"], D(2026, 10, 1), D(2026, 10, 31))).venues
    assert result.change == Decimal("25.00")
    (first,) = (await report_of(both_stores, ["V1"], D(2026, 9, 1), D(2026, 9, 30))).venues
    assert first.change is None


async def test_no_such_centre_and_no_such_period(store: Store) -> None:
    await open_centre(store, "V1")
    for codes, first, last, words in (
        (["V9"], D(2026, 1, 1), D(2026, 1, 2), "V9"),
        (["V1"], D(2026, 1, 2), D(2026, 1, 1), "ends before"),
        (["V1"], D(2001, 1, 1), D(2026, 1, 1), "five years"),
    ):
        with pytest.raises(UserError, match=words):
            await report_of(store, codes, first, last)


async def test_the_total_is_the_sum_of_what_is_printed(store: Store) -> None:
    rich = "5" * 40 + "4" * 30 + "3" * 20 + "2" * 10 + "1" * 6
    for code, levels in (("V1", rich), ("V2", rich), ("V3", "5" * 20 + "32"), ("V4", "55")):
        await tell(store, await open_centre(store, code), D(2026, 10, 5), levels)
    report = await report_of(store, ["V1", "V2", "V3", "V4", "V1"], D(2026, 10, 1), D(2026, 10, 31))
    assert [result.code for result in report.venues] == ["V1", "V2", "V3", "V4"]
    total = report.total
    assert total is not None
    assert (total.venues, total.n_valid, total.started) == (2, 212, 212)
    assert list(total.cells.values()) == [80, 60, 40, 20, 12, 0]
    assert (await report_of(store, ["V1", "V4"], D(2026, 10, 1), D(2026, 10, 31))).total is None


async def test_no_small_figure_stands_anywhere(store: Store) -> None:
    """Thirty odd centres: nothing printed is small, and neither is what it subtracts to."""
    draw = random.Random(4)
    for number in range(30):
        version = await open_centre(store, f"V{number}")
        for day in (D(2026, 9, 7), D(2026, 10, 5), D(2026, 10, 6), D(2026, 10, 20)):
            await tell(
                store, version, day, "".join(draw.choices("54321-", [9, 7, 3, 2, 1, 1], k=draw.randrange(15)))
            )
    report = await report_of(store, [f"V{number}" for number in range(30)], D(2026, 9, 1), D(2026, 10, 31))
    shown = 0
    for result in report.venues:
        assert not is_small(result.funnel.started or 0)
        for question in result.questions:
            cells = [option.n for option in question.options]
            shown += sum(n is not None and n > 0 for n in cells)
            assert not any(is_small(n) for n in cells if n is not None)
            if question.n is not None and question.n_valid is not None:
                assert not is_small(question.n - question.n_valid)
            if question.satisfied is not None and question.n_valid is not None:
                assert not is_small(question.satisfied)
                assert not is_small(question.n_valid - question.satisfied)
        assert sum(month.n is None for month in result.trend) != 1
        started = [day.started for day in result.days]
        assert not any(is_small(n) for n in started if n is not None)
        if result.enough and None in started:
            assert not is_small((result.funnel.started or 0) - sum(n or 0 for n in started))
    assert shown > 50


def test_periods() -> None:
    assert period_before(D(2026, 10, 1), D(2026, 10, 31)) == (D(2026, 9, 1), D(2026, 9, 30))
    assert period_before(D(2026, 1, 1), D(2026, 3, 31)) == (D(2025, 10, 1), D(2025, 12, 31))
    assert period_before(D(2026, 10, 5), D(2026, 10, 11)) == (D(2026, 9, 28), D(2026, 10, 4))
    assert months_between(D(2025, 12, 31), D(2026, 2, 1)) == [D(2025, 12, 1), D(2026, 1, 1), D(2026, 2, 1)]
    names = {p.name: (p.first, p.last) for p in presets(D(2026, 1, 15))}
    assert names == {
        "This month": (D(2026, 1, 1), D(2026, 1, 15)),
        "Last month": (D(2025, 12, 1), D(2025, 12, 31)),
        "This quarter": (D(2026, 1, 1), D(2026, 1, 15)),
        "This year": (D(2026, 1, 1), D(2026, 1, 15)),
    }
    assert read_day("1/2/2026") == read_day("2026-02-01") == read_day(" 01.02.2026 ") == D(2026, 2, 1)
    assert read_day("30/02/2026") is read_day("") is read_day("2026-2-1") is read_day("tháng 5") is None
    assert read_period("1/10/2026", "2026-10-31") == (D(2026, 10, 1), D(2026, 10, 31))
