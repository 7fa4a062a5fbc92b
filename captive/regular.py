"""What is done every few seconds: each thing for itself, so that one that fails keeps no other from being done."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import structlog

log = structlog.get_logger()

Step = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def repeating(seconds: float, rounds: Sequence[Mapping[str, Step]]) -> AsyncIterator[None]:
    """Go through each of *rounds* every so many *seconds* while the context is open, none waiting for another."""
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(repeat(seconds, stopping, steps)) for steps in rounds]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


async def repeat(seconds: float, stopping: asyncio.Event, steps: Mapping[str, Step]) -> None:
    """Take all *steps*, one after the other, every so many *seconds* until *stopping* is set.

    The log hears of the first failure and of the recovery, not of each failure in between.
    """
    failing: set[str] = set()
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)
            return
        for name, step in steps.items():
            try:
                await step()
            except Exception as error:
                if name not in failing:
                    log.exception(
                        "a regular look fails; it is tried again", at=name, error=type(error).__name__
                    )
                failing.add(name)
            else:
                if name in failing:
                    log.info("a regular look works again", at=name)
                failing.discard(name)
