"""
What the exporter reads, made by a test below one folder: database, objects, ledger, and a service's /version.

Knows no exporter.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from model.ledger import Entry, Ledger
from model.store import batches, snapshots
from model.store.batches import NewBatch, NewItem
from model.store.objects import ObjectStore
from model.store.snapshots import Snapshot
from model.store.tables import Database

UPLOADED = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class Stores:
    """What the exporter reads, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.file, self.folder, self.ledger_path = folder / "adloom.db", folder / "objects", folder / "ledger.jsonl"
        self.database = Database(f"sqlite:///{self.file}")
        self.objects = ObjectStore(str(self.folder))
        self.ledger = Ledger(self.ledger_path)

    @property
    def environment(self) -> dict[str, str]:
        return {"ADLOOM_DATABASE_URL": f"sqlite:///{self.file}", "ADLOOM_OBJECTS_URL": str(self.folder)}

    def upload(self, digest: str, rows: int, at: datetime) -> None:
        with self.database.begin() as connection:
            snapshots.insert(connection, Snapshot(digest, "shop", rows, 0, f"catalogue/{digest}.jsonl", at))

    def order_batch(self, number: int) -> None:
        with self.database.begin() as connection:
            batches.insert(
                connection, NewBatch(f"ba_{number}", "shop", {}, "inline", UPLOADED), [NewItem({"title": "Bowl"})]
            )

    def promote(self, version: int) -> None:
        self.ledger.append(Entry("promote", "done", f"attempt{version}", "test", "test", None, version))

    def report_drift(self, key: str, share: Any, timestamp: Any = "2026-01-15T13:00:00+00:00") -> None:
        self.objects.put(f"drift/{key}.json", json.dumps({"timestamp": timestamp, "drift_share": share}).encode())

    def retrain(self, key: str, trigger: str, outcome: str) -> None:
        content = json.dumps({"trigger": trigger, "outcome": outcome, "run": "abc"})
        self.objects.put(f"retrains/{key}.json", content.encode())


@contextmanager
def answering_version() -> Iterator[tuple[str, dict[str, str]]]:
    """Something that answers /version with what the test puts into the dictionary; its address, and that."""
    version = {"registry_version": "7"}

    class Version(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(version).encode()
            self.send_response(200 if self.path == "/version" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Version)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", version
    server.shutdown()
    thread.join()
    server.server_close()
