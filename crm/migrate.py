"""Bring a store's schema up to date. Alembic is imported here only, so that the portal need not hold it.

``python -m crm.migrate`` does it in a process of its own, told by `crm.schema.Migration` on standard input: the
store's address may hold a password, which the list of processes is no place for.

Each store's package has a ``migrations`` folder: an append-only list of steps for SQLite and PostgreSQL.
"""

import asyncio
import sys

import msgspec
from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.util.exc import CommandError
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DBAPIError, OperationalError

from crm.engines import damaged, make_engine
from crm.errors import SetupError
from crm.schema import Migration

ONE_AT_A_TIME = 0x77637266
"""The lock under which PostgreSQL lets one process after the other change a database's schema."""


async def migrate(dsn: str, package: str) -> None:
    """Bring the store at *dsn* to the newest schema of *package* (``crm`` or ``captive``).

    Raises `SetupError` when the store cannot be opened or is newer than this program.
    """
    engine = make_engine(dsn)
    try:
        async with engine.begin() as conn:
            await conn.run_sync(_upgrade, package)
    except OperationalError as error:
        raise SetupError(
            f"the {package} store cannot be opened: {error.orig}; check its path and rights"
        ) from None
    except DBAPIError as error:
        raise damaged(dsn, error) from None
    except OSError as error:
        raise SetupError(
            f"the {package} store cannot be reached: {error}; is the database server running?"
        ) from None
    except CommandError as error:
        raise SetupError(
            f"the {package} store is newer than this program ({error}); install the newer one"
        ) from None
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, package: str) -> None:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":  # SQLite's transaction has locked all of it already
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")
    command.upgrade(config, "head")


def run_steps(context: EnvironmentContext, metadata: MetaData) -> None:
    """What a ``migrations/env.py`` does: run the steps inside the transaction that `migrate` opened."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    context.run_migrations()


def main() -> int:
    """Do the job on standard input; on failure say why on standard error and return 1."""
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Migration)
        asyncio.run(migrate(job.dsn, job.package))
    except (SetupError, msgspec.DecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
