"""
List the retrains: what asked for them, how they ended, and whether they helped.

Example: adloom retrains --limit 10
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from model.store import retrains
from model.store.retrains import RetrainRow
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import parser

DAYS = 365
COLUMNS = ("retrain", "trigger", "asked by", "state", "version", "helped", "asked at", "why")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("retrains", __doc__)
    options.add_argument("--limit", type=int, default=20, help="the newest so many (default: %(default)s)")
    options.add_argument("--json", action="store_true", help="everything, as one JSON object; the newest last")
    arguments = options.parse_args(argv)
    if arguments.limit < 1:
        raise ValueError("--limit takes a whole number from 1")
    with PipelineSettings().open_database().connect() as connection:
        rows = retrains.since(connection, TASK, datetime.now(UTC) - timedelta(days=DAYS))[-arguments.limit :]
    if arguments.json:
        sys.stdout.write(json.dumps({"retrains": [_as_dict(row) for row in rows]}) + "\n")
    elif rows:
        Console().print(_table(rows))
    else:
        sys.stdout.write('no retrain yet; ask for one with `adloom decide-retrain --ask "why"`\n')
    return 0


def _as_dict(row: RetrainRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in RetrainRow.__slots__}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _table(rows: Sequence[RetrainRow]) -> Table:
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for row in rows:
        helped = "" if row.helped is None else ("yes" if row.helped else "no")
        asked = row.created_at.isoformat(timespec="minutes")
        table.add_row(row.id, row.trigger, row.asked_by, row.state, row.version, helped, asked, row.why)
    return table
