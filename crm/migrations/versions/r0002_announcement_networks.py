"""An announcement may be for some networks only."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Give announcements their networks; those there are stay on all of them."""
    document = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column(
        "announcement", sa.Column("networks", document, nullable=False, server_default=sa.text("'[]'"))
    )
