"""Training pairs that a model's owner sent in bulk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "pair_sets",
        *map(_text, ("id", "content_digest", "asked_by", "state", "why", "dataset_digest")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("accepted", "refused", "held_out", "learnt")),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_pair_sets"),
    )
    op.create_index("ix_pair_sets_state_created_at", "pair_sets", ["state", "created_at"])
    op.create_index("ix_pair_sets_created_at", "pair_sets", ["created_at"])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)
