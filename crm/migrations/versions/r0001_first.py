"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
Document = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "venue",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("names", Document, nullable=False),
        sa.Column("languages", Document, nullable=False),
        sa.Column("accent", sa.String(length=7), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_venue")),
    )
    op.create_table(
        "announcement",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("texts", Document, nullable=False),
        sa.Column("starts", sa.Date(), nullable=False),
        sa.Column("ends", sa.Date(), nullable=True),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_announcement_venue")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
    )
    op.create_table(
        "daily_count",
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("questionnaire", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("daypart", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("question", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=32), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_daily_count_venue")),
        sa.PrimaryKeyConstraint(
            "venue",
            "questionnaire",
            "day",
            "daypart",
            "unit",
            "channel",
            "language",
            "question",
            "value",
            name=op.f("pk_daily_count"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "daily_funnel",
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("questionnaire", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("daypart", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "step IN ('shown', 'started', 'completed', 'skipped')", name=op.f("ck_daily_funnel_step")
        ),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_daily_funnel_venue")),
        sa.PrimaryKeyConstraint(
            "venue",
            "questionnaire",
            "day",
            "daypart",
            "unit",
            "channel",
            "language",
            "step",
            name=op.f("pk_daily_funnel"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "monthly_hour",
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("hour", sa.SmallInteger(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_monthly_hour_venue")),
        sa.PrimaryKeyConstraint("venue", "month", "hour", "channel", name=op.f("pk_monthly_hour")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "questionnaire_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("questionnaire", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("structure_hash", sa.String(length=64), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("document", Document, nullable=False),
        sa.Column("published", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_questionnaire_version_venue")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_questionnaire_version")),
        sa.UniqueConstraint("venue", "questionnaire", "number", name=op.f("uq_questionnaire_version_venue")),
    )
    op.create_table(
        "staff",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("venue", sa.String(length=32), nullable=True),
        sa.CheckConstraint("role IN ('manager', 'official')", name=op.f("ck_staff_role")),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_staff_venue")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff")),
        sa.UniqueConstraint("name", name=op.f("uq_staff_name")),
    )
    op.create_table(
        "announcement_count",
        sa.Column("announcement_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("event", sa.String(length=8), nullable=False),
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.CheckConstraint("event IN ('shown', 'opened')", name=op.f("ck_announcement_count_event")),
        sa.ForeignKeyConstraint(
            ["announcement_id"], ["announcement.id"], name=op.f("fk_announcement_count_announcement_id")
        ),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_announcement_count_venue")),
        sa.PrimaryKeyConstraint(
            "announcement_id", "day", "language", "event", name=op.f("pk_announcement_count")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "response",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("daypart", sa.SmallInteger(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("answers", Document, nullable=False),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_response_venue")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["questionnaire_version.id"], name=op.f("fk_response_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_response")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "staff_session",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("staff_id", sa.Integer(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("form_key", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["staff_id"], ["staff.id"], name=op.f("fk_staff_session_staff_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_staff_session")),
    )
    op.create_table(
        "answer_fact",
        sa.Column("response_id", sa.Uuid(), nullable=False),
        sa.Column("question", sa.String(length=32), nullable=False),
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["response_id"], ["response.id"], name=op.f("fk_answer_fact_response_id")),
        sa.ForeignKeyConstraint(["venue"], ["venue.code"], name=op.f("fk_answer_fact_venue")),
        sa.PrimaryKeyConstraint("response_id", "question", name=op.f("pk_answer_fact")),
        sqlite_with_rowid=False,
    )
