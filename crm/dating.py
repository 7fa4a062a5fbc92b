"""What was stored while no day was known (`crm.times.UNDATED`) gets one when the clock has been set.

The day is the one on which the clock was set, and so is the part of the day: a box without a battery sets its
clock within a minute of its uplink, and nothing that is kept of an answer could tell more.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from crm.tables import (
    announcement_count,
    daily_count,
    daily_funnel,
    monthly_hour,
    questionnaire_version,
    response,
)
from crm.times import UNDATED, Moment


def _changes(moment: Moment) -> dict[Table, dict[str, Any]]:
    """{counter: what of its key becomes what}."""
    part = {"day": moment.day, "daypart": moment.daypart}
    return {
        daily_count: part,
        daily_funnel: part,
        monthly_hour: {"month": moment.day.replace(day=1), "hour": moment.hour},
        announcement_count: {"day": moment.day},
    }


def has_undated(conn: Connection) -> bool:
    """Whether anything waits for its date. Counters are asked, which are small: no response is without them."""
    dates = (
        daily_count.c.day,
        daily_funnel.c.day,
        monthly_hour.c.month,
        announcement_count.c.day,
        questionnaire_version.c.published,
    )
    return any(conn.scalar(select(exists().where(each == UNDATED))) for each in dates)


def date_undated(conn: Connection, batch: Sequence[Moment]) -> Sequence[None]:
    """Batch function of `crm.store.Store.write`: give the first *Moment* to all that has none."""
    moment = batch[0]
    conn.execute(
        update(response).where(response.c.day == UNDATED).values(day=moment.day, daypart=moment.daypart)
    )
    published = questionnaire_version.c.published
    conn.execute(update(questionnaire_version).where(published == UNDATED).values(published=moment.day))
    for table, change in _changes(moment).items():
        _move(conn, table, change)
    return [None] * len(batch)


def _move(conn: Connection, table: Table, change: dict[str, Any]) -> None:
    undated = table.c["month" if "month" in table.c else "day"] == UNDATED
    rows = [dict(row) | change for row in conn.execute(select(table).where(undated)).mappings()]
    if not rows:
        return
    conn.execute(delete(table).where(undated))
    upsert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table)
    keys = [column.name for column in table.primary_key]
    more = {"n": table.c.n + upsert.excluded.n}
    rows.sort(key=lambda row: [str(row[key]) for key in keys])
    conn.execute(upsert.on_conflict_do_update(index_elements=keys, set_=more), rows)
