"""What came in while the clock stood in 1970 gets its day when somebody sets it; what had one keeps it."""

import uuid
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text

from campaigns.store import Seen, count_seen
from crm.dating import date_undated, has_undated
from crm.settings import Venue
from crm.store import Store
from crm.times import UNDATED, Moment, local_moment
from crm.venues import save_venue
from surveys.questionnaire_files import load_questionnaire
from surveys.store import Answer, Step, Version, count_steps, publish, save_answers

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
WRONG, RIGHT = datetime(1970, 1, 1, 0, 2, tzinfo=UTC), datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
TODAY = date(2026, 11, 22)


async def say(store: Store, version: Version, moment: Moment, value: str) -> None:
    answer = Answer(
        response=uuid.uuid4(),
        version=version,
        unit="",
        day=moment.day,
        daypart=moment.daypart,
        hour=moment.hour,
        channel="wifi",
        language="vi",
        question="A0",
        value=value,
        final=False,
    )
    await store.write(save_answers, answer)
    await store.write(count_steps, Step(version, "", moment.day, moment.daypart, "wifi", "vi", "shown"))


async def rows(store: Store, query: str) -> list[tuple[object, ...]]:
    async with store.read() as conn:
        return [tuple(row) for row in await conn.execute(text(query))]


async def test_answers_and_counts_of_no_day_join_those_of_the_day_the_clock_was_set(
    both_stores: Store,
) -> None:
    store = both_stores
    wrong, right = local_moment(WRONG, ZONE), local_moment(RIGHT, ZONE)
    assert wrong == Moment(UNDATED, 0, 0)
    async with store.begin() as conn:
        await save_venue(conn, Venue())
        version = await publish(conn, Venue().code, load_questionnaire("nhanh"), wrong.day)
        day = TODAY if store.dialect == "postgresql" else TODAY.isoformat()
        columns = "venue, texts, starts, urgent, withdrawn, networks"
        insert = f"INSERT INTO announcement ({columns}) VALUES (:v, '{{}}', :d, false, false, '[]')"
        await conn.execute(text(insert), {"v": Venue().code, "d": day})
    for moment in (wrong, wrong, right, Moment(date(2026, 11, 21), 0, 9)):
        await say(store, version, moment, "done")
        await store.write(count_seen, Seen(1, Venue().code, moment.day, "vi", "shown"))
    async with store.read() as conn:
        assert await conn.run_sync(has_undated)

    await store.write(date_undated, right)

    async with store.read() as conn:
        assert not await conn.run_sync(has_undated)
    assert sorted(map(str, await rows(store, "SELECT day, daypart FROM response"))) == sorted(
        str((day if store.dialect == "postgresql" else day.isoformat(), part))
        for day, part in [(date(2026, 11, 21), 0), *[(TODAY, 1)] * 3]
    )
    counts = "SELECT n FROM {} ORDER BY n"
    for table in ("daily_count", "monthly_hour", "announcement_count"):
        assert await rows(store, counts.format(table)) == [(1,), (3,)], table
    assert await rows(store, counts.format("daily_funnel")) == [(1,), (1,), (3,), (3,)]
    published = await rows(store, "SELECT published FROM questionnaire_version")
    assert str(published[0][0]) == TODAY.isoformat()
