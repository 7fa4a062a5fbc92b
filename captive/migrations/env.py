"""Run by Alembic for each upgrade."""

from alembic import context

from captive.grants.tables import metadata
from crm.migrate import run_steps

run_steps(context, metadata)  # type: ignore[arg-type]
