"""The worst of the last minutes is told, and forgotten after a while."""

import asyncio

from sqlalchemy import Connection

from crm.pace import SPAN, Pace, Worst
from crm.store import Store


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
    def slowly(_conn: Connection, items: object) -> list[None]:
        loop.call_soon_threadsafe(lambda: None)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.3), loop).result()
        return [None] * len(items)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    assert store.worst() == Worst()
    first = asyncio.create_task(store.write(slowly, 1))
    await asyncio.sleep(0.1)  # the second comes while the first is under way, so it waits for the next commit
    await asyncio.gather(first, store.write(slowly, 2))
    worst = store.worst()
    assert worst.took >= 0.3
    assert 0.1 <= worst.waited < worst.took
    assert not store.failing
