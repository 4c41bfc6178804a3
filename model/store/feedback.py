"""
What clients thought of their creatives, and what became of it.

Knows no rule about what feedback is worth: those who move a row from state to state do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import feedback

Verdict = Literal["accept", "edit", "reject"]
State = Literal["waiting", "used", "excluded"]


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One verdict of one client on one creative."""

    id: str
    """`fb_` and hex digits."""
    client: str
    creative_id: str
    verdict: Verdict
    edited: dict[str, Any] | None
    """The words as the client would have them; only with the verdict edit."""
    reason: str
    state: State
    why: str
    """Why it was excluded, or empty."""
    holdout: bool
    """Kept for measuring: training never sees it."""
    dataset_digest: str
    run_id: str
    served_version: str
    """This and the two above: where it was used; empty until then."""
    created_at: datetime
    updated_at: datetime


_COLUMNS = [feedback.c[name] for name in FeedbackRow.__slots__]
_IDS_A_STATEMENT = 500
"""Older SQLites take 999 parameters."""
_REPLACED = ("verdict", "edited", "reason", "why", "holdout", "updated_at")


def insert(connection: Connection, row: FeedbackRow) -> None:
    """Raises sqlalchemy's IntegrityError where one waits already (`replace` that) or the creative is not there."""
    connection.execute(sa.insert(feedback).values(**_values(row)))


def replace(connection: Connection, row: FeedbackRow) -> bool:
    """A later verdict takes the place of the waiting one with this id. False where that waits no longer."""
    values = {name: value for name, value in _values(row).items() if name in _REPLACED}
    same = feedback.c.id == row.id, feedback.c.client == row.client, feedback.c.state == "waiting"
    return connection.execute(sa.update(feedback).where(*same).values(**values)).rowcount == 1


def find(connection: Connection, client: str, feedback_id: str) -> FeedbackRow | None:
    """None where this client gave no such feedback."""
    query = sa.select(*_COLUMNS).where(feedback.c.client == client, feedback.c.id == feedback_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else FeedbackRow(*row)


def of_creative(connection: Connection, creative_id: str) -> list[FeedbackRow]:
    """Of every client, oldest first: for those who run the service, never for a route."""
    query = sa.select(*_COLUMNS).where(feedback.c.creative_id == creative_id).order_by(feedback.c.created_at)
    return [FeedbackRow(*row) for row in connection.execute(query)]


def learnable(connection: Connection) -> list[FeedbackRow]:
    """
    What a dataset is made of: all that waits and all that was used before, oldest first, without the hold-out.

    Of a client's verdicts on one creative the last one stands, whatever became of it: who accepted an ad and rejects
    it later does not teach it any more.
    """
    later = feedback.alias("later")
    overruled = sa.exists().where(
        later.c.client == feedback.c.client,
        later.c.creative_id == feedback.c.creative_id,
        later.c.created_at > feedback.c.created_at,
    )
    query = sa.select(*_COLUMNS).where(
        feedback.c.state.in_(("waiting", "used")), feedback.c.holdout.is_(False), ~overruled
    )
    query = query.order_by(feedback.c.created_at, feedback.c.id)
    return [FeedbackRow(*row) for row in connection.execute(query)]


def use(connection: Connection, rows: Sequence[FeedbackRow], dataset_digest: str, *, at: datetime) -> int:
    """Mark those that still wait as they were read as used in a dataset; returns how many did."""
    return _settle(connection, rows, {"state": "used", "dataset_digest": dataset_digest, "updated_at": at})


def exclude(connection: Connection, rows: Sequence[FeedbackRow], why: str, *, at: datetime) -> int:
    """Say why nothing is learnt from those that still wait as they were read; returns how many did."""
    return _settle(connection, rows, {"state": "excluded", "why": why, "updated_at": at})


def _settle(connection: Connection, rows: Sequence[FeedbackRow], values: dict[str, Any]) -> int:
    """A verdict that was replaced since it was read is another one: nobody has looked at it yet."""
    settled = 0
    for start in range(0, len(rows), _IDS_A_STATEMENT // 2):
        read = [(row.id, row.updated_at) for row in rows[start : start + _IDS_A_STATEMENT // 2]]
        as_read = sa.tuple_(feedback.c.id, feedback.c.updated_at).in_(read)
        statement = sa.update(feedback).where(feedback.c.state == "waiting", as_read)
        settled += connection.execute(statement.values(**values)).rowcount
    return settled


def serve(connection: Connection, feedback_ids: Sequence[str], run_id: str, version: str, *, at: datetime) -> int:
    """Note the run that learnt from them and the version that it became, where none is noted yet."""
    values = {"run_id": run_id, "served_version": version, "updated_at": at}
    noted = 0
    for start in range(0, len(feedback_ids), _IDS_A_STATEMENT):
        part = list(feedback_ids[start : start + _IDS_A_STATEMENT])
        these = feedback.c.id.in_(part), feedback.c.state == "used", feedback.c.served_version == ""
        noted += connection.execute(sa.update(feedback).where(*these).values(**values)).rowcount
    return noted


def count_since(connection: Connection, client: str, since: datetime) -> int:
    """How many the client has given from `since` on."""
    query = sa.select(sa.func.count()).select_from(feedback)
    query = query.where(feedback.c.client == client, feedback.c.created_at >= since)
    return connection.execute(query).scalar_one()


def _values(row: FeedbackRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FeedbackRow.__slots__}
