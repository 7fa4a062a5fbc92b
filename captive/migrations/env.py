"""Run by Alembic for each upgrade."""

from alembic import context

from crm.migrate import run_steps
from captive.tables import metadata

run_steps(context, metadata)  # type: ignore[arg-type]
