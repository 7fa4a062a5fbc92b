"""Every table of the access store: who is online, and who was asked today. Only `captive` opens it.

Nothing here says whether a device answered or skipped, and rows go when they have served: a grant with
its end, *asked* with its day, and then the secret that could have recognised the device again.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

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

usage = Table(
    "usage",
    metadata,
    Column(
        "device", LargeBinary(32), primary_key=True
    ),  # as in *asked*; only where there is a daily allowance
    Column("seconds", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

grant = Table(
    "grant",
    metadata,
    Column("device", String(64), primary_key=True),  # network, MAC, and the IPv4 address where it tells apart
    Column("expires", DateTime(timezone=True), nullable=False),  # UTC
    Column("up", BigInteger, nullable=False, server_default="0"),  # bytes taken since the grant
    Column("down", BigInteger, nullable=False, server_default="0"),
    Column("seen_up", BigInteger, nullable=False, server_default="0"),  # the kernel's own counts by then
    Column("seen_down", BigInteger, nullable=False, server_default="0"),
    Column("extensions", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

wish = Table(
    "wish",
    metadata,
    Column("device", String(64), primary_key=True),
    Column("verb", String(16), nullable=False),  # what the technician wants done with it: end, try
    sqlite_with_rowid=False,
)
