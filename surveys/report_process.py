"""A process of its own for report files: ``python -m surveys.report_process`` with a job on standard input.

The writers take memory that the portal does not have, and their work must not hold up guests.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from crm.errors import SetupError, UserError
from crm.store import open_store
from crm.times import need_sound
from surveys.report_files import WRITERS
from surveys.report_job import Job
from surveys.results import build_report


async def write_report(
    dsn: str,
    venues: Sequence[str],
    first: date,
    last: date,
    format: str,  # noqa: A002 - what the command line and the job call it
    path: Path,
) -> None:
    """Write the report of *venues* from *first* to *last* to *path*, which is there whole or not at all.

    Raises `UserError` (no such centre, a period that is none, a clock that nobody has set) and
    `SetupError` (the file cannot be written).
    """
    now = datetime.now(UTC)
    need_sound(now)
    store = open_store(dsn)
    try:
        async with store.read() as conn:
            report = await build_report(conn, venues, first, last, now=now.astimezone())
    finally:
        await store.close()
    path = Path(path)
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror}; name another file") from None
    try:
        await asyncio.to_thread(WRITERS[format], report, Path(draft))
        Path(draft).chmod(0o640)
        Path(draft).replace(path)
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror}; name another file") from None
    finally:
        Path(draft).unlink(missing_ok=True)


def main() -> int:
    """Do the job on standard input; on failure say why on standard error and return 1."""
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
        asyncio.run(write_report(job.dsn, job.venues, job.first, job.last, job.format, Path(job.path)))
    except (UserError, SetupError, msgspec.DecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
