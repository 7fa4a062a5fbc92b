"""Every table of the crm store on one page.

What no table here may hold is a device, an address, a session, or a time finer than the daypart: see
"Two stores that cannot be joined" in ARCHITECTURE.md. Tables that citizens fill are ``WITHOUT ROWID`` on
SQLite, so their order is that of a random id and not that of arrival.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Document = JSON().with_variant(JSONB(), "postgresql")

venue = Table(
    "venue",
    metadata,
    Column("code", String(32), primary_key=True),
    Column("names", Document, nullable=False),  # {language: name}
    Column("languages", Document, nullable=False),  # [language, ...], the first is the default
    Column("accent", String(7), nullable=False, default="#0b5cad"),
)

questionnaire_version = Table(
    "questionnaire_version",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("venue", ForeignKey("venue.code"), nullable=False),
    Column("questionnaire", String(32), nullable=False),  # its key, e.g. "nhanh"
    Column("number", Integer, nullable=False),  # 1, 2, ... within venue and questionnaire
    Column("structure_hash", String(64), nullable=False),  # SHA-256: equal means answers compare
    Column("content_hash", String(64), nullable=False),  # SHA-256 of the whole document
    Column("document", Document, nullable=False),
    Column("published", Date, nullable=False),
    UniqueConstraint("venue", "questionnaire", "number"),
)

response = Table(
    "response",
    metadata,
    Column("id", Uuid, primary_key=True),  # random (version 4): the table's order tells nothing
    Column("venue", ForeignKey("venue.code"), nullable=False),
    Column("version_id", ForeignKey("questionnaire_version.id"), nullable=False),
    Column("unit", String(32), nullable=False, default=""),
    Column("day", Date, nullable=False),  # local day at the venue
    Column("daypart", SmallInteger, nullable=False),  # 0 until 12:00, 1 until 17:00, 2 after
    Column("channel", String(16), nullable=False),  # "wifi"; "demo" marks synthetic answers
    Column("language", String(8), nullable=False),
    Column("complete", Boolean, nullable=False, default=False),
    Column("answers", Document, nullable=False),  # {question key: option key or masked text}: the truth
    sqlite_with_rowid=False,
)

answer_fact = Table(
    "answer_fact",
    metadata,
    Column("response_id", ForeignKey("response.id"), primary_key=True),
    Column("question", String(32), primary_key=True),
    Column("venue", ForeignKey("venue.code"), nullable=False),
    Column("value", String(32), nullable=False),  # option key of a closed question
    sqlite_with_rowid=False,
)

daily_count = Table(
    "daily_count",
    metadata,
    Column("venue", ForeignKey("venue.code"), primary_key=True),
    Column("questionnaire", String(32), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("daypart", SmallInteger, primary_key=True),
    Column("unit", String(32), primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("language", String(8), primary_key=True),
    Column("question", String(32), primary_key=True),
    Column("value", String(32), primary_key=True),
    Column("n", Integer, nullable=False),
    sqlite_with_rowid=False,
)

daily_funnel = Table(
    "daily_funnel",
    metadata,
    Column("venue", ForeignKey("venue.code"), primary_key=True),
    Column("questionnaire", String(32), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("daypart", SmallInteger, primary_key=True),
    Column("unit", String(32), primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("language", String(8), primary_key=True),
    Column("step", String(16), primary_key=True),  # shown, started, completed, skipped
    Column("n", Integer, nullable=False),
    CheckConstraint("step IN ('shown', 'started', 'completed', 'skipped')", name="step"),
    sqlite_with_rowid=False,
)

monthly_hour = Table(
    "monthly_hour",
    metadata,
    Column("venue", ForeignKey("venue.code"), primary_key=True),
    Column("month", Date, primary_key=True),  # its first day
    Column("hour", SmallInteger, primary_key=True),  # 0..23, local; of the first answer
    Column("channel", String(16), primary_key=True),
    Column("n", Integer, nullable=False),
    sqlite_with_rowid=False,
)

announcement = Table(
    "announcement",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("venue", ForeignKey("venue.code"), nullable=False),
    Column("texts", Document, nullable=False),  # {language: {"title": ..., "body": Markdown}}
    Column("starts", Date, nullable=False),  # first local day shown
    Column("ends", Date),  # last local day shown; NULL: until withdrawn
    Column("urgent", Boolean, nullable=False, default=False),
    Column("withdrawn", Boolean, nullable=False, default=False),
    Column("networks", Document, nullable=False, server_default=text("'[]'")),  # [name, ...]; []: on all
)

announcement_count = Table(
    "announcement_count",
    metadata,
    Column("announcement_id", ForeignKey("announcement.id"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("language", String(8), primary_key=True),
    Column("event", String(8), primary_key=True),  # shown, opened
    Column("venue", ForeignKey("venue.code"), nullable=False),
    Column("n", Integer, nullable=False),
    CheckConstraint("event IN ('shown', 'opened')", name="event"),
    sqlite_with_rowid=False,
)

staff = Table(
    "staff",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),  # argon2id
    Column("role", String(16), nullable=False),  # manager: may change; official: may read
    Column("venue", ForeignKey("venue.code")),  # NULL: every venue
    CheckConstraint("role IN ('manager', 'official')", name="role"),
)

staff_session = Table(
    "staff_session",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256 of the cookie
    Column("staff_id", ForeignKey("staff.id", ondelete="CASCADE"), nullable=False),
    Column("expires", DateTime(timezone=True), nullable=False),  # UTC
    Column("form_key", String(64), nullable=False),  # what every form of this session carries (CSRF)
)
