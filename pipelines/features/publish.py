"""
A snapshot into the feature store: its Parquet file, then the online store, and last the mark that it is there.

The mark lies in the online store itself, so that it is lost with what it speaks of. Ended anywhere and run again, it
gives the same state; an older snapshot never overwrites a newer one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from model.feature_rows import GONE, TEXT_VIEW
from model.store.current_snapshots import SourcedSnapshot
from model.store.objects import ObjectStore
from model.store.snapshots import Snapshot
from pipelines.features.definitions import EVENT_TIME, JOIN_KEYS, VIEWS
from pipelines.features.partitions import ROWS_AT_ONCE, gone_skus, partition_tables, put_partition, table
from pipelines.features.store import feature_errors

if TYPE_CHECKING:
    from feast import FeatureStore

MARK_CLIENT = ""
"""No client has this name, so no request reads a mark."""


@dataclass(frozen=True, slots=True)
class Published:
    """What was done for one snapshot."""

    outcome: Literal["published", "unchanged", "superseded"]
    """superseded: a newer one is online, and this one went into the history alone."""
    rows: int
    """Written online, rows of products that are gone included."""
    gone: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """Which snapshots of a source may have rows online: one, or several while a newer one is written."""

    digests: tuple[str, ...]
    at: datetime


def publish(
    store: FeatureStore,
    objects: ObjectStore,
    sourced: SourcedSnapshot,
    history: Sequence[SourcedSnapshot],
    *,
    again: bool = False,
) -> Published:
    """
    Publish one snapshot; `history` are those of its client. With `again` its rows are written though they are there.

    Raises StoreError or SnapshotError, and can then be repeated.
    """
    snapshot = sourced.snapshot
    made = put_partition(objects, sourced)
    with feature_errors():
        mark = _read_mark(store, sourced)
        if mark and mark.at > snapshot.created_at:
            return Published("superseded" if made else "unchanged", 0, 0)
        if mark and mark.digests == (snapshot.digest,) and not again:
            if mark.at < snapshot.created_at:  # the client's newest again
                _write_mark(store, sourced, mark.digests)
            return Published("unchanged", 0, 0)
        earlier = [each for each in (mark.digests if mark else ()) if each != snapshot.digest]
        _write_mark(store, sourced, (*earlier, snapshot.digest))
        rows, skus = 0, set[str]()
        for part in partition_tables(objects, snapshot):
            _write(store, part)
            rows += part.num_rows
            skus.update(part["sku"].to_pylist())
        # Those of the snapshot before are in the file; of others that were online, only the mark knows.
        missed = [each.snapshot for each in history if _is_missed(each, sourced, earlier)]
        gone = gone_skus(objects, missed, skus)
        _write_gone(store, snapshot, gone)
        _write_mark(store, sourced, (snapshot.digest,))
    return Published("published", rows + len(gone), rows + len(gone) - snapshot.rows)


def _is_missed(each: SourcedSnapshot, sourced: SourcedSnapshot, earlier: Sequence[str]) -> bool:
    return each.source == sourced.source and each.snapshot != sourced.before and each.snapshot.digest in earlier


def _write_gone(store: FeatureStore, snapshot: Snapshot, skus: Iterable[str]) -> None:
    rest = iter(skus)
    while chunk := list(islice(rest, ROWS_AT_ONCE)):
        _write(store, table(snapshot, ((sku, GONE) for sku in chunk)))


def _write(store: FeatureStore, part: pa.Table) -> None:
    for view, features in VIEWS.items():
        store.write_to_online_store(view, part.select([*JOIN_KEYS, *features, EVENT_TIME]).to_pandas())


def _mark_sku(sourced: SourcedSnapshot) -> str:
    return json.dumps([sourced.snapshot.client, sourced.source])


def _read_mark(store: FeatureStore, sourced: SourcedSnapshot) -> _Mark | None:
    found = store.get_online_features(
        features=[f"{TEXT_VIEW}:title", f"{TEXT_VIEW}:description"],
        entity_rows=[{"client": MARK_CLIENT, "sku": _mark_sku(sourced)}],
    ).to_dict()
    [digests], [at] = found["title"], found["description"]
    return _Mark(tuple(json.loads(digests)), datetime.fromisoformat(at)) if digests else None


def _write_mark(store: FeatureStore, sourced: SourcedSnapshot, digests: Sequence[str]) -> None:
    row = {
        "client": MARK_CLIENT,
        "sku": _mark_sku(sourced),
        "title": json.dumps(digests),
        "description": sourced.snapshot.created_at.astimezone(UTC).isoformat(),
        EVENT_TIME: sourced.snapshot.created_at,
    }
    store.write_to_online_store(TEXT_VIEW, pa.Table.from_pylist([row]).to_pandas())
