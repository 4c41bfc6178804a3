"""
Features as they were: for a table of labels (client, sku, time), the features of each product as known at that time.

A later change of the product does not leak into the row. Example: adloom feature-rows labels.csv --out rows.parquet
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pipelines.features.training import Asked, training_rows
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser, say

COLUMNS = ("client", "sku", "time")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("feature-rows", __doc__)
    options.add_argument("labels", type=Path, help="CSV with the columns client, sku and time (ISO 8601, with a zone)")
    options.add_argument("--out", type=Path, required=True, help="Parquet file, written whole or not at all")
    arguments = options.parse_args(argv)
    asked = _labels(arguments.labels)
    # Feast takes seconds to import, which `--help` and a bad file need not wait for.
    from pipelines.features.store import open_features  # noqa: PLC0415

    settings = PipelineSettings()
    rows = training_rows(open_features(settings), settings.open_objects(), settings, asked)
    fresh = arguments.out.with_name(f".{arguments.out.name}.part")
    rows.to_parquet(fresh, index=False)
    fresh.replace(arguments.out)
    known = int(rows["title"].notna().sum())
    say(f"{known} of {len(rows)} products were known at their time")
    give({"rows": len(rows), "known": known, "file": str(arguments.out)})
    return 0


def _labels(path: Path) -> list[Asked]:
    """Raises ValueError naming the line."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{path} has no column {missing[0]}; it needs {', '.join(COLUMNS)}")
        return [_asked(path, number, row) for number, row in enumerate(reader, start=2)]


def _asked(path: Path, line: int, row: dict[str, str]) -> Asked:
    try:
        time = datetime.fromisoformat(row["time"])
    except (TypeError, ValueError):
        raise ValueError(f"{path}, line {line}: {row['time']!r} is no time; write it like 2026-01-15T12:00Z") from None
    if time.tzinfo is None:
        raise ValueError(f"{path}, line {line}: the time has no zone; write it like 2026-01-15T12:00Z")
    return Asked(row["client"], row["sku"], time)
