"""How runs of pipelines ended, for the exporter; and an index for a client's own figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table, and one index."""
    op.create_table(
        "pipeline_runs",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("dag", "run", "task", "state")),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dag", "run", "task", "state", name="pk_pipeline_runs"),
    )
    op.create_index("ix_creatives_client_created_at", "creatives", ["client", "created_at"])
