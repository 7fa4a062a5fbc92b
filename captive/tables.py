"""Every table of the access store: who is online, and who was asked today. Only `captive` opens it.

Nothing here says whether a device answered or skipped, and rows go when they have served: a grant with
its end, *asked* with its day, and then the secret that could have recognised the device again.
"""

from sqlalchemy import Column, Date, DateTime, LargeBinary, MetaData, String, Table

from crm.tables import metadata as crm_metadata

metadata = MetaData(naming_convention=crm_metadata.naming_convention)

day_secret = Table(
    "day_secret",
    metadata,
    Column("day", Date, primary_key=True),  # local day; one row, replaced at midnight
    Column("secret", LargeBinary(32), nullable=False),
)

asked = Table(
    "asked",
    metadata,
    Column("device", LargeBinary(32), primary_key=True),  # HMAC-SHA-256 of the MAC under the day's secret
    sqlite_with_rowid=False,
)

grant = Table(
    "grant",
    metadata,
    Column("mac", String(64), primary_key=True),
    Column("expires", DateTime(timezone=True), nullable=False),  # UTC
    sqlite_with_rowid=False,
)
