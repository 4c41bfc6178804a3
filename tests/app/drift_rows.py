"""Drift reports as the pipelines leave them: a row, and a page in the object store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from app.drift_route import REPORT_EXAMPLE
from model.store import drift_reports
from model.store.drift_reports import DriftReport

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAGE = b"<!DOCTYPE html><title>A report</title>"


def column(name: str, **changes: Any) -> dict[str, Any]:
    """One that is steady at 0.05, where 0.2 passes."""
    steady = {
        "name": name, "side": "input", "method": "wasserstein", "rows": 900, "verdict": "steady", "distance": 0.05,
        "floor": 0.1, "limit": 0.2, "reference": 10.0, "window": 10.5,
    }  # fmt: skip
    return {**steady, **changes}


def drift_report(number: int = 0, **changes: Any) -> DriftReport:
    """The documented one; others have an id of their own, and windows an hour apart."""
    columns = {
        "measured": [column("title_chars"), column("channel", verdict="too_few", distance=None)],
        "validity": {"reference": 0.952, "window": 0.89, "error": 0.004},
        "validity_margin": 0.03,
        "bundles": {"b" * 64: 900},
        "skipped": 0,
        "page_bytes": len(PAGE),
    }
    report_id = f"dr_{number:032x}" if number else REPORT_EXAMPLE["id"]
    end = changes.pop("window_end", NOON + number * HOUR)
    values = {
        "id": report_id, "task": "ad_writer", "mode": "online", "window_start": end - HOUR, "window_end": end,
        "rows": 900, "reference": "f" * 64, "verdict": "steady", "why": "nothing is far away", "share": 0.0,
        "hurts": False, "columns": columns, "report_key": f"drift/reports/{report_id}.json", "created_at": end,
    }  # fmt: skip
    return DriftReport(**{**values, **changes})


def keep_report(parts: Any, report: DriftReport, page: bytes = PAGE) -> str:
    """Its id; the page is kept where the row says that there is one."""
    if report.page_key:
        parts.objects.put(report.page_key, page)
    with parts.database.begin() as connection:
        assert drift_reports.insert(connection, report)
    return report.id
