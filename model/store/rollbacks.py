"""
Rollbacks that somebody asked for: who and why, who carries one out at the moment, and what became of it.

Knows neither registry nor Git. One rollback of a task is open at a time, and one carrier at a time holds it: the
database sees to both.
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
from model.store.tables import StoreError, rollbacks

State = Literal["waiting", "running", "done", "refused", "failed", "withdrawn"]
Ended = Literal["done", "refused", "failed"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class NewRollback:
    """What is asked for."""

    task: str
    target: str
    """The version to go back to; empty for the champion before the present one."""
    reason: str
    asked_by: str
    """A client's name."""
    created_at: datetime

    @property
    def id(self) -> str:
        """The same for the same request."""
        content = [self.task, self.target, self.reason, self.asked_by, self.created_at.isoformat()]
        return "rb_" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class RollbackRow:
    """One rollback as it stands."""

    id: str
    """`rb_` and hex digits."""
    task: str
    asked_by: str
    reason: str
    state: State
    environment: str
    """Which one goes back; empty until somebody carries it out, and where only alias and ledger do."""
    source: str
    """The version that it goes back from; empty until that is known."""
    target: str
    """The version that was asked for, or that it turned out to be; empty where neither is so yet."""
    why: str
    """How far it is; once it has ended, why so."""
    attempt: str
    """Of the ledger's lines, where it went on with what somebody else had begun."""
    created_at: datetime
    started_at: datetime | None
    """When it was first taken up."""
    ended_at: datetime | None


class RollbackOpenError(StoreError):
    """A rollback of the task is waiting or running already."""

    def __init__(self, row: RollbackRow) -> None:
        super().__init__(f"the rollback {row.id} of {row.task} is {row.state} already: wait until it has ended")
        self.row = row


_COLUMNS = [rollbacks.c[name] for name in RollbackRow.__slots__]


def ask(connection: Connection, new: NewRollback) -> RollbackRow:
    """The row, waiting; the same request again finds its own. Raises RollbackOpenError where another one is open."""
    values: dict[str, Any] = {name: getattr(new, name) for name in NewRollback.__slots__} | {"id": new.id}
    values |= dict.fromkeys(("environment", "source", "why", "attempt", "carrier"), "")
    row, is_its_own = one_open.ask(connection, rollbacks, values, find, find_open)
    if not is_its_own:
        raise RollbackOpenError(row)
    return row


def find(connection: Connection, rollback_id: str) -> RollbackRow | None:
    """None where there is no such rollback."""
    return _one(connection, sa.select(*_COLUMNS).where(rollbacks.c.id == rollback_id))


def newest(connection: Connection, task: str, limit: int) -> list[RollbackRow]:
    """The last ones asked for, newest first."""
    query = sa.select(*_COLUMNS).where(rollbacks.c.task == task)
    query = query.order_by(rollbacks.c.created_at.desc(), rollbacks.c.id.desc()).limit(limit)
    return [RollbackRow(*row) for row in connection.execute(query)]


def find_open(connection: Connection, task: str) -> RollbackRow | None:
    """The one that waits or runs."""
    return _one(connection, sa.select(*_COLUMNS).where(rollbacks.c.task == task, rollbacks.c.state.in_(OPEN)))


def withdraw(connection: Connection, rollback_id: str, at: datetime) -> bool:
    """False where it waits no longer."""
    same = rollbacks.c.id == rollback_id, rollbacks.c.state == "waiting"
    return _changed(connection, sa.update(rollbacks).where(*same).values(state="withdrawn", ended_at=at))


def claim(
    connection: Connection, task: str, carrier: str, *, now: datetime, until: datetime, environment: str
) -> RollbackRow | None:
    """
    The open rollback, this carrier's until `until`; None where none is open, or another carrier holds it.

    The clocks of two carriers may differ by less than a lease is long.
    """
    is_free = sa.or_(
        rollbacks.c.state == "waiting",
        sa.and_(
            rollbacks.c.state == "running", sa.or_(rollbacks.c.lease_until.is_(None), rollbacks.c.lease_until < now)
        ),
    )
    values: dict[str, Any] = {"state": "running", "carrier": carrier, "lease_until": until}
    values |= {"environment": environment, "started_at": sa.func.coalesce(rollbacks.c.started_at, _time(now))}
    # One statement: of two that see it free, the second finds it taken when it comes to write.
    if not _changed(connection, sa.update(rollbacks).where(rollbacks.c.task == task, is_free).values(**values)):
        return None
    return _one(connection, sa.select(*_COLUMNS).where(rollbacks.c.task == task, *_held(carrier)))


def renew(connection: Connection, rollback_id: str, carrier: str, until: datetime) -> bool:
    """False where this carrier holds it no longer."""
    return _update(connection, rollback_id, carrier, {"lease_until": until})


def note(connection: Connection, rollback_id: str, carrier: str, **facts: str) -> bool:
    """Set why, source, target or attempt; False where this carrier holds it no longer."""
    return _update(connection, rollback_id, carrier, facts)


def leave(connection: Connection, rollback_id: str, carrier: str, why: str) -> bool:
    """Let the next carrier go on with it at once. False where this one holds it no longer."""
    return _update(connection, rollback_id, carrier, {"why": why, "lease_until": None, "carrier": ""})


def finish(
    connection: Connection,
    rollback_id: str,
    carrier: str,
    state: Ended,
    *,
    at: datetime,
    why: str,
    source: str = "",
    target: str = "",
) -> bool:
    """How it ended; what is not given leaves its column as it is. False where this carrier holds it no longer."""
    facts = {name: value for name, value in (("source", source), ("target", target)) if value}
    ended: dict[str, Any] = {"state": state, "why": why, "ended_at": at, "lease_until": None, "carrier": ""}
    return _update(connection, rollback_id, carrier, ended | facts)


def _held(carrier: str) -> tuple[sa.ColumnElement[bool], ...]:
    return rollbacks.c.state == "running", rollbacks.c.carrier == carrier


def _update(connection: Connection, rollback_id: str, carrier: str, values: Mapping[str, Any]) -> bool:
    statement = sa.update(rollbacks).where(rollbacks.c.id == rollback_id, *_held(carrier))
    return _changed(connection, statement.values(**values))


def _changed(connection: Connection, statement: sa.Update) -> bool:
    return connection.execute(statement).rowcount == 1


def _time(moment: datetime) -> sa.ColumnElement[datetime]:
    """With its column's type: PostgreSQL compares no timestamp with a text."""
    return sa.literal(moment, rollbacks.c.started_at.type)


def _one(connection: Connection, query: sa.Select[Any]) -> RollbackRow | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else RollbackRow(*row)
