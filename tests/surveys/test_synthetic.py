"""The demo year: plausible, marked, repeatable, and harmless to make twice."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from crm.store import Store, open_store
from crm.tables import daily_count, daily_funnel, response, venue
from surveys.rebuild import rebuild_counts
from surveys.synthetic import CENTRES, fill
from tests.migrated import migrated

LAST = dt.date(2026, 10, 31)
HEARD: list[tuple[int, int]] = []
"""What was told of the progress: (done, total)."""


async def _rows(store: Store, query):
    async with store.read() as conn:
        return (await conn.execute(query)).all()


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the demo's year."""

    async def make() -> None:
        await migrated(dsn, "crm")
        store = open_store(dsn)
        await fill(store, LAST, progress=lambda done, total: HEARD.append((done, total)))
        await store.close()

    dsn = str(tmp_path_factory.mktemp("year") / "crm.db")
    asyncio.run(make())
    return dsn


@pytest.fixture
async def demo(year: str) -> AsyncIterator[Store]:
    """The demo's year, for all tests of it: none of them changes anything."""
    store = open_store(year)
    yield store
    await store.close()


async def test_a_year_looks_as_the_reference_says_and_a_second_run_changes_nothing(demo: Store) -> None:
    store = demo
    assert sorted(HEARD) == HEARD
    assert HEARD[-1][0] == HEARD[-1][1] == 365 * 6
    codes = {row.code for row in await _rows(store, select(venue.c.code))}
    assert codes == {centre.code for centre in CENTRES}
    assert {row.channel for row in await _rows(store, select(daily_funnel.c.channel).distinct())} == {"demo"}
    steps = dict(
        await _rows(
            store, select(daily_funnel.c.step, func.sum(daily_funnel.c.n)).group_by(daily_funnel.c.step)
        )
    )
    assert 0.30 < steps["started"] / steps["shown"] < 0.34
    assert 0.22 < steps["completed"] / steps["shown"] < 0.26
    days = await _rows(store, select(response.c.day, func.count()).group_by(response.c.day))
    assert {day.weekday() for day, _ in days} == {0, 1, 2, 3, 4}
    assert (min(days)[0], max(days)[0]) == (dt.date(2025, 11, 3), dt.date(2026, 10, 30))
    by_weekday = Counter[int]()
    for day, n in days:
        by_weekday[day.weekday()] += n
    assert max(by_weekday, key=by_weekday.__getitem__) == 0
    documents = [row.answers for row in await _rows(store, select(response.c.answers))]
    hidden = [answers["A4"] for answers in documents if "ẩn]" in answers.get("A4", "")]
    assert len(hidden) == 3
    assert not any("0912" in answers.get("A4", "") for answers in documents)
    before = len(documents)
    await fill(store, LAST)
    assert (await _rows(store, select(func.count()).select_from(response)))[0][0] == before


async def test_the_counts_of_a_made_up_month_are_those_of_its_documents(both_stores: Store) -> None:
    await fill(both_stores, LAST, months=1)
    everything = (
        select(daily_count).order_by(*daily_count.primary_key),
        select(daily_funnel).order_by(*daily_funnel.primary_key),
    )
    before = [await _rows(both_stores, query) for query in everything]
    assert before[0]
    async with both_stores.begin() as conn:
        for centre in CENTRES:
            await rebuild_counts(conn, centre.code)
    assert [await _rows(both_stores, query) for query in everything] == before


async def test_one_centre_has_one_bad_month(demo: Store) -> None:
    unhappy = daily_count.c.value.in_(("1", "2"))
    rows = await _rows(
        demo,
        select(daily_count.c.venue, func.strftime("%Y-%m", daily_count.c.day), func.sum(daily_count.c.n))
        .where(daily_count.c.question == "A1", unhappy, daily_count.c.venue == "DEMO-P01")
        .group_by(daily_count.c.venue, func.strftime("%Y-%m", daily_count.c.day)),
    )
    by_month = {month: n for _, month, n in rows}
    worst = max(by_month, key=by_month.__getitem__)
    assert worst == "2026-07"
    assert by_month[worst] > 3 * sorted(by_month.values())[-2] / 2


async def test_a_month_without_working_days_is_empty(store: Store) -> None:
    await fill(store, dt.date(2028, 1, 2), months=1)  # a Saturday and a Sunday
    assert await _rows(store, select(response.c.id)) == []
