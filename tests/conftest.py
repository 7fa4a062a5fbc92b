"""What tests share: real stores on both databases, and plain words where a part cannot run here."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import text

from crm.engines import make_engine
from crm.migrate import migrate
from crm.store import Store, open_store
from tests.free_ports import free_port
from tests.migrated import migrated

# A run tries the same examples as the one before and minds no busy machine; who looks for others asks for them:
# pytest --hypothesis-profile=search
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile(
    "search", settings.get_profile("steady"), derandomize=False, max_examples=5_000, print_blob=True
)
settings.load_profile("steady")

LONGEST = (
    "router_scripts/test_deb",
    "lab/test_expiry",
    "lab/test_privacy",
    "lab/test_kill",
    "soak/test_soak",
)
"""Files that take a minute or more, some of them with a single test: begun first, so that none is left at the end."""

POSTGRES_BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (``--no-loadscope-reorder``) the longest files come first, then those with the most tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        tests = Counter(item.path for item in items)
        longest = {Path(__file__).parent / f"{name}.py": rank for rank, name in enumerate(LONGEST)}
        items.sort(key=lambda item: (longest.get(item.path, len(longest)), -tests[item.path], item.path))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A private PostgreSQL for this run; yields the DSN of its ``postgres`` database."""
    if not POSTGRES_BIN or os.geteuid() != 0:
        pytest.skip("PostgreSQL is not installed, or this run may not start one (needs root)")
    # Not under pytest's own folder: any other run closes that to everybody but its user, also to the server.
    home = Path(tempfile.mkdtemp(prefix="wificrm-postgres-"))
    user = pwd.getpwnam("postgres")
    os.chown(home, user.pw_uid, user.pw_gid)
    port = free_port()
    binary = POSTGRES_BIN[-1]
    as_postgres: list[str | Path] = [
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
    ]
    data = home / "data"
    subprocess.run(
        [
            *as_postgres,
            binary / "initdb",
            "-D",
            data,
            "--auth=trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control: list[str | Path] = [*as_postgres, binary / "pg_ctl", "-D", data, "-w", "-l", home / "log"]
    subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgres_dsn(postgres_server: str) -> str:
    """An empty PostgreSQL database, migrated to the newest crm schema."""
    asyncio.run(_start_anew(postgres_server))
    asyncio.run(migrate(postgres_server, "crm"))
    return postgres_server


async def _start_anew(dsn: str) -> None:
    engine = make_engine(dsn)
    async with engine.begin() as conn:
        await conn.execute(text("DROP SCHEMA public CASCADE"))
        await conn.execute(text("CREATE SCHEMA public"))
    await engine.dispose()


@pytest.fixture
def sqlite_dsn(tmp_path: Path) -> str:
    """The path of an empty SQLite store, migrated to the newest crm schema."""
    dsn = str(tmp_path / "crm.db")
    asyncio.run(migrated(dsn, "crm"))
    return dsn


@pytest.fixture(params=["sqlite_dsn", pytest.param("postgres_dsn", marks=pytest.mark.postgres)])
def both_dsns(request: pytest.FixtureRequest) -> str:
    """An empty, migrated crm store's address: once SQLite, once PostgreSQL."""
    dsn: str = request.getfixturevalue(request.param)
    return dsn


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def bare_dsns(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without any schema: once SQLite, once PostgreSQL."""
    if request.param == "sqlite":
        return str(tmp_path / "bare.db")
    server: str = request.getfixturevalue("postgres_server")
    asyncio.run(_start_anew(server))
    return server


@pytest.fixture
async def store(sqlite_dsn: str) -> AsyncIterator[Store]:
    """An open, migrated crm store on SQLite."""
    opened = open_store(sqlite_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def both_stores(both_dsns: str) -> AsyncIterator[Store]:
    """An open, migrated crm store: once on SQLite, once on PostgreSQL."""
    opened = open_store(both_dsns)
    yield opened
    await opened.close()
