"""Catalogue snapshots for the tests of the pipelines, put into the stores as an upload or an ingest puts them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

import sqlalchemy as sa

from model.product import Product
from model.store import snapshots
from model.store.objects import ObjectStore
from model.store.snapshots import Snapshot
from model.store.tables import Database, ingests

FIRST = datetime(2026, 3, 1, 6, tzinfo=UTC)
SECOND = datetime(2026, 3, 8, 6, tzinfo=UTC)
THIRD = datetime(2026, 3, 15, 6, tzinfo=UTC)


def put_snapshot(
    database: Database,
    objects: ObjectStore,
    products: Iterable[Product],
    *,
    client: str = "shop",
    at: datetime = FIRST,
    source: str = "",
) -> Snapshot:
    """Object, row, and the ingest that brought it where there is a `source`."""
    lines = [json.dumps(product.as_dict(), sort_keys=True, ensure_ascii=False) + "\n" for product in products]
    content = "".join(lines).encode()
    digest = hashlib.sha256(content).hexdigest()
    snapshot = Snapshot(digest, client, len(lines), 0, f"catalogue/{digest}.jsonl", at)
    objects.put(snapshot.object_key, content)
    with database.begin() as connection:
        snapshots.insert(connection, snapshot)
        if source:
            connection.execute(sa.insert(ingests).values(_ingest(snapshot, source)))
    return snapshot


def _ingest(snapshot: Snapshot, source: str) -> dict[str, object]:
    counts = {"rows": snapshot.rows, "accepted": snapshot.rows, "rejected": 0, "merged": 0}
    times = {"started_at": snapshot.created_at, "ended_at": snapshot.created_at}
    said = {"state": "done", "why": "", "quality_key": "", "source": source}
    return {"id": f"{source}-{snapshot.digest[:20]}", "client": snapshot.client, "digest": snapshot.digest} | (
        counts | times | said
    )


def bowl(title: str = "Blue ceramic bowl", sku: str = "BOWL", **changes: object) -> Product:
    """A product with every field."""
    given = {
        "description": "Holds 0.5 l.",
        "category": "Kitchen",
        "brand": "Loch",
        "price": "24.90 EUR",
        "image": "https://shop.example/bowl.jpg",
        "attributes": (("Colour", "blue"), ("Ø", "14 cm")),
    }
    return Product(sku, title, **given | changes)  # type: ignore[arg-type]
