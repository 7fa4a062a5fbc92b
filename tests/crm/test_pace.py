"""The worst of the last minutes is told, and forgotten after a while."""

import asyncio
import threading
from collections.abc import Sequence

from sqlalchemy import Connection

from crm.pace import SPAN, Pace, Worst
from crm.store import Store
from tests.waiting import LONG, until


def test_the_worst_of_the_span_and_of_the_one_before() -> None:
    pace = Pace()
    assert pace.worst(0) == Worst()
    pace.note(1, 0.5, 0.1)
    pace.note(2, 0.2, 3.0)
    assert pace.worst(3) == Worst(0.5, 3.0)
    pace.note(SPAN + 2, 0.7, 0.2)
    assert pace.worst(SPAN + 3) == Worst(0.7, 3.0)
    assert pace.worst(2 * SPAN + 4) == Worst(0.7, 0.2)
    assert pace.worst(5 * SPAN) == Worst()


async def test_a_store_tells_how_long_its_writers_wait(store: Store) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def slowly(_conn: Connection, items: Sequence[int]) -> list[None]:
        under_way.set()
        assert go_on.wait(LONG)
        return [None] * len(items)

    assert store.worst() == Worst()
    first = asyncio.create_task(store.write(slowly, 1))
    await until(under_way.is_set)
    await asyncio.sleep(0.1)
    second = asyncio.create_task(store.write(slowly, 2))  # waits for the next commit
    await asyncio.sleep(0.2)
    go_on.set()
    await asyncio.gather(first, second)
    worst = store.worst()
    assert worst.took >= 0.3
    assert 0.2 <= worst.waited < worst.took
    assert not store.failing
