"""How runs of pipelines ended. Knows no scheduler: whoever ran them says so here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import insert_new, pipeline_runs

State = Literal["succeeded", "failed", "late"]
STATES: tuple[State, ...] = get_args(State)
SUCCESSES_KEPT = timedelta(days=90)
"""Failures stay: their number is a counter, which must not fall."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What there is to know of one pipeline."""

    dag: str
    succeeded_at: datetime | None
    """The latest success."""
    failed: int
    """Tasks that failed for good, and runs that failed as a whole, of all time."""
    late: int
    """Runs that were not done by their deadline, of all time."""


def record(connection: Connection, dag: str, run: str, task: str, state: State, at: datetime) -> bool:
    """
    False where it was said before; a run as a whole has no task.

    A success lets go of the same pipeline's successes of a quarter before: one of them runs every four minutes.
    """
    values = {"dag": dag, "run": run, "task": task, "state": state, "at": at}
    is_new = connection.execute(insert_new(connection, pipeline_runs).values(**values)).rowcount == 1
    if is_new and state == "succeeded":
        of_it = (pipeline_runs.c.dag == dag) & (pipeline_runs.c.state == "succeeded")
        connection.execute(sa.delete(pipeline_runs).where(of_it, pipeline_runs.c.at < at - SUCCESSES_KEPT))
    return is_new


def ended(connection: Connection) -> list[Ended]:
    """Every pipeline that ever ended, by name."""
    newest = sa.func.max(pipeline_runs.c.at, type_=pipeline_runs.c.at.type)
    query = sa.select(pipeline_runs.c.dag, pipeline_runs.c.state, sa.func.count(), newest)
    found: dict[str, dict[str, tuple[int, datetime]]] = {}
    for dag, state, count, at in connection.execute(query.group_by(pipeline_runs.c.dag, pipeline_runs.c.state)):
        found.setdefault(dag, {})[state] = (count, at)
    return [
        Ended(
            dag,
            states["succeeded"][1] if "succeeded" in states else None,
            states["failed"][0] if "failed" in states else 0,
            states["late"][0] if "late" in states else 0,
        )
        for dag, states in sorted(found.items())
    ]
