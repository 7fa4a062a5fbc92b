"""Which schema a store has, told without loading Alembic."""

from importlib import import_module
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

from crm.engines import damaged, make_engine, store_url
from crm.errors import SetupError


async def is_current(dsn: str, package: str) -> bool:
    """Whether the store at *dsn* is there and has the newest schema of *package* (``crm``, ``captive``).

    Raises `SetupError` when a database server cannot be reached.
    """
    url = store_url(dsn)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return False
    engine = make_engine(dsn, readonly=True)
    try:
        async with engine.connect() as conn:
            version = (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    except (OperationalError, ProgrammingError):  # no such table
        return False
    except DatabaseError as error:
        raise damaged(dsn, error) from None
    except OSError as error:
        raise SetupError(f"the {package} store cannot be reached: {error}; is the server running?") from None
    finally:
        await engine.dispose()
    return bool(version == import_module(f"{package}.migrations").HEAD)
