"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "asked",
        sa.Column("device", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_asked")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "day_secret",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("secret", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_day_secret")),
    )
    op.create_table(
        "grant",
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("mac", name=op.f("pk_grant")),
        sqlite_with_rowid=False,
    )
