"""A generation log, a reference made of it, and the steps run on both: what the tests of drift have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines.drift.traffic import Traffic, records
from pipelines.steps import decide_retrain, monitor_drift

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROWS = 900
"""Of a window: 300 requests of three channels."""
ORDINARY_HOURS = 4


@dataclass
class Plant:
    """One database and one folder of objects, which the steps find through their environment."""

    folder: Path

    def __post_init__(self) -> None:
        self.objects = ObjectStore(str(self.folder / "objects"))
        self.database = Database(self.url)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'adloom.db'}"

    @property
    def environment(self) -> dict[str, str]:
        return {"ADLOOM_DATABASE_URL": self.url, "ADLOOM_OBJECTS_URL": str(self.folder / "objects")}

    def log(self, hour: int, traffic: Traffic, rows: int = ROWS, end: bytes = b"\n") -> None:
        made = records(traffic, START + hour * HOUR, START + (hour + 1) * HOUR, rows)
        self.put(hour, b"\n".join(json.dumps(record).encode() for record in made) + end)

    def put(self, hour: int, content: bytes, name: str = "a") -> None:
        at = START + hour * HOUR
        self.objects.put(f"generations/date={at:%Y-%m-%d}/hour={at:%H}/{name}.jsonl", content)

    def keep_snapshot(self, digest: str, products: Iterable[Mapping[str, Any]]) -> None:
        from model.store import snapshots
        from model.store.snapshots import Snapshot

        lines = [json.dumps(product).encode() for product in products]
        self.objects.put(f"catalogue/{digest}.jsonl", b"\n".join(lines))
        with self.database.begin() as connection:
            snapshots.insert(connection, Snapshot(digest, "shop", len(lines), 0, f"catalogue/{digest}.jsonl", START))


def answer(capsys) -> dict[str, Any]:
    """The last line of what a step gave."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def drift(capsys, hour: int) -> dict[str, Any]:
    times = [(START + at * HOUR).isoformat() for at in (hour, hour + 1)]
    assert monitor_drift.main(["--since", times[0], "--until", times[1]]) == 0
    return answer(capsys)


def decide(capsys, hour: float, *arguments: str) -> dict[str, Any]:
    """As of that hour."""
    decide_retrain.main(["--now", (START + hour * HOUR).isoformat(), *arguments])
    return answer(capsys)
