"""Rollbacks that were asked for, and what became of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table; one rollback of a task is open at a time."""
    op.create_table(
        "rollbacks",
        *map(_text, ("id", "task", "asked_by", "reason", "state", "environment", "source", "target", "why")),
        *map(_text, ("attempt", "carrier")),
        _time("lease_until", nullable=True),
        _time("created_at"),
        _time("started_at", nullable=True),
        _time("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rollbacks"),
    )
    op.create_index("ix_rollbacks_task_created_at", "rollbacks", ["task", "created_at"])
    is_open = sa.text("state IN ('waiting', 'running')")
    op.create_index(
        "uq_rollbacks_open", "rollbacks", ["task"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
