"""
One source from its address to a kept snapshot, or to a verdict why not.

Whatever is kept is named by its content and kept before the one transaction that says so: killed anywhere and run
again, the stores end up the same. Of two runs that met, the second starts again from what the first one left.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.catalogue import CatalogueError
from model.store import ingests, snapshots
from model.store.ingests import Cursor, Ingest, State
from model.store.objects import ObjectStore
from model.store.snapshots import Snapshot
from model.store.tables import Database
from pipelines.ingest.fetch import Fetched, Memory, fetch
from pipelines.ingest.intake import WORKERS, Intake, take_in
from pipelines.ingest.merge import merge
from pipelines.ingest.paged_api import Patience
from pipelines.ingest.quality import RULES_VERSION, Figures
from pipelines.ingest.report import page, quality_report
from pipelines.ingest.sources import Source
from pipelines.ingest.verdict import LastKept, catalogue_verdict, filled_columns, row_verdict
from pipelines.step import Reference

ATTEMPTS = 3
"""Of one run: each of the others means that another one kept something in between."""
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Stores:
    """Where a run keeps and works."""

    database: Database
    objects: ObjectStore
    work: Path
    """Folder of this machine; each source has one below it, emptied by the next run."""
    environment: Mapping[str, str]
    """For tokens of sources."""
    wait_seconds_max: float = 3600.0
    """For another run of the same source on this machine."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may decide."""

    is_accepted: bool = False
    """Keep it although it lost products or columns against the last one."""
    workers: int = WORKERS
    patience: Patience | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a source."""

    source: str
    outcome: State
    snapshot: str
    """Digest of the catalogue that is the source's now; empty where there is none."""
    rows: int
    accepted: int
    rejected: int
    merged: int
    products: int
    """In the snapshot."""
    quarantine: str
    """Key of the object that holds the bad rows; empty where there are none."""
    quality: str
    ingest: str
    why: str = ""

    def reference(self) -> Reference:
        """For the next step."""
        return {name: getattr(self, name) for name in Result.__slots__}


class OvertakenError(RuntimeError):
    """Other runs of the same source kept something each time that this one was about to."""


def ingest(source: Source, stores: Stores, options: Options | None = None) -> Result:
    """
    Fetch, validate, keep. Raises what `fetch` raises, StoreError, OvertakenError; nothing is kept then.

    A catalogue that cannot be read or is refused is a Result, and the last good snapshot stays.
    """
    with _alone(source.name, stores) as folder:
        for _ in range(ATTEMPTS):
            result = _Run(source, stores, options or Options(), folder).result()
            if result is not None:
                return result
    raise OvertakenError(f"source {source.name} is being ingested elsewhere all the time; run it again later")


@contextmanager
def _alone(name: str, stores: Stores) -> Iterator[Path]:
    """An empty folder that no other run of the source on this machine has. Raises RuntimeError after a long wait."""
    folder = stores.work / name
    stores.work.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + stores.wait_seconds_max
    with (stores.work / f"{name}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with its process, however that ends
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"source {name} is being ingested by another process; run it again later"
                    ) from None
                time.sleep(POLL_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was killed left behind
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """One pass; `result` is None where another run kept something in between."""

    def __init__(self, source: Source, stores: Stores, options: Options, folder: Path) -> None:
        self._source = source
        self._stores = stores
        self._options = options
        self._folder = folder
        self._started = datetime.now(UTC)
        self._settings = _digest_of({**asdict(source), "rules": RULES_VERSION})
        with stores.database.connect() as connection:
            self._cursor = ingests.cursor(connection, source.name)
        self._kept: Mapping[str, Any] = self._cursor.cursor if self._cursor else {}

    def result(self) -> Result | None:
        is_known = self._kept.get("settings") == self._settings
        memory = Memory(**self._kept["memory"]) if is_known else Memory()
        fetched = fetch(self._source, self._folder, memory, self._stores.environment, self._options.patience)
        is_same = is_known and (fetched.path is None or fetched.digest == self._kept["input"])
        has_no_change = is_known and fetched.is_increment and fetched.items == 0
        if fetched.path is None or is_same or has_no_change:
            return self._unchanged(fetched)
        try:
            intake = self._taken_in(fetched, fetched.path, is_known=is_known)
        except CatalogueError as error:
            why = str(error).replace(str(fetched.path), "the catalogue")
            return self._refused(fetched, Intake(0, 0, 0, 0, "", Figures()), why)
        if why := self._verdict(intake, is_increment=fetched.is_increment and bool(memory.since)):
            return self._refused(fetched, intake, why)
        return self._keep(fetched, intake)

    def _taken_in(self, fetched: Fetched, path: Path, *, is_known: bool) -> Intake:
        lines, quarantine = self._folder / "lines.jsonl", self._folder / "quarantine.jsonl"
        if not fetched.is_increment:
            return take_in(path, self._source.columns, lines, quarantine, workers=self._options.workers)
        base = self._stores.objects.open_lines(self._kept["object_key"]) if is_known else iter(())
        return merge(base, path, self._source.columns, self._source.deleted, lines, quarantine)

    def _verdict(self, intake: Intake, *, is_increment: bool) -> str:
        if why := row_verdict(intake.rows, intake.rejected, is_increment=is_increment):
            return why
        last = LastKept.from_dict(self._kept) if self._kept and not self._options.is_accepted else None
        return catalogue_verdict(intake.figures, last)

    def _unchanged(self, fetched: Fetched) -> Result | None:
        result = self._result("unchanged", self._ingest_id(fetched, "unchanged"), self._kept["result"])
        return self._done(result, {**self._kept, "memory": asdict(fetched.memory)})

    def _refused(self, fetched: Fetched, intake: Intake, why: str) -> Result | None:
        ingest_id = self._ingest_id(fetched, "refused")
        quality = f"quality/{ingest_id}"
        self._put_report(quality, quality_report(self._source.name, intake, why))
        counts = self._counts(intake, quality, self._put_quarantine(ingest_id, intake))
        snapshot = {"snapshot": self._kept.get("snapshot", ""), "products": self._kept.get("accepted", 0)}
        return self._done(self._result("refused", ingest_id, {**counts, **snapshot}, why), None)

    def _keep(self, fetched: Fetched, intake: Intake) -> Result | None:
        is_same = intake.digest == self._kept.get("snapshot")
        state: State = "unchanged" if is_same else "kept"
        ingest_id = self._ingest_id(fetched, state)
        key, quality = f"catalogue/{intake.digest}.jsonl", f"quality/{intake.digest}"
        quarantine = self._put_quarantine(ingest_id, intake)
        if not is_same:
            # The objects first: a row without its object would be a promise that cannot be kept.
            self._stores.objects.put_file(key, self._folder / "lines.jsonl")
            self._put_report(quality, quality_report(self._source.name, intake))
        counts = {
            **self._counts(intake, quality, quarantine),
            "snapshot": intake.digest,
            "products": intake.figures.products,
        }
        moved = {
            "settings": self._settings,
            "input": fetched.digest,
            "memory": asdict(fetched.memory),
            "snapshot": intake.digest,
            "object_key": key,
            "accepted": intake.figures.products,
            "filled": filled_columns(intake.figures),
            "result": counts,
        }
        return self._done(self._result(state, ingest_id, counts), moved)

    def _done(self, result: Result, moved: Mapping[str, Any] | None) -> Result | None:
        """Say so in one transaction; `moved` is the cursor after it, None where it stays."""
        now = datetime.now(UTC)
        row = Ingest(
            id=result.ingest,
            source=result.source,
            client=self._source.client,
            state=result.outcome,
            digest=result.snapshot,
            rows=result.rows,
            accepted=result.accepted,
            rejected=result.rejected,
            merged=result.merged,
            why=result.why,
            quality_key=result.quality,
            started_at=self._started,
            ended_at=now,
        )
        with self._stores.database.begin() as connection:
            if moved is not None:
                cursor = Cursor(self._source.name, moved, now)
                if not ingests.move_cursor(connection, self._cursor, cursor):
                    return None
                self._note_snapshot(connection, result, moved, now)
            ingests.note(connection, row)
        return result

    def _note_snapshot(self, connection: Any, result: Result, moved: Mapping[str, Any], now: datetime) -> None:
        client = self._source.client
        snapshot = Snapshot(result.snapshot, client, result.products, result.rejected, moved["object_key"], now)
        if not snapshots.insert(connection, snapshot) and result.outcome == "kept":
            snapshots.renew(connection, client, result.snapshot, now)

    def _put_report(self, name: str, report: Mapping[str, Any]) -> None:
        content = json.dumps(report, ensure_ascii=False, indent=1)
        self._stores.objects.put(f"{name}.html", page(report).encode(errors="replace"))
        self._stores.objects.put(f"{name}.json", f"{content}\n".encode(errors="replace"))

    def _put_quarantine(self, ingest_id: str, intake: Intake) -> str:
        if not intake.rejected:
            return ""
        key = f"quarantine/{ingest_id}.jsonl"
        self._stores.objects.put_file(key, self._folder / "quarantine.jsonl")
        return key

    def _ingest_id(self, fetched: Fetched, state: State) -> str:
        """Of what was given and what it was to replace: a second run finds the first one's row."""
        return _digest_of([self._source.name, self._settings, fetched.digest, self._kept.get("snapshot", ""), state])

    def _counts(self, intake: Intake, quality: str, quarantine: str) -> dict[str, Any]:
        counts = {name: getattr(intake, name) for name in ("rows", "accepted", "rejected", "merged")}
        return {**counts, "quality": f"{quality}.json", "quarantine": quarantine}

    def _result(self, outcome: State, ingest_id: str, counts: Mapping[str, Any], why: str = "") -> Result:
        return Result(source=self._source.name, outcome=outcome, ingest=ingest_id, why=why, **counts)


def _digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
