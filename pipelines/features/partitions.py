"""
History as Parquet: one immutable file a snapshot in the object store, and a copy of each where Feast reads.

Knows no Feast. A product that the snapshot before had and this one has not gets a row without a title: it is gone.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset

from model.feature_rows import FEATURES, GONE, feature_row
from model.product import Product, product_from_dict
from model.store.current_snapshots import SourcedSnapshot
from model.store.objects import ObjectStore
from model.store.snapshots import Snapshot
from pipelines.features.definitions import EVENT_TIME, JOIN_KEYS

PREFIX = "features/products/"
ROWS_AT_ONCE = 5_000
"""A few MB: the products of a catalogue are never all in memory."""
COLUMNS = (*JOIN_KEYS, *FEATURES)
_SCHEMA = pa.schema([*((name, pa.string()) for name in COLUMNS), (EVENT_TIME, pa.timestamp("us", tz="UTC"))])


class SnapshotError(ValueError):
    """A snapshot's object does not hold what its row promises."""


def partition_key(snapshot: Snapshot) -> str:
    """A file each for two clients with the same catalogue, and another for one that is its client's newest again."""
    client = hashlib.sha256(snapshot.client.encode()).hexdigest()[:16]
    return f"{PREFIX}{client}-{snapshot.created_at.astimezone(UTC):%Y%m%dT%H%M%S%f}-{snapshot.digest}.parquet"


def read_products(objects: ObjectStore, snapshot: Snapshot) -> Iterator[Product]:
    """Those of the snapshot, in its order. Raises SnapshotError or StoreError."""
    for number, line in enumerate(objects.open_lines(snapshot.object_key), start=1):
        try:
            yield product_from_dict(json.loads(line))
        except (ValueError, TypeError, AttributeError) as error:
            raise SnapshotError(
                f"line {number} of snapshot {snapshot.digest} is no product: upload it again"
            ) from error


def gone_skus(objects: ObjectStore, before: Iterable[Snapshot], skus: set[str]) -> list[str]:
    """What earlier snapshots had and `skus` has not, sorted."""
    return sorted({product.sku for each in before for product in read_products(objects, each)} - skus)


def put_partition(objects: ObjectStore, sourced: SourcedSnapshot) -> bool:
    """Make the snapshot's file; False where it is there. The same snapshot gives the same bytes."""
    key = partition_key(sourced.snapshot)
    if objects.list(key):
        return False
    buffer, snapshot = io.BytesIO(), sourced.snapshot
    skus: set[str] = set()
    with pq.ParquetWriter(buffer, _SCHEMA, compression="zstd") as writer:
        products = read_products(objects, snapshot)
        while chunk := list(islice(products, ROWS_AT_ONCE)):
            skus.update(product.sku for product in chunk)
            writer.write_table(table(snapshot, ((product.sku, feature_row(product)) for product in chunk)))
        before = [sourced.before] if sourced.before else []
        gone = gone_skus(objects, before, skus)
        if gone or not skus:
            writer.write_table(table(snapshot, ((sku, GONE) for sku in gone)))
    objects.put(key, buffer.getvalue())
    return True


def table(snapshot: Snapshot, rows: Iterable[tuple[str, Mapping[str, str]]]) -> pa.Table:
    """Rows by sku as Feast takes them, as of the snapshot's time."""
    found = [{"client": snapshot.client, "sku": sku, **row, EVENT_TIME: snapshot.created_at} for sku, row in rows]
    return pa.Table.from_pylist(found, _SCHEMA)


def partition_tables(objects: ObjectStore, snapshot: Snapshot) -> Iterator[pa.Table]:
    """The rows of a snapshot's file, some thousand at a time. Raises ObjectMissingError."""
    file = pq.ParquetFile(io.BytesIO(objects.get(partition_key(snapshot))))
    for batch in file.iter_batches(ROWS_AT_ONCE):
        yield pa.Table.from_batches([batch])


def first_seen(folder: Path, skus: Collection[str]) -> dict[tuple[str, str], datetime]:
    """When each product among `skus` came into the files of `folder` first, by client and sku."""
    keys = [*JOIN_KEYS, EVENT_TIME]
    wanted = dataset.field("sku").isin(list(skus))
    found = dataset.dataset(folder, _SCHEMA, format="parquet").to_table(columns=keys, filter=wanted)
    first = found.group_by(list(JOIN_KEYS)).aggregate([(EVENT_TIME, "min")])
    return {(row["client"], row["sku"]): row[f"{EVENT_TIME}_min"] for row in first.to_pylist()}


def copy_partitions(objects: ObjectStore, folder: Path) -> int:
    """Fetch the files that `folder` has not; they never change. Returns how many there are."""
    keys = objects.list(PREFIX)
    for key in keys:
        target = folder / key.removeprefix(PREFIX)
        if not target.exists():
            with tempfile.NamedTemporaryFile(prefix=".copy-", dir=folder, delete=False) as file:
                file.write(objects.get(key))
            Path(file.name).replace(target)
    return len(keys)
