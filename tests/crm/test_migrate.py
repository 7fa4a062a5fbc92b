import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

import captive.grants.tables
import crm.tables
from captive.grants.store import KeptGrant, select_grants
from crm.engines import make_engine, store_url
from crm.errors import SetupError
from crm.migrate import migrate
from crm.schema import Migration, is_current
from crm.store import Store, open_store


async def test_the_steps_end_at_the_tables(both_stores: Store) -> None:
    async with both_stores.read() as conn:
        differences = await conn.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c), crm.tables.metadata)
        )
    assert differences == []


async def test_the_access_store_too(tmp_path: Path) -> None:
    dsn = str(tmp_path / "access.db")
    await migrate(dsn, "captive")
    access = open_store(dsn)
    async with access.read() as conn:
        differences = await conn.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c), captive.grants.tables.metadata)
        )
    await access.close()
    assert differences == []


async def test_grants_of_the_first_schema_go_on(bare_dsns: str) -> None:
    expires = datetime(2026, 11, 20, tzinfo=UTC)
    engine = make_engine(bare_dsns)
    async with engine.begin() as conn:
        await conn.run_sync(_upgrade, "captive", "0001")
        await conn.execute(
            text("INSERT INTO \"grant\" (mac, expires) VALUES ('02:00:00:00:00:01', :expires)"),
            {"expires": expires},
        )
    await engine.dispose()
    await migrate(bare_dsns, "captive")
    access = open_store(bare_dsns)
    async with access.read() as conn:
        assert await select_grants(conn) == {"guest 02:00:00:00:00:01": KeptGrant(expires, 0, 0, 0, 0, 0)}
    await access.close()


def _upgrade(connection: Connection, package: str, step: str) -> None:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, step)


async def test_migrating_twice_keeps_what_is_there(both_dsns: str) -> None:
    opened = open_store(both_dsns)
    async with opened.begin() as conn:
        await conn.execute(crm.tables.venue.insert().values(code="V", names={"vi": "Đây"}, languages=["vi"]))
    await migrate(both_dsns, "crm")
    async with opened.read() as conn:
        assert (await conn.execute(crm.tables.venue.select())).one().names == {"vi": "Đây"}
    await opened.close()


async def test_announcements_from_before_networks_are_for_all_of_them(both_dsns: str) -> None:
    engine = make_engine(both_dsns)
    async with engine.begin() as conn:
        await conn.execute(text("INSERT INTO venue VALUES ('V', '{}', '[]', '#000000')"))
        await conn.execute(text("ALTER TABLE announcement DROP COLUMN networks"))
        await conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        columns = "id, venue, texts, starts, urgent, withdrawn"
        values = "1, 'V', '{}', '2026-11-20', false, false"
        await conn.execute(text(f"INSERT INTO announcement ({columns}) VALUES ({values})"))
    await engine.dispose()
    await migrate(both_dsns, "crm")
    opened = open_store(both_dsns)
    async with opened.read() as conn:
        assert (await conn.execute(crm.tables.announcement.select())).one().networks == []
    await opened.close()


async def test_a_store_from_the_future_is_refused_in_words(tmp_path: Path) -> None:
    dsn = str(tmp_path / "crm.db")
    await migrate(dsn, "crm")
    assert await is_current(dsn, "crm")
    engine = make_engine(dsn)
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()

    assert not await is_current(dsn, "crm")
    with pytest.raises(SetupError, match="newer than this program"):
        await migrate(dsn, "crm")


async def test_citizens_tables_have_no_order_of_arrival(store: Store) -> None:
    """A rowid would number the answers as they came in."""
    async with store.read() as conn:
        for name in (
            "response",
            "answer_fact",
            "daily_count",
            "daily_funnel",
            "monthly_hour",
            "announcement_count",
        ):
            sql = (
                await conn.execute(text("SELECT sql FROM sqlite_master WHERE name = :n"), {"n": name})
            ).scalar_one()
            assert "WITHOUT ROWID" in sql, name


def test_several_at_once_make_one_schema(bare_dsns: str) -> None:
    """As when the portal starts while somebody types ``wificrm migrate``."""

    def bring_up(_: int) -> str:
        job = msgspec.json.encode(Migration(bare_dsns, "crm"))
        command = [sys.executable, "-m", "crm.migrate"]
        return subprocess.run(command, input=job, stderr=subprocess.PIPE, check=False).stderr.decode()

    with ThreadPoolExecutor() as several:
        assert list(several.map(bring_up, range(3))) == [""] * 3


@pytest.mark.postgres
@pytest.mark.parametrize("usage", [True, False])
async def test_what_postgresql_says_against_it_is_told_without_the_password(
    postgres_dsn: str, *, usage: bool
) -> None:
    """Somebody without the right to make tables, as everybody since PostgreSQL 15."""
    low = store_url(postgres_dsn).set(username="low", password="geheim")
    engine = make_engine(postgres_dsn)
    async with engine.begin() as conn:
        for line in (
            "DROP TABLE alembic_version",
            "CREATE ROLE low LOGIN PASSWORD 'geheim'",
            *(["GRANT USAGE ON SCHEMA public TO low"] if usage else []),
        ):
            await conn.execute(text(line))
    try:
        with pytest.raises(SetupError, match=r"of low: .*may do there") as told:
            await migrate(low.set(drivername="postgresql").render_as_string(hide_password=False), "crm")
        assert "geheim" not in str(told.value)
    finally:
        async with engine.begin() as conn:
            await conn.execute(text("DROP OWNED BY low"))
            await conn.execute(text("DROP ROLE low"))
        await engine.dispose()


async def test_a_store_that_cannot_be_opened_is_not_taken_for_one_that_was_never_made(tmp_path: Path) -> None:
    """An upgrade goes on without a backup where there is nothing to back up: not where the disk is full."""
    dsn = str(tmp_path / "crm.db")
    await migrate(dsn, "crm")
    (tmp_path / "crm.db-wal").mkdir()
    with pytest.raises(SetupError, match="see its rights and the disk"):
        await is_current(dsn, "crm")
    (tmp_path / "crm.db").write_bytes(b"")
    (tmp_path / "crm.db-wal").rmdir()
    assert not await is_current(dsn, "crm")
