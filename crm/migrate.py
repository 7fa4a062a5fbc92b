"""Bring a store's schema up to date. Alembic is imported here only, so that the portal need not hold it.

Each store's package has a ``migrations`` folder: an append-only list of steps for SQLite and PostgreSQL.
"""

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.util.exc import CommandError
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DatabaseError, OperationalError

from crm.engines import damaged, make_engine
from crm.errors import SetupError


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
    except DatabaseError as error:
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
    command.upgrade(config, "head")


def run_steps(context: EnvironmentContext, metadata: MetaData) -> None:
    """What a ``migrations/env.py`` does: run the steps inside the transaction that `migrate` opened."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    context.run_migrations()
