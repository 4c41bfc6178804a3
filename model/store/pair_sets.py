"""
Sets of training pairs that owners of the model sent, and what became of each.

Knows no rule about what a pair is worth, and no form: the pairs themselves are in the object store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.model_tables import pair_sets
from model.store.tables import insert_new

State = Literal["waiting", "used", "dismissed"]

_FOR_DATASETS = ("waiting", "used")


@dataclass(frozen=True, slots=True)
class PairSetRow:
    """One file of pairs, as it stands. The same file is the same set, whoever sends it."""

    id: str
    """`ps_` and hex digits of the file's digest."""
    content_digest: str
    """sha256 of the pairs in the object store, and their name there."""
    asked_by: str
    state: State
    why: str
    """Why it was dismissed, or why not all of it was learnt; empty where neither is so."""
    dataset_digest: str
    """Of the first dataset that held it; empty until then."""
    accepted: int
    refused: int
    held_out: int
    """Of those accepted, pairs of products that are kept for measuring."""
    learnt: int
    """Pairs in that first dataset."""
    faults: Sequence[Mapping[str, Any]]
    """`line` and `reason` of the first rows that were refused."""
    created_at: datetime
    used_at: datetime | None

    @property
    def object_key(self) -> str:
        """Of its pairs, one a line."""
        return f"pairs/{self.content_digest}.jsonl"


_COLUMNS = [pair_sets.c[name] for name in PairSetRow.__slots__]


def insert(connection: Connection, row: PairSetRow) -> bool:
    """False where the set is there already; the first row stands."""
    values = {name: getattr(row, name) for name in PairSetRow.__slots__}
    values["faults"] = [dict(fault) for fault in row.faults]
    return connection.execute(insert_new(connection, pair_sets).values(**values)).rowcount == 1


def find(connection: Connection, set_id: str) -> PairSetRow | None:
    """None where there is no such set."""
    row = connection.execute(sa.select(*_COLUMNS).where(pair_sets.c.id == set_id)).one_or_none()
    return None if row is None else PairSetRow(*row)


def newest(connection: Connection, limit: int) -> list[PairSetRow]:
    """The last ones sent, newest first."""
    query = sa.select(*_COLUMNS).order_by(pair_sets.c.created_at.desc(), pair_sets.c.id).limit(limit)
    return [PairSetRow(*row) for row in connection.execute(query)]


def waiting(connection: Connection) -> list[PairSetRow]:
    """Those that no dataset has held yet, oldest first."""
    return _in_states(connection, ("waiting",))


def learnable(connection: Connection) -> list[PairSetRow]:
    """What a dataset is made of: all that wait and all that were used before, oldest first."""
    return _in_states(connection, _FOR_DATASETS)


def use(connection: Connection, set_id: str, dataset_digest: str, *, learnt: int, why: str, at: datetime) -> bool:
    """
    Name the first dataset that holds it: what waits is used from now on, what was dismissed meanwhile stays dismissed.

    False where a dataset is named already: what was noted first stands.
    """
    waits = pair_sets.c.state == "waiting"
    values = {
        "state": sa.case((waits, "used"), else_=pair_sets.c.state),
        "why": sa.case((waits, why), else_=pair_sets.c.why),
        "dataset_digest": dataset_digest,
        "learnt": learnt,
        "used_at": at,
    }
    this = pair_sets.c.id == set_id, pair_sets.c.dataset_digest == ""
    return connection.execute(sa.update(pair_sets).where(*this).values(**values)).rowcount == 1


def dismiss(connection: Connection, set_id: str, why: str, *, also_used: bool = False) -> bool:
    """Have no later dataset hold it. False where it is dismissed already, or was used and `also_used` is not said."""
    states = _FOR_DATASETS if also_used else ("waiting",)
    this = pair_sets.c.id == set_id, pair_sets.c.state.in_(states)
    return connection.execute(sa.update(pair_sets).where(*this).values(state="dismissed", why=why)).rowcount == 1


def revive(connection: Connection, set_id: str) -> bool:
    """Take a dismissed one in again: used where a dataset has held it, waiting where none has. False otherwise."""
    was_used = sa.case((pair_sets.c.dataset_digest == "", "waiting"), else_="used")
    this = pair_sets.c.id == set_id, pair_sets.c.state == "dismissed"
    return connection.execute(sa.update(pair_sets).where(*this).values(state=was_used, why="")).rowcount == 1


def renew(connection: Connection, row: PairSetRow) -> None:
    """Keep what its file was found to hold when it was judged again: the pairs, their counts and the faults."""
    values = {name: getattr(row, name) for name in ("content_digest", "accepted", "refused", "held_out")}
    values["faults"] = [dict(fault) for fault in row.faults]
    connection.execute(sa.update(pair_sets).where(pair_sets.c.id == row.id).values(**values))


def _in_states(connection: Connection, states: Sequence[str]) -> list[PairSetRow]:
    query = sa.select(*_COLUMNS).where(pair_sets.c.state.in_(states))
    return [PairSetRow(*row) for row in connection.execute(query.order_by(pair_sets.c.created_at, pair_sets.c.id))]
