"""
Check a catalogue file as `adloom ingest` would and print its data-quality report; nothing is kept.

The exit status is 3 where `adloom ingest` would refuse it.
Example: adloom validate products.csv --column Produktname=title --report quality.html
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.ingest.intake import WORKERS, take_in
from pipelines.ingest.report import page, quality_report
from pipelines.ingest.verdict import catalogue_verdict, row_verdict
from pipelines.step import EXIT_REFUSED, give, parser, say

SHOWN_MAX = 10
"""Lines of each part of the report."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step. Raises CatalogueError for a file that cannot be read as a whole, or OSError."""
    arguments = _parser().parse_args(argv)
    columns = tuple(arguments.column)
    with tempfile.TemporaryDirectory(prefix="adloom-validate-") as folder:
        lines, quarantine = Path(folder, "lines.jsonl"), Path(folder, "quarantine.jsonl")
        intake = take_in(arguments.file, columns, lines, quarantine, workers=arguments.workers)
    why = row_verdict(intake.rows, intake.rejected) or catalogue_verdict(intake.figures, None)
    report = quality_report(arguments.file.name, intake, why)
    sys.stdout.write(_text(report))
    if arguments.report:
        arguments.report.write_text(page(report), encoding="utf-8", errors="replace")
    if why:
        say(f"refused: {why}")
    counts = {name: report[name] for name in ("snapshot", "rows", "accepted", "rejected", "merged")}
    give({"outcome": "refused" if why else "good", **counts, "why": why})
    return EXIT_REFUSED if why else 0


def _text(report: Mapping[str, Any]) -> str:
    products = max(1, report["products"])
    filled = {name: f"{count / products:.0%}" for name, count in {**report["filled"], **report["attributes"]}.items()}
    parts = [
        ("rows", {name: f"{report[name]:,}" for name in ("rows", "accepted", "rejected", "merged")}),
        ("completeness", filled),
        ("categories", {name: f"{count:,}" for name, count in report["categories"].items()}),
        ("rejected because", {name: f"{count:,}" for name, count in report["reasons"].items()}),
    ]
    return "".join(_listed(title, table) for title, table in parts if table)


def _listed(title: str, table: Mapping[str, str]) -> str:
    shown = list(table.items())[:SHOWN_MAX]
    more = [f"  and {len(table) - len(shown):,} more"] if len(table) > len(shown) else []
    return "\n".join([title, *(f"  {value:>9}  {name}" for name, value in shown), *more]) + "\n"


def _parser() -> argparse.ArgumentParser:
    arguments = parser("validate", __doc__)
    arguments.add_argument("file", type=Path, metavar="FILE", help="CSV, JSON, JSON Lines or YAML")
    arguments.add_argument(
        "--column", action="append", default=[], type=_column, metavar="NAME=TARGET", help="what a column means"
    )
    arguments.add_argument("--report", type=Path, metavar="FILE", help="write the report as a page, too")
    arguments.add_argument("--workers", type=int, default=WORKERS, help="processes that read (default: %(default)s)")
    return arguments


def _column(text: str) -> tuple[str, str]:
    name, found, target = text.rpartition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TARGET, such as Produktname=title")
    return name, target
