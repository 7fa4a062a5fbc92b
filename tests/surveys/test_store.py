"""The counts equal the documents, whatever is answered, changed, repeated and in whatever batches."""

import datetime as dt
import uuid
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from crm.errors import UserError
from crm.store import Store
from crm.tables import answer_fact, daily_count, daily_funnel, monthly_hour, response, venue
from surveys.questionnaire_files import load_questionnaire
from surveys.questions import Option, Question, Questionnaire, reachable
from surveys.rebuild import rebuild_counts
from surveys.store import (
    Answer,
    Step,
    Version,
    count_steps,
    publish,
    save_answers,
    select_answers,
    select_versions,
)

NHANH = load_questionnaire("nhanh")
DAY = dt.date(2026, 11, 2)
IDS = [uuid.UUID(int=n << 64, version=4) for n in (9, 1, 5, 3)]


async def open_venue(store: Store, *codes: str) -> list[Version]:
    versions = []
    async with store.begin() as conn:
        for code in codes:
            await conn.execute(insert(venue).values(code=code, names={"vi": code}, languages=["vi"]))
            versions.append(await publish(conn, code, NHANH, DAY))
    return versions


def answer(version: Version, response_id: uuid.UUID, question: str, value: str, **changes) -> Answer:
    values = {
        "response": response_id,
        "version": version,
        "unit": "",
        "day": DAY,
        "daypart": 0,
        "hour": 9,
        "channel": "wifi",
        "language": "vi",
        "question": question,
        "value": value,
        "final": False,
    }
    return Answer(**{**values, **changes})


async def rows_of(store: Store, table) -> list[Any]:
    async with store.read() as conn:
        return sorted(tuple(row) for row in await conn.execute(select(table)))


async def funnel_of(store: Store) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in await rows_of(store, daily_funnel):
        total[row[-2]] += row[-1]
    return dict(total)


async def counts_of(store: Store) -> dict[tuple[str, str], int]:
    total: Counter[tuple[str, str]] = Counter()
    for row in await rows_of(store, daily_count):
        total[row[-3], row[-2]] += row[-1]
    return dict(total)


async def test_a_visit_is_counted_step_by_step(both_stores: Store) -> None:
    (version,) = await open_venue(both_stores, "V1")
    guest = uuid.uuid4()
    given_so_far = await both_stores.write(save_answers, answer(version, guest, "A0", "done"))
    assert given_so_far == {"A0": "done"}
    assert await funnel_of(both_stores) == {"started": 1}
    await both_stores.write(save_answers, answer(version, guest, "A1", "4", language="en", daypart=1))
    await both_stores.write(save_answers, answer(version, guest, "A2", "nothing"))
    assert await funnel_of(both_stores) == {"started": 1}
    last = await both_stores.write(save_answers, answer(version, guest, "A4", "Tốt lắm"))
    assert last == {"A0": "done", "A1": "4", "A2": "nothing", "A4": "Tốt lắm"}
    assert await funnel_of(both_stores) == {"started": 1, "completed": 1}
    assert await counts_of(both_stores) == {
        ("A0", "done"): 1,
        ("A1", "4"): 1,
        ("A2", "nothing"): 1,
        ("A4", "text"): 1,
    }
    assert await rows_of(both_stores, monthly_hour) == [("V1", dt.date(2026, 11, 1), 9, "wifi", 1)]
    facts = await rows_of(both_stores, answer_fact)
    assert [fact[1:] for fact in facts] == [("A0", "V1", "done"), ("A1", "V1", "4"), ("A2", "V1", "nothing")]
    async with both_stores.read() as conn:
        assert await select_answers(conn, guest) == last
        stored = (await conn.execute(select(response))).one()
        # The first answer fixes language and daypart: later ones cannot be told apart by them.
        assert (stored.language, stored.daypart, stored.complete) == ("vi", 0, True)


async def test_a_changed_route_takes_its_answers_with_it(both_stores: Store) -> None:
    (version,) = await open_venue(both_stores, "V1")
    guest = uuid.uuid4()
    for question, value in (("A0", "done"), ("A1", "1"), ("A2", "waiting")):
        await both_stores.write(save_answers, answer(version, guest, question, value))
    left = await both_stores.write(save_answers, answer(version, guest, "A0", "waiting"))
    assert left == {"A0": "waiting"}
    assert await counts_of(both_stores) == {("A0", "waiting"): 1}
    assert len(await rows_of(both_stores, answer_fact)) == 1


async def test_the_same_post_twice_is_one_answer(both_stores: Store) -> None:
    (version,) = await open_venue(both_stores, "V1")
    guest = uuid.uuid4()
    post = answer(version, guest, "A0", "with", final=True)
    async with both_stores.begin() as conn:
        assert await conn.run_sync(save_answers, [post, post]) == [{"A0": "with"}] * 2
    await both_stores.write(save_answers, post)
    assert await counts_of(both_stores) == {("A0", "with"): 1}
    assert await funnel_of(both_stores) == {"started": 1, "completed": 1}


async def test_two_answers_of_one_guest_in_one_batch_both_count(both_stores: Store) -> None:
    (version,) = await open_venue(both_stores, "V1")
    guest = uuid.uuid4()
    async with both_stores.begin() as conn:
        results = await conn.run_sync(
            save_answers, [answer(version, guest, "A0", "done"), answer(version, guest, "A1", "5")]
        )
    assert results == [{"A0": "done"}, {"A0": "done", "A1": "5"}]
    assert await counts_of(both_stores) == {("A0", "done"): 1, ("A1", "5"): 1}


async def test_no_answer_makes_no_response(both_stores: Store) -> None:
    (version,) = await open_venue(both_stores, "V1")
    assert await both_stores.write(save_answers, answer(version, uuid.uuid4(), "A4", "", final=True)) == {}
    assert await both_stores.write(save_answers, answer(version, uuid.uuid4(), "A1", "5")) == {}
    assert await both_stores.write(save_answers, answer(version, uuid.uuid4(), "X9", "5")) == {}
    assert await rows_of(both_stores, response) == []
    assert await funnel_of(both_stores) == {}


async def test_a_comment_taken_back_is_not_counted(both_stores: Store) -> None:
    (version,) = await open_venue(both_stores, "V1")
    guest = uuid.uuid4()
    for question, value in (("A0", "with"), ("A4", "Chờ lâu"), ("A4", "Chờ lâu quá"), ("A4", "")):
        await both_stores.write(save_answers, answer(version, guest, question, value))
    assert await counts_of(both_stores) == {("A0", "with"): 1}
    assert await funnel_of(both_stores) == {"started": 1, "completed": 1}


async def test_a_response_of_another_venue_or_version_is_refused_alone(both_stores: Store) -> None:
    here, there = await open_venue(both_stores, "V1", "V2")
    guest, other = uuid.uuid4(), uuid.uuid4()
    await both_stores.write(save_answers, answer(here, guest, "A0", "done"))
    async with both_stores.begin() as conn:
        refused, kept, refused_too = await conn.run_sync(
            save_answers,
            [
                answer(there, guest, "A0", "with"),
                answer(there, other, "A0", "with"),
                answer(here, other, "A0", "done"),
            ],
        )
    assert isinstance(refused, UserError)
    assert isinstance(refused_too, UserError)
    assert (refused.status, kept) == (409, {"A0": "with"})
    assert await counts_of(both_stores) == {("A0", "done"): 1, ("A0", "with"): 1}
    changed = msgspec.structs.replace(NHANH, title={"vi": "Mới"})
    async with both_stores.begin() as conn:
        newer = await publish(conn, "V1", changed, DAY)
    with pytest.raises(UserError, match="has changed"):
        await both_stores.write(save_answers, answer(newer, guest, "A1", "5"))


async def test_steps_are_counted(both_stores: Store) -> None:
    (version,) = await open_venue(both_stores, "V1")
    shown = Step(version, "", DAY, 0, "wifi", "vi", "shown")
    async with both_stores.begin() as conn:
        await conn.run_sync(count_steps, [shown, msgspec.structs.replace(shown, step="skipped"), shown])
    await both_stores.write(count_steps, shown)
    assert await funnel_of(both_stores) == {"shown": 3, "skipped": 1}


async def test_publish_keeps_equal_content_and_refuses_reused_keys(both_stores: Store) -> None:
    (first,) = await open_venue(both_stores, "V1")
    a1 = NHANH.questions[1]
    yes_no = (Option("yes", {"vi": "Có"}), Option("no", {"vi": "Không"}))
    retyped = msgspec.structs.replace(
        NHANH,
        questions=(NHANH.questions[0], msgspec.structs.replace(a1, kind="choice", options=yes_no, when={})),
    )
    rescored = msgspec.structs.replace(
        NHANH,
        questions=(
            NHANH.questions[0],
            msgspec.structs.replace(
                a1, options=(msgspec.structs.replace(a1.options[0], score=1), *a1.options[1:])
            ),
        ),
    )
    shorter = Questionnaire("nhanh", NHANH.title, NHANH.questions[:1])
    returned = Questionnaire(
        "nhanh",
        NHANH.title,
        (NHANH.questions[0], msgspec.structs.replace(a1, text={"vi": "Phí có cao không?"})),
    )
    async with both_stores.begin() as conn:
        assert await publish(conn, "V1", NHANH, DAY) == first
        for wrong in (retyped, rescored):
            with pytest.raises(UserError, match="used for something else"):
                await publish(conn, "V1", wrong, DAY)
        second = await publish(conn, "V1", shorter, DAY)
        assert (second.number, (await select_versions(conn, "V1", "nhanh"))[-1]) == (2, second)
        with pytest.raises(UserError, match="A1 was used for something else"):
            await publish(conn, "V1", returned, DAY)
        assert (await publish(conn, "V1", NHANH, DAY)).number == 3
        assert await select_versions(conn, "V2", "nhanh") == []


async def test_a_venue_has_its_own_versions(both_stores: Store) -> None:
    here, there = await open_venue(both_stores, "V1", "V2")
    assert here.id != there.id
    async with both_stores.read() as conn:
        assert (await select_versions(conn, "V2", "nhanh"))[-1] == there


Posts = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(
            [
                ("A0", "done"),
                ("A0", "waiting"),
                ("A0", "with"),
                ("A1", "5"),
                ("A1", "na"),
                ("A2", "waiting"),
                ("A3", "2"),
                ("A4", "một"),
                ("A4", "hai"),
                ("A4", ""),
            ]
        ),
        st.booleans(),
        st.sampled_from(["vi", "km"]),
        st.integers(0, 4),
    ),
    max_size=25,
)


@given(posts=Posts)
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_counts_equal_documents_whatever_happens(both_stores: Store, posts) -> None:
    code = uuid.uuid4().hex[:8]
    (version,) = await open_venue(both_stores, code)
    salt = uuid.uuid4().int
    expected: dict[uuid.UUID, dict[str, str]] = {}
    batch: list[Answer] = []
    for id_, (question, value), final, language, cut in posts:
        guest = uuid.UUID(int=id_.int ^ salt, version=4)
        model = {**expected.get(guest, {}), question: value}
        if not value:
            del model[question]
        expected[guest] = {key: model[key] for key in reachable(NHANH, model) if key in model}
        batch.append(answer(version, guest, question, value, final=final, language=language))
        if not cut:
            async with both_stores.begin() as conn:
                await conn.run_sync(save_answers, batch)
            batch = []
    async with both_stores.begin() as conn:
        await conn.run_sync(save_answers, batch)

    def mine(rows: list[Any]) -> list[Any]:
        return [row for row in rows if code in row]

    async with both_stores.read() as conn:
        for guest, answers in expected.items():
            assert await select_answers(conn, guest) == answers
    kept = [mine(await rows_of(both_stores, table)) for table in (daily_count, daily_funnel, answer_fact)]
    assert all(row[-1] > 0 for rows in kept[:2] for row in rows)
    async with both_stores.begin() as conn:
        await rebuild_counts(conn, code)
    again = [mine(await rows_of(both_stores, table)) for table in (daily_count, daily_funnel, answer_fact)]
    assert again == kept


async def test_rebuild_repairs_and_leaves_the_rest_alone(both_stores: Store) -> None:
    here, there = await open_venue(both_stores, "V1", "V2")
    for version in (here, there):
        for number in range(3):
            guest = uuid.UUID(int=number + 1000 * version.id)
            await both_stores.write(save_answers, answer(version, guest, "A0", "with", final=True))
        await both_stores.write(count_steps, Step(version, "", DAY, 0, "wifi", "vi", "shown"))
    before = [await rows_of(both_stores, table) for table in (daily_count, daily_funnel, answer_fact)]
    async with both_stores.begin() as conn:
        await conn.execute(daily_count.update().where(daily_count.c.venue == "V1").values(n=99))
        await conn.execute(answer_fact.delete().where(answer_fact.c.venue == "V1"))
        await rebuild_counts(conn, "V1")
    assert [await rows_of(both_stores, table) for table in (daily_count, daily_funnel, answer_fact)] == before


async def test_rows_of_a_batch_do_not_tell_who_came_first(store: Store) -> None:
    """On SQLite the tables have no row number, so their order is that of the random ids."""
    (version,) = await open_venue(store, "V1")
    guests = [uuid.uuid4() for _ in range(20)]
    for guest in guests:
        await store.write(save_answers, answer(version, guest, "A0", "done"))
    async with store.read() as conn:
        ids = [row.id for row in await conn.execute(select(response.c.id))]
        assert ids == sorted(guests)
        for table in ("response", "answer_fact", "daily_count", "daily_funnel", "monthly_hour"):
            with pytest.raises(Exception, match="no such column: rowid"):
                await conn.exec_driver_sql(f"SELECT rowid FROM {table}")


def test_a_question_without_options_is_kept_as_data() -> None:
    document = msgspec.to_builtins(Questionnaire("k", {"vi": "t"}, (Question("Q", "comment", {"vi": "?"}),)))
    assert msgspec.convert(document, Questionnaire).questions[0].kind == "comment"
