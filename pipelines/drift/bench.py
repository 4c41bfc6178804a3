"""
Measure drift itself: how often it errs, how little it sees, and what a window costs.

Everything on made-up traffic (`traffic`), through the real log, reports and database. Minutes and 1 GB of disk.

example:
  adloom drift-bench --out architecture/measured/drift.json --document architecture/drift.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines.drift import reference as references
from pipelines.drift.bench_page import draw, sections
from pipelines.drift.judgement import Judgement, judge
from pipelines.drift.log import Stretch
from pipelines.drift.monitoring import compare, measure
from pipelines.drift.reference import Reference
from pipelines.drift.reports import Window
from pipelines.drift.rules import DriftRules
from pipelines.drift.traffic import Traffic, records
from pipelines.retraining import RetrainRules
from pipelines.retraining_facts import settle
from pipelines.settings import TASK
from pipelines.step import parser, say

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
REFERENCE_HOURS = 24
WINDOW_ROWS = 1500
"""500 requests of three channels an hour."""
SHIFTED_SHARE = 0.3
WINDOWS = 3
FILE_ROWS = 10_000
SEEDS_APART = 1000
"""Between the kinds of traffic: none shares a seed with the reference."""
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main(argv: Sequence[str] | None = None) -> int:
    """0: measured and written. Raises OSError where there is no room."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    with tempfile.TemporaryDirectory(prefix="adloom-drift-bench-") as folder:
        found = _measured(Path(folder), arguments.seeds, arguments.windows, arguments.rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.figure is not None:
        draw(found, arguments.figure)
    text = sections(found)
    if arguments.document is not None:
        _write_between(arguments.document, text)
    sys.stdout.write(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("drift-bench", __doc__)
    add = made.add_argument
    add("--seeds", type=int, default=20, help="of shifted and of ordinary traffic, each (default: %(default)s)")
    add("--windows", type=int, default=300, help="ordinary ones for the rate of false alarms (default: %(default)s)")
    add("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="logged creatives whose cost is told")
    add("--out", type=Path, default=Path("out/drift.json"), help="default: %(default)s")
    add("--figure", type=Path, help="plot of the cost, SVG")
    add("--document", type=Path, help=f"Markdown file that gets the tables between {_BEGIN} and {_END}")
    return made


def _measured(folder: Path, seeds: int, windows: int, sizes: Sequence[int]) -> dict[str, Any]:
    objects = ObjectStore(str(folder / "objects"))
    say("reference: 24 hours of ordinary traffic")
    for hour in range(REFERENCE_HOURS):
        log(objects, Traffic(seed=hour), hour, WINDOW_ROWS)
    started = time.perf_counter()
    rules = DriftRules()
    reference = references.from_log(Stretch(objects, START, START + REFERENCE_HOURS * HOUR), rules)
    seconds = time.perf_counter() - started
    digest, _ = references.keep(objects, reference)
    say("ordinary windows")
    judged = [_judged(objects, reference, Traffic(seed=SEEDS_APART + number)) for number in range(windows)]
    kinds = {"ordinary": 0.0, "shifted": SHIFTED_SHARE}
    return {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "rules": asdict(rules),
        "reference": _reference_facts(reference, seconds),
        "ordinary_windows": {
            "windows": windows,
            "rows": WINDOW_ROWS,
            "drift": sum(found.verdict == "drift" for found in judged),
            "hurts": sum(found.hurts for found in judged),
        },
        "loop": {
            kind: _loop(folder, objects, digest, kind, [Traffic(seed, share) for seed in _seeds(kind, seeds)])
            for kind, share in kinds.items()
        },
        "cost": [_cost(folder, rows) for rows in sizes],
    }


def _seeds(kind: str, count: int) -> range:
    first = {"ordinary": 10, "shifted": 20}[kind] * SEEDS_APART
    return range(first, first + count * WINDOWS, WINDOWS)


def log(objects: ObjectStore, traffic: Traffic, hour: int, rows: int) -> None:
    """An hour of the generation log, in files as the service writes them."""
    start = START + hour * HOUR
    for number, lines in enumerate(_files(traffic, start, rows)):
        objects.put(f"generations/date={start:%Y-%m-%d}/hour={start:%H}/bench-{number:05}.jsonl", lines)


def _files(traffic: Traffic, start: datetime, rows: int) -> Iterator[bytes]:
    lines: list[bytes] = []
    for record in records(traffic, start, start + HOUR, rows):
        lines.append(msgspec.json.encode(record))
        if len(lines) == FILE_ROWS:
            yield b"\n".join(lines) + b"\n"
            lines.clear()
    if lines:
        yield b"\n".join(lines) + b"\n"


def _reference_facts(reference: Reference, seconds: float) -> dict[str, Any]:
    calibration = reference.calibration
    return {
        "seconds": round(seconds, 1),
        "rows": {side: table.rows for side, table in reference.tables.items()},
        "window_alarms": dict(calibration.window_alarms),
        "alarms_a_month": [round(calibration.alarms_a_month(at), 4) for at in range(len(reference.rules.sizes))],
        "columns": calibration.as_dict()["columns"],
    }


def _judged(objects: ObjectStore, reference: Reference, traffic: Traffic) -> Judgement:
    log(objects, traffic, REFERENCE_HOURS, WINDOW_ROWS)
    start = START + REFERENCE_HOURS * HOUR
    measurer, _ = measure(objects, Window("online", start, start + HOUR), reference)
    return judge(reference, measurer.table())


def _loop(folder: Path, objects: ObjectStore, digest: str, kind: str, traffic: Sequence[Traffic]) -> dict[str, int]:
    """From log to decision, each seed on a database of its own: three windows, two of which have to agree."""
    say(f"{len(traffic)} seeds of {kind} traffic, from log to decision")
    counts = {"seeds": len(traffic), "drift_two_of_three": 0, "retrains": 0}
    for each in traffic:
        with _database(folder / f"{kind}-{each.seed}.db") as database:
            drifted, end = 0, START
            for number in range(WINDOWS):
                hour = REFERENCE_HOURS + number
                end = START + (hour + 1) * HOUR
                log(objects, replace(each, seed=each.seed + number), hour, WINDOW_ROWS)
                window = Window("online", START + hour * HOUR, end)
                drifted += compare(database, objects, TASK, window, digest).verdict == "drift"
            with database.begin() as connection:
                decision, _ = settle(connection, TASK, RetrainRules(), end)
        counts["drift_two_of_three"] += drifted >= 2
        counts["retrains"] += decision.word == "retrain"
    return counts


@contextmanager
def _database(file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    try:
        yield database
    finally:
        database.dispose()


def _cost(folder: Path, rows: int) -> dict[str, Any]:
    """Of `adloom drift` on one hour with so many creatives: a process of its own, all of it."""
    say(f"{rows:,} creatives in one window")
    place = folder / f"cost-{rows}"
    objects = ObjectStore(str(place / "objects"))
    log(objects, Traffic(seed=30 * SEEDS_APART, known_products=10**9), 0, rows)
    made = ObjectStore(str(folder / "objects"))
    for key in (references.CURRENT, f"{references.REFERENCES}/{references.current(made)}.parquet"):
        objects.put(key, made.get(key))
    environment = os.environ | {
        "ADLOOM_DATABASE_URL": f"sqlite:///{place / 'adloom.db'}", "ADLOOM_OBJECTS_URL": str(place / "objects"),
    }  # fmt: skip
    times = ["--since", START.isoformat(), "--until", (START + HOUR).isoformat()]
    command = [sys.executable, "-m", "pipelines.steps.monitor_drift", *times]
    started = time.perf_counter()
    done, peak_bytes = _watched(command, environment)
    seconds = time.perf_counter() - started
    return {
        "rows": rows,
        "seconds": round(seconds, 2),
        "rows_a_second": round(rows / seconds),
        "peak_mib": round(peak_bytes / 2**20),
        "log_mib": round(sum(file.stat().st_size for file in place.rglob("bench-*.jsonl")) / 2**20),
        "verdict": done["verdict"],
    }


def _watched(command: Sequence[str], environment: Mapping[str, str]) -> tuple[dict[str, Any], int]:
    """Its answer, and the most memory that it held. Raises RuntimeError where it fails."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603 - our own command
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("`adloom drift` failed on the benchmark's own log: run it there by hand")
    # The largest child so far: sizes grow, so it is this one.
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer, peak_bytes


def _write_between(path: Path, text: str) -> None:
    content = path.read_text(encoding="utf-8")
    if _BEGIN not in content or _END not in content:
        raise ValueError(f"{path} has no lines {_BEGIN} and {_END}: add them where the tables belong")
    before, after = content.split(_BEGIN)[0], content.split(_END)[1]
    path.write_text(f"{before}{_BEGIN}\n\n{text}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
