"""
Retrains: who or what asked for one, what became of it, and whether it helped.

Knows no rule about when one is worth it. One retrain of a task is open at a time: the database sees to that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store import one_open
from model.store.one_open import OPEN
from model.store.tables import StoreError, retrains

Trigger = Literal["drift", "feedback", "manual", "schedule"]
State = Literal["waiting", "running", "promoted", "refused", "failed", "dismissed"]
Ended = Literal["promoted", "refused", "failed", "dismissed"]
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
OUTCOMES: tuple[Ended, ...] = get_args(Ended)

_JUDGED_MAX = 1000
"""More retrains than a task sees in its life."""


@dataclass(frozen=True, slots=True)
class NewRetrain:
    """What is asked for."""

    task: str
    trigger: Trigger
    cause: Mapping[str, Any]
    """What the decision rested on, fit for JSON; shown to people."""
    asked_by: str
    """A client's name, or what the asking part is called."""
    created_at: datetime

    @property
    def id(self) -> str:
        """The same for the same request."""
        content = [self.task, self.trigger, dict(self.cause), self.asked_by, self.created_at.isoformat()]
        return "rt_" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class RetrainRow:
    """One retrain as it stands."""

    id: str
    """`rt_` and hex digits."""
    task: str
    trigger: Trigger
    cause: dict[str, Any]
    asked_by: str
    state: State
    why: str
    """Why it ended as it did; empty until then."""
    dataset_digest: str
    run_id: str
    bundle_digest: str
    version: str
    """This and the three above: what it made; empty where it made none."""
    before: dict[str, Any] | None
    """What was measured of the service before it."""
    after: dict[str, Any] | None
    """The same, one window after it was promoted."""
    helped: bool | None
    """None until somebody has looked."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Waiting or running."""
        return self.state in OPEN


class RetrainOpenError(StoreError):
    """A retrain of the task is waiting or running already."""

    def __init__(self, row: RetrainRow) -> None:
        super().__init__(f"the retrain {row.id} of {row.task} is {row.state} already: wait until it has ended")
        self.row = row


_COLUMNS = [retrains.c[name] for name in RetrainRow.__slots__]


def ask(connection: Connection, new: NewRetrain) -> RetrainRow:
    """The row, waiting; the same request again finds its own. Raises RetrainOpenError where another one is open."""
    values = {name: getattr(new, name) for name in NewRetrain.__slots__} | {"id": new.id, "cause": dict(new.cause)}
    values |= dict.fromkeys(("why", "dataset_digest", "run_id", "bundle_digest", "version"), "")
    row, is_its_own = one_open.ask(connection, retrains, values, find, find_open)
    if not is_its_own:
        raise RetrainOpenError(row)
    return row


def find(connection: Connection, retrain_id: str) -> RetrainRow | None:
    """None where there is no such retrain."""
    return _one(connection, sa.select(*_COLUMNS).where(retrains.c.id == retrain_id))


def newest(connection: Connection, task: str, limit: int) -> list[RetrainRow]:
    """The last ones asked for, newest first."""
    query = sa.select(*_COLUMNS).where(retrains.c.task == task)
    query = query.order_by(retrains.c.created_at.desc(), retrains.c.id.desc()).limit(limit)
    return [RetrainRow(*row) for row in connection.execute(query)]


def find_open(connection: Connection, task: str) -> RetrainRow | None:
    """The one that waits or runs."""
    return _one(connection, sa.select(*_COLUMNS).where(retrains.c.task == task, retrains.c.state.in_(OPEN)))


def start(connection: Connection, retrain_id: str, at: datetime, *, run_id: str = "") -> bool:
    """False where it waits no longer. `run_id` names who runs it, until the training run's own takes its place."""
    same = retrains.c.id == retrain_id, retrains.c.state == "waiting"
    statement = sa.update(retrains).where(*same).values(state="running", started_at=at, run_id=run_id)
    return connection.execute(statement).rowcount == 1


def finish(
    connection: Connection,
    retrain_id: str,
    state: Ended,
    *,
    at: datetime,
    why: str = "",
    dataset_digest: str = "",
    run_id: str = "",
    bundle_digest: str = "",
    version: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> bool:
    """How it ended; what is not given leaves its column as it is. False where it had ended before: that stands."""
    facts = {"dataset_digest": dataset_digest, "run_id": run_id, "bundle_digest": bundle_digest, "version": version}
    values: dict[str, Any] = {"state": state, "why": why, "ended_at": at}
    values |= {name: value for name, value in facts.items() if value}
    values |= {name: dict(value) for name, value in (("before", before), ("after", after)) if value is not None}
    same = retrains.c.id == retrain_id, retrains.c.state.in_(OPEN)
    return connection.execute(sa.update(retrains).where(*same).values(**values)).rowcount == 1


def judge_help(connection: Connection, retrain_id: str, helped: bool, after: Mapping[str, Any]) -> bool:  # noqa: FBT001
    """Whether it helped, by what was measured after it. False where it was judged before, or never promoted."""
    same = retrains.c.id == retrain_id, retrains.c.state == "promoted", retrains.c.helped.is_(None)
    statement = sa.update(retrains).where(*same).values(helped=helped, after=dict(after))
    return connection.execute(statement).rowcount == 1


def since(connection: Connection, task: str, at: datetime) -> list[RetrainRow]:
    """Every one asked for from `at` on, oldest first."""
    query = sa.select(*_COLUMNS).where(retrains.c.task == task, retrains.c.created_at >= at)
    return [RetrainRow(*row) for row in connection.execute(query.order_by(retrains.c.created_at, retrains.c.id))]


def last_ended(connection: Connection, task: str, *states: Ended, limit: int = 1) -> list[RetrainRow]:
    """Those that ended last in one of `states` (any where none is given), newest first."""
    query = sa.select(*_COLUMNS).where(retrains.c.task == task, retrains.c.state.in_(states or OUTCOMES))
    query = query.order_by(retrains.c.ended_at.desc(), retrains.c.id.desc()).limit(limit)
    return [RetrainRow(*row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[tuple[Trigger, Ended], int]:
    """How many have ended, of every task, by trigger and outcome; pairs that never came are left out."""
    query = sa.select(retrains.c.trigger, retrains.c.state, sa.func.count()).where(retrains.c.state.in_(OUTCOMES))
    rows = connection.execute(query.group_by(retrains.c.trigger, retrains.c.state))
    return {(trigger, state): count for trigger, state, count in rows}


def useless_streak(connection: Connection, task: str | None = None) -> int:
    """
    How many of the latest promoted retrains in a row did not help; those not judged yet are passed over.

    Without a task: of the one that has most.
    """
    query = sa.select(retrains.c.task, retrains.c.helped).where(
        retrains.c.state == "promoted", retrains.c.helped.is_not(None)
    )
    if task is not None:
        query = query.where(retrains.c.task == task)
    streaks: dict[str, int] = {}
    closed: set[str] = set()
    for row in connection.execute(query.order_by(retrains.c.ended_at.desc(), retrains.c.id.desc()).limit(_JUDGED_MAX)):
        closed |= {row.task} if row.helped else set()
        streaks[row.task] = streaks.get(row.task, 0) + (row.task not in closed)
    return max(streaks.values(), default=0)


def _one(connection: Connection, query: sa.Select[Any]) -> RetrainRow | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else RetrainRow(*row)
