"""Empty SQLite stores of the newest schema: made once by the migrations, then copied."""

import asyncio
import functools
import tempfile
from pathlib import Path

from crm.migrate import migrate


@functools.cache
def _empty(package: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        asyncio.run(migrate(str(path), package))
        assert [each.name for each in path.parent.iterdir()] == [path.name], "no log beside it"
        return path.read_bytes()


async def migrated(path: str, package: str) -> None:
    """The store of *package* at *path*, which is made where there is none, else brought up to date."""
    if Path(path).exists():
        await migrate(path, package)
    else:
        Path(path).write_bytes(await asyncio.to_thread(_empty, package))
