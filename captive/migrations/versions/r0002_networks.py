"""Several networks, counts, daily allowances, what the technician wants done."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COUNTS = ("up", "down", "seen_up", "seen_down")


def upgrade() -> None:
    """Put the network before each MAC: until now there was one, which is called guest unless renamed."""
    before = sa.table("grant", sa.column("mac", sa.String), sa.column("expires", sa.DateTime(timezone=True)))
    kept = op.get_bind().execute(sa.select(before)).all()
    op.drop_table("grant")
    grant = op.create_table(
        "grant",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0") for name in _COUNTS),
        sa.Column("extensions", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_grant")),
        sqlite_with_rowid=False,
    )
    op.bulk_insert(grant, [{"device": f"guest {row.mac}", "expires": row.expires} for row in kept])
    op.create_table(
        "usage",
        sa.Column("device", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_usage")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "wish",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("verb", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_wish")),
        sqlite_with_rowid=False,
    )
