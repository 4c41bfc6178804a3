"""
What the exporter reads, made by a test below one folder: database, ledger, and a service's /version.

Knows no exporter.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from model.ledger import Entry, Ledger
from model.store import batches, drift_reports, retrains, snapshots
from model.store.batches import NewBatch, NewItem
from model.store.drift_reports import DriftReport, Mode, Verdict
from model.store.retrains import Ended, NewRetrain, Trigger
from model.store.snapshots import Snapshot
from model.store.tables import Database

UPLOADED = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Stores:
    """What the exporter reads, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.file, self.ledger_path = folder / "adloom.db", folder / "ledger.jsonl"
        self.database = Database(f"sqlite:///{self.file}")
        self.ledger = Ledger(self.ledger_path)

    @property
    def environment(self) -> dict[str, str]:
        return {"ADLOOM_DATABASE_URL": f"sqlite:///{self.file}"}

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

    def report_drift(
        self,
        at: datetime,
        share: float,
        *,
        hurts: bool = False,
        mode: Mode = "online",
        **columns: tuple[float | None, float, float],
    ) -> None:
        """Of the hour that ends then; each column with its distance, floor and limit."""
        measured = [
            {"name": name, "distance": distance, "floor": floor, "limit": limit}
            for name, (distance, floor, limit) in columns.items()
        ]
        verdict: Verdict = "drift" if share else "steady"
        report = DriftReport(
            id=f"dr_{mode}_{at:%d%H}", task="ad_writer", mode=mode, window_start=at - HOUR, window_end=at, rows=900,
            reference="r" * 64, verdict=verdict, why="", share=share, hurts=hurts, columns={"measured": measured},
            report_key="", created_at=at,
        )  # fmt: skip
        with self.database.begin() as connection:
            drift_reports.insert(connection, report)

    def retrain(self, trigger: Trigger, outcome: Ended, at: datetime, *, helped: bool | None = None) -> None:
        with self.database.begin() as connection:
            row = retrains.ask(connection, NewRetrain("ad_writer", trigger, {}, "test", at))
            retrains.finish(connection, row.id, outcome, at=at)
            if helped is not None:
                retrains.judge_help(connection, row.id, helped, {})


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
