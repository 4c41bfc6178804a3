"""
The tables of models: their versions, the ledger's lines, when these were last copied from the registry, and the sets
of training pairs that owners sent.

They are on the same list as those of `tables`, which imports this module so that nobody has one without the other.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Table

from model.store import column_types
from model.store.column_types import JSON, UtcTime

metadata = column_types.metadata

model_versions = Table(
    "model_versions",
    metadata,
    Column("task", sa.Text, primary_key=True),
    Column("number", sa.Integer, primary_key=True, autoincrement=False),
    Column("aliases", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("bundle_digest", sa.Text, nullable=False),
    Column("dataset_digest", sa.Text, nullable=False),
    Column("git_commit", sa.Text, nullable=False),
    Column("run_id", sa.Text, nullable=False),
    Column("certificate", sa.Text, nullable=False),
    Column("scores", JSON, nullable=False),
    Column("gate", JSON),
    Column("card", sa.Text, nullable=False),
    Column("samples", JSON, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("task", sa.Text, primary_key=True),
    Column("line", sa.Integer, primary_key=True, autoincrement=False),
    Column("time", UtcTime, nullable=False),
    Column("who", sa.Text, nullable=False),
    Column("action", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("source", sa.Text, nullable=False),
    Column("target", sa.Text, nullable=False),
    Column("why", sa.Text, nullable=False),
    Column("note", sa.Text, nullable=False),
)

# One row a task. `edition` grows with every picture, so that an older one never takes the place of a newer one.
model_pictures = Table(
    "model_pictures",
    metadata,
    Column("task", sa.Text, primary_key=True),
    Column("edition", sa.Integer, nullable=False),
    Column("published_at", UtcTime, nullable=False),
)

pair_sets = Table(
    "pair_sets",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("content_digest", sa.Text, nullable=False),
    Column("asked_by", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("why", sa.Text, nullable=False),
    Column("dataset_digest", sa.Text, nullable=False),
    Column("accepted", sa.Integer, nullable=False),
    Column("refused", sa.Integer, nullable=False),
    Column("held_out", sa.Integer, nullable=False),
    Column("learnt", sa.Integer, nullable=False),
    Column("faults", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("used_at", UtcTime),
    sa.Index(None, "state", "created_at"),
    sa.Index(None, "created_at"),
)
