"""What pipelines remember: ingests and their cursors, drift reports, retrains; and how often a product was tried."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Four tables, and two columns of batches."""
    _make_ingests()
    _make_drift_reports()
    _make_retrains()
    op.add_column("batch_items", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("batches", _time("started_at", nullable=True))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _make_ingests() -> None:
    op.create_table(
        "ingests",
        *map(_text, ("id", "source", "client", "state", "digest")),
        *map(_count, ("rows", "accepted", "rejected", "merged")),
        *map(_text, ("why", "quality_key")),
        *map(_time, ("started_at", "ended_at")),
        sa.PrimaryKeyConstraint("id", name="pk_ingests"),
    )
    op.create_index("ix_ingests_source_ended_at", "ingests", ["source", "ended_at"])
    op.create_table(
        "source_cursors",
        _text("source"),
        _json("cursor"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("source", name="pk_source_cursors"),
    )


def _make_drift_reports() -> None:
    op.create_table(
        "drift_reports",
        *map(_text, ("id", "task", "mode")),
        _time("window_start"),
        _time("window_end"),
        _count("rows"),
        *map(_text, ("reference", "verdict", "why")),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("hurts", sa.Boolean(), nullable=False),
        _json("columns"),
        _text("report_key"),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_drift_reports"),
    )
    op.create_index("ix_drift_reports_task_mode_window_end", "drift_reports", ["task", "mode", "window_end"])


def _make_retrains() -> None:
    op.create_table(
        "retrains",
        *map(_text, ("id", "task", "trigger")),
        _json("cause"),
        *map(_text, ("asked_by", "state", "why", "dataset_digest", "run_id", "bundle_digest", "version")),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("helped", sa.Boolean(), nullable=True),
        _time("created_at"),
        _time("started_at", nullable=True),
        _time("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_retrains"),
    )
    op.create_index("ix_retrains_task_created_at", "retrains", ["task", "created_at"])
    is_open = sa.text("state IN ('waiting', 'running')")
    op.create_index(
        "uq_retrains_open", "retrains", ["task"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
