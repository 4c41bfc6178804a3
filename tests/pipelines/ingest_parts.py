"""Stores, sources and files for tests of ingest."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from model.store import ingests, snapshots
from model.store.objects import ObjectStore
from model.store.tables import Database, source_cursors
from model.store.tables import ingests as ingest_rows
from model.store.tables import snapshots as snapshot_rows
from pipelines.ingest.run import Options, Stores
from pipelines.ingest.sources import Source

IN_TURN = Options(workers=1)


def stores_at(folder: Path, work: str = "work") -> Stores:
    database = Database(f"sqlite:///{folder}/adloom.db")
    database.upgrade()
    return Stores(database, ObjectStore(str(folder / "objects")), folder / work, {}, wait_seconds_max=30)


def file_source(path: Path, **keys: object) -> Source:
    return Source("shop", "client", "file", str(path), **keys)  # type: ignore[arg-type]


def catalogue(count: int, **changed: object) -> list[dict[str, str]]:
    """Good rows; `changed` are columns and their value, None for one that is not there."""
    rows = []
    for number in range(count):
        row = {"sku": f"A-{number}", "title": f"Oak lamp no {number}", "price": f"{10 + number}.90 EUR"}
        row |= {"description": f"A lamp of oak, {number} cm high.", "category": "Home > Lamps", "colour": "fog"}
        rows.append({name: str(value) for name, value in {**row, **changed}.items() if value is not None})
    return rows


def as_csv(rows: Iterable[Mapping[str, str]]) -> str:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def state_of(stores: Stores) -> dict[str, object]:
    """Everything that is kept, without times."""
    with stores.database.connect() as connection:
        rows = connection.execute(ingest_rows.select().order_by(ingest_rows.c.id)).mappings().all()
        kept = connection.execute(snapshot_rows.select().order_by(snapshot_rows.c.digest)).mappings().all()
        cursors = connection.execute(source_cursors.select()).mappings().all()
    keys = stores.objects.list("")
    return {
        "ingests": [{name: value for name, value in row.items() if not name.endswith("_at")} for row in rows],
        "snapshots": [{name: value for name, value in row.items() if not name.endswith("_at")} for row in kept],
        "cursors": [row["cursor"] for row in cursors],
        "objects": {key: stores.objects.get(key) for key in keys},
    }


def newest_snapshot(stores: Stores) -> snapshots.Snapshot:
    with stores.database.connect() as connection:
        found = snapshots.newest(connection)
    assert found is not None
    return found


def newest_ingest(stores: Stores) -> ingests.Ingest:
    with stores.database.connect() as connection:
        found = ingests.newest(connection, "shop")
    assert found is not None
    return found
