"""The SQL of announcements, on both databases."""

from datetime import date

import msgspec
import pytest

from campaigns.announcements import Draft
from campaigns.samples import insert_samples, load_samples
from campaigns.store import (
    Counts,
    Seen,
    count_seen,
    insert_announcement,
    restore_announcement,
    select_announcement,
    select_announcements,
    select_centres,
    select_counts,
    select_shown,
    update_announcement,
    withdraw_announcement,
)
from crm.store import Store
from tests.console_app import fill

DAY = date(2026, 11, 20)
TEXTS = {"vi": {"title": "Nghỉ lễ", "body": "Trung tâm nghỉ."}}


def draft(starts: int = 1, ends: int | None = None, *, urgent: bool = False) -> Draft:
    return Draft(TEXTS, date(2026, 11, starts), date(2026, 11, ends) if ends else None, urgent)


@pytest.fixture
async def filled(both_stores: Store) -> Store:
    await fill(both_stores)
    return both_stores


async def test_what_is_written_is_read(filled: Store) -> None:
    async with filled.begin() as conn:
        number = await insert_announcement(conn, "DEMO-P01", draft(5, 20, urgent=True))
    async with filled.read() as conn:
        found = await select_announcement(conn, number, "DEMO-P01")
    assert found is not None
    assert (found.venue, found.texts, found.starts, found.ends, found.urgent, found.withdrawn) == (
        "DEMO-P01", TEXTS, date(2026, 11, 5), DAY, True, False,
    )  # fmt: skip


async def test_the_networks_of_an_announcement_are_kept(filled: Store) -> None:
    async with filled.begin() as conn:
        number = await insert_announcement(
            conn, "DEMO-P01", msgspec.structs.replace(draft(), networks=("desks",))
        )
        found = await select_announcement(conn, number, "DEMO-P01")
        assert found is not None
        assert found.networks == ("desks",)
        assert await update_announcement(conn, number, "DEMO-P01", draft())
        found = await select_announcement(conn, number, "DEMO-P01")
        assert found is not None
        assert found.networks == ()


async def test_only_what_is_due_here_is_shown_in_order(filled: Store) -> None:
    async with filled.begin() as conn:
        old = await insert_announcement(conn, "DEMO-P01", draft(1))
        new = await insert_announcement(conn, "DEMO-P01", draft(20, 20))
        urgent = await insert_announcement(conn, "DEMO-P01", draft(2, urgent=True))
        for unseen in (draft(21), draft(1, 19)):
            await insert_announcement(conn, "DEMO-P01", unseen)
        await insert_announcement(conn, "DEMO-X02", draft(1))
        withdrawn = await insert_announcement(conn, "DEMO-P01", draft(1))
        assert await withdraw_announcement(conn, withdrawn, "DEMO-P01")
        assert [each.id for each in await select_shown(conn, "DEMO-P01", DAY)] == [urgent, new, old]
        assert await restore_announcement(conn, withdrawn, "DEMO-P01")
        assert withdrawn in [each.id for each in await select_shown(conn, "DEMO-P01", DAY)]


async def test_another_venue_can_neither_read_nor_change(filled: Store) -> None:
    async with filled.begin() as conn:
        number = await insert_announcement(conn, "DEMO-P01", draft())
        assert await select_announcement(conn, number, "DEMO-X02") is None
        assert await select_announcements(conn, "DEMO-X02") == []
        assert not await update_announcement(conn, number, "DEMO-X02", draft(9))
        assert not await withdraw_announcement(conn, number, "DEMO-X02")
        assert not await restore_announcement(conn, number, "DEMO-X02")
        found = await select_announcement(conn, number, None)
        assert found is not None
        assert (found.starts, found.withdrawn) == (date(2026, 11, 1), False)
        assert await update_announcement(conn, number, None, draft(9))
        assert [each.starts.day for each in await select_announcements(conn, None)] == [9]
        assert [centre.code for centre in await select_centres(conn, "DEMO-X02")] == ["DEMO-X02"]
        assert len(await select_centres(conn, None)) == 2


async def test_views_add_up_whoever_writes_them(filled: Store) -> None:
    async with filled.begin() as conn:
        number = await insert_announcement(conn, "DEMO-P01", draft())
        other = await insert_announcement(conn, "DEMO-X02", draft())
    shown = Seen(number, "DEMO-P01", DAY, "vi", "shown", n=40)
    opened = Seen(number, "DEMO-P01", DAY, "en", "opened")
    async with filled.begin() as conn:
        assert await conn.run_sync(count_seen, [shown, opened, shown]) == [None] * 3
        await conn.run_sync(count_seen, [])
    await filled.write(count_seen, opened)
    await filled.write(count_seen, Seen(other, "DEMO-X02", DAY, "vi", "shown"))
    async with filled.read() as conn:
        assert await select_counts(conn, "DEMO-P01") == {number: Counts(shown=80, opened=2)}
        assert (await select_counts(conn, None))[other] == Counts(shown=1)


async def test_the_samples_come_once(filled: Store) -> None:
    assert await insert_samples(filled, "DEMO-P01", DAY) == 5
    assert await insert_samples(filled, "DEMO-P01", date(2026, 12, 1)) == 0
    async with filled.read() as conn:
        shown = await select_shown(conn, "DEMO-P01", DAY)
    assert [each.texts["vi"]["title"] for each in shown] == [
        each.texts["vi"]["title"] for each in load_samples(DAY)
    ]
    assert [each.urgent for each in shown] == [True, False, False, False, False]
    assert all(set(each.texts) == {"vi", "en"} for each in shown)
