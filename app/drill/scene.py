"""
A stack that is well, and what a fault may do to it: its stores' rows, its parts, and the traffic on it.

Knows no alert. What a fault adds for the runbook to call stands beside the parts: `POST $STACK/traffic/stop`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection

from app.drill.traffic import Traffic
from app.watch.processes import wait_for
from app.watch.stack import CLIENT, Stack
from model.store import drift_reports, pipeline_runs, snapshots
from model.store.drift_reports import DriftReport
from model.store.snapshots import Snapshot

SCHEDULED = ("ingest_catalogue", "generate_batch", "monitor_drift")
SEEN = 'count_over_time(adloom_pipeline_failures_total{dag="ingest_catalogue"}[10s]) >= 3'
"""A counter that is first seen with its fault in it has not risen."""
TASK = "ad_writer"
WINDOW = timedelta(hours=1)


@dataclass(slots=True)
class Scene(AbstractContextManager["Scene"]):
    """One stack during one drill."""

    stack: Stack
    traffic: Traffic | None = None
    notes: dict[str, str] = field(default_factory=dict)
    """Environment variables that a fault adds for the runbook's commands."""
    closers: list[Callable[[], None]] = field(default_factory=list)
    """What a fault started beside the stack."""

    def __enter__(self) -> Self:
        self.seed()
        wait_for(lambda: bool(self.stack.query(SEEN)), "what is in the stores to be scraped")
        self.stack.actions["traffic", "stop"] = lambda _argument: self.stop_traffic()
        self.stack.actions["window", "steady"] = lambda _argument: self.report_drift(share=0.0, hurts=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_traffic()
        for close in self.closers:
            close()

    def seed(self) -> None:
        """What a healthy service has in its stores."""
        now = datetime.now(UTC)
        with self.begin() as connection:
            snapshots.insert(connection, Snapshot("0" * 64, CLIENT, 12, 0, f"catalogue/{'0' * 64}.jsonl", now))
            for dag in SCHEDULED:
                pipeline_runs.record(connection, dag, "first", "", "succeeded", now)
        self.report_drift(share=0.0, hurts=False)

    def begin(self) -> _Transaction:
        """A transaction on the service's database."""
        return _Transaction(self.stack)

    def start_traffic(self, **options: Any) -> None:
        """As `Traffic` takes them; one at a time."""
        self.stop_traffic()
        self.traffic = Traffic(self.stack.service_url, self.stack.token(), **options)
        self.traffic.start()

    def stop_traffic(self) -> str:
        """Nothing to do where there is none."""
        traffic, self.traffic = self.traffic, None
        if traffic is not None:
            traffic.stop()
        return "no more requests are sent\n"

    def report_drift(self, *, share: float, hurts: bool, age: timedelta = timedelta()) -> str:
        """As monitor_drift leaves it after one more window, which ended `age` ago."""
        at = datetime.now(UTC) - age
        report = DriftReport(
            id=f"dr_{at:%Y%m%d%H%M%S%f}", task=TASK, mode="online", window_start=at - WINDOW, window_end=at, rows=900,
            reference="r" * 64, verdict="drift" if share else "steady", why="", share=share, hurts=hurts,
            columns={"measured": [], "validity": {}, "bundles": {}, "skipped": 0}, report_key="", created_at=at,
        )  # fmt: skip
        with self.begin() as connection:
            drift_reports.insert(connection, report)
        return f"the newest window has a share of {share:g}\n"

    def environment(self) -> Mapping[str, str]:
        """What the runbook's commands see."""
        stack = self.stack
        token = ""
        with suppress(RuntimeError):  # a service that is down gives none, and its runbook asks for none
            token = stack.token()
        return {
            **stack.environment,
            "SERVICE": stack.service_url,
            "EXPORTER": stack.exporter_url,
            "PROMETHEUS": stack.prometheus_url,
            "ALERTMANAGER": stack.alertmanager_url,
            "STACK": stack.parts_url,
            "LEDGER": str(stack.ledger),
            "REGISTRY": str(stack.ledger.parent),
            "ADLOOM_REGISTRY": str(stack.ledger.parent),
            "ADLOOM_ROOT": str(stack.folder / "root"),
            "ADLOOM_FEATURES": str(stack.folder / "features"),
            "TOKEN": token,
            "CLIENT_ID": stack.client_id,
            **self.notes,
        }


class _Transaction:
    """`Database.begin`, with the handle closed behind it."""

    def __init__(self, stack: Stack) -> None:
        self._database = stack.database
        self._context = self._database.begin()

    def __enter__(self) -> Connection:
        return self._context.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._context.__exit__(kind, error, trace)
        finally:
            self._database.dispose()
