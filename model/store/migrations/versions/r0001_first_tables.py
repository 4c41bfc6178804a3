"""The first tables. A revision says what it made then: it imports nothing from tables.py, which goes on changing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Everything the service remembers."""
    _make_clients()
    _make_creatives()
    _make_feedback()
    _make_batches()
    _make_snapshots()
    _make_idempotency()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=nullable)


def _make_clients() -> None:
    op.create_table(
        "clients",
        _text("name"),
        _text("secret_hash"),
        _text("scopes"),
        _json("limits"),
        _time("created_at"),
        _time("secret_at"),
        _time("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_clients"),
    )


def _make_creatives() -> None:
    op.create_table(
        "creatives",
        *map(_text, ("client", "id", "sku", "channel")),
        sa.Column("validity", sa.Float(), nullable=False),
        *map(_text, ("bundle_digest", "product_digest")),
        *map(_json, ("document", "product")),
        _text("batch_id", nullable=True),
        _time("created_at"),
        sa.PrimaryKeyConstraint("client", "id", name="pk_creatives"),
    )
    op.create_index("ix_creatives_id", "creatives", ["id"])


def _make_feedback() -> None:
    op.create_table(
        "feedback",
        *map(_text, ("id", "client", "creative_id", "verdict")),
        _json("edited", nullable=True),
        *map(_text, ("reason", "state", "why")),
        sa.Column("holdout", sa.Boolean(), nullable=False),
        *map(_text, ("dataset_digest", "run_id", "served_version")),
        *map(_time, ("created_at", "updated_at")),
        sa.ForeignKeyConstraint(
            ["client", "creative_id"], ["creatives.client", "creatives.id"], name="fk_feedback_creatives"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_client_created_at", "feedback", ["client", "created_at"])
    op.create_index("ix_feedback_creative_id", "feedback", ["creative_id"])
    op.create_index("ix_feedback_state_created_at", "feedback", ["state", "created_at"])
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "uq_feedback_waiting",
        "feedback",
        ["client", "creative_id"],
        unique=True,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def _make_batches() -> None:
    op.create_table(
        "batches",
        *map(_text, ("id", "client", "state")),
        _json("settings"),
        *map(_count, ("products", "written", "rejected")),
        _text("source"),
        *map(_time, ("created_at", "updated_at")),
        _text("lease_owner", nullable=True),
        _time("lease_until", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
    )
    op.create_index("ix_batches_client_created_at", "batches", ["client", "created_at"])
    op.create_index("ix_batches_state_created_at", "batches", ["state", "created_at"])
    op.create_table(
        "batch_items",
        _text("batch_id"),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        _json("product"),
        _text("state"),
        _json("creatives"),
        _text("error"),
        _time("updated_at"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_batch_items_batches", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "place", name="pk_batch_items"),
    )
    op.create_index("ix_batch_items_batch_id_state_place", "batch_items", ["batch_id", "state", "place"])


def _make_snapshots() -> None:
    op.create_table(
        "snapshots",
        *map(_text, ("digest", "client")),
        *map(_count, ("rows", "rejected")),
        _text("object_key"),
        _time("created_at"),
        sa.PrimaryKeyConstraint("digest", "client", name="pk_snapshots"),
    )
    op.create_index("ix_snapshots_created_at", "snapshots", ["created_at"])


def _make_idempotency() -> None:
    op.create_table(
        "idempotency",
        *map(_text, ("client", "key", "operation", "body_digest", "state")),
        _count("status"),
        _text("answer"),
        _time("created_at"),
        sa.PrimaryKeyConstraint("client", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])
