"""The SQL of venues."""

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.settings import Venue
from crm.tables import venue


async def save_venue(conn: AsyncConnection, settings: Venue) -> None:
    """Write the centre of the settings into the store, or bring its row up to date."""
    values = {
        "names": dict(settings.names),
        "languages": list(settings.languages),
        "accent": settings.accent,
    }
    done = await conn.execute(update(venue).where(venue.c.code == settings.code).values(**values))
    if not done.rowcount:
        await conn.execute(insert(venue).values(code=settings.code, **values))
