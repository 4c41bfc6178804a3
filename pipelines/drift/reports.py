"""
Reports of windows, kept: Evidently's page and our JSON in the object store, then the row that says so.

A row is written last: a step that was killed before it does the window again, to the same keys.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from model.store import drift_reports
from model.store.drift_reports import DriftReport, Mode
from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines.drift.ad_record import Measurer
from pipelines.drift.columns import Measured
from pipelines.drift.evidently_report import EvidentlyReport, report
from pipelines.drift.judgement import Judgement
from pipelines.drift.reference import Reference

REPORTS = "drift/reports"
PAGE_BYTES_MAX = 16 * 1024 * 1024
"""Evidently's page has some 4 MiB, whatever the window: one that is much larger is no page that anybody opens."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is compared with the reference."""

    mode: Mode
    start: datetime
    end: datetime
    source: str = ""
    """Digest of the snapshot in mode batch."""

    @property
    def said(self) -> str:
        """For people."""
        return f"the snapshot {self.source[:12]}" if self.source else f"{self.start:%Y-%m-%d %H:%M} to {self.end:%H:%M}"


def report_id(task: str, window: Window, reference: str) -> str:
    """The same for the same window and reference."""
    parts = [task, window.mode, window.start.astimezone(UTC).isoformat(), window.end.astimezone(UTC).isoformat()]
    return "dr_" + hashlib.sha256(json.dumps([*parts, window.source, reference]).encode()).hexdigest()[:32]


def keep_report(
    database: Database,
    objects: ObjectStore,
    task: str,
    window: Window,
    digest: str,
    reference: Reference,
    measured: Measured,
    judgement: Judgement,
    measurer: Measurer,
    skipped: int,
) -> DriftReport:
    """The row that stands: another process may have been first."""
    row = DriftReport(
        id=report_id(task, window, digest),
        task=task,
        mode=window.mode,
        window_start=window.start,
        window_end=window.end,
        rows=judgement.rows,
        reference=digest,
        verdict=judgement.verdict,
        why=judgement.why,
        share=judgement.share,
        hurts=judgement.hurts,
        columns=_facts(judgement, measurer, skipped) | {"validity_margin": reference.rules.validity_margin},
        report_key=f"{REPORTS}/{report_id(task, window, digest)}.json",
        created_at=datetime.now(UTC),
    )
    page = report(reference, measured, judgement)
    html = b"" if page is None else page.html.encode()
    row.columns["page_bytes"] = len(html) if len(html) <= PAGE_BYTES_MAX else 0
    if row.page_key:
        objects.put(row.page_key, html)
    objects.put(row.report_key, json.dumps(_document(row, reference, measurer, page), indent=1).encode())
    with database.begin() as connection:
        drift_reports.insert(connection, row)
        standing = drift_reports.find(connection, row.id)
    return standing or row


def _facts(judgement: Judgement, measurer: Measurer, skipped: int) -> dict[str, Any]:
    said = judgement.as_dict()
    return {
        "measured": list(said["columns"]),
        "validity": said["validity"],
        "bundles": dict(measurer.bundles),
        "skipped": skipped,
    }


def _document(
    row: DriftReport, reference: Reference, measurer: Measurer, page: EvidentlyReport | None
) -> dict[str, Any]:
    names = ("id", "task", "mode", "rows", "reference", "verdict", "why", "share", "hurts")
    counts, creatives = measurer.finding_counts, sum(measurer.bundles.values())
    return {
        **{name: getattr(row, name) for name in names},
        "window": [row.window_start.isoformat(), row.window_end.isoformat()],
        **row.columns,
        "findings_per_thousand": {
            "reference": dict(reference.findings_per_thousand),
            "window": {kind: round(1000 * count / creatives, 3) for kind, count in sorted(counts.items())},
        },
        "evidently": None
        if page is None
        else {"version": page.version, "rows": page.rows, "distances": page.distances},
    }
