"""What registry and promotion ledger say, for a service that asks neither."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three tables."""
    op.create_table(
        "model_versions",
        _text("task"),
        _number("number"),
        _json("aliases"),
        _time("created_at"),
        *map(_text, ("bundle_digest", "dataset_digest", "git_commit", "run_id", "certificate")),
        _json("scores"),
        sa.Column("gate", sa.JSON(), nullable=True),
        _text("card"),
        _json("samples"),
        sa.PrimaryKeyConstraint("task", "number", name="pk_model_versions"),
    )
    op.create_table(
        "promotions",
        _text("task"),
        _number("line"),
        _time("time"),
        *map(_text, ("who", "action", "state", "source", "target", "why", "note")),
        sa.PrimaryKeyConstraint("task", "line", name="pk_promotions"),
    )
    op.create_table(
        "model_pictures",
        _text("task"),
        _number("edition"),
        _time("published_at"),
        sa.PrimaryKeyConstraint("task", name="pk_model_pictures"),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)
