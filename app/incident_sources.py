"""
What changed between two moments, from wherever it is kept: Git, the promotion ledger, alerts, and the stores.

Each source gives events or raises; knows no form of report.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from model.ledger import Ledger
from model.store import tables
from model.store.tables import Database

REQUEST_SECONDS_MAX = 20.0
GIT_SECONDS_MAX = 60.0
POINTS_MAX = 10_000
"""Prometheus refuses more than 11,000 of one series."""
STEP_SECONDS_MIN = 15
PROMOTED = "gitops/apps/adloom-api/overlays/"
PROMOTED_NAME = "model.env"
_FIELD, _COMMIT = "\x1f", "\x1e"


class SourceError(RuntimeError):
    """A source could not be read; the message says why, without address or secret."""


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """Something that happened."""

    at: datetime
    kind: str
    """deploy, commit, promotion, alert, drift, retrain, pipeline or ingest."""
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another, both in UTC."""

    since: datetime
    until: datetime

    def has(self, at: datetime | None) -> bool:
        """Both ends belong to it."""
        return at is not None and self.since <= at <= self.until


def commits(repository: Path, span: Span) -> list[Event]:
    """Deploys are the commits that change an environment's model.env. Raises SourceError."""
    git = shutil.which("git")
    if git is None:
        raise SourceError("git is not installed")
    command = [
        git, "-C", str(repository), "log", "--name-only", f"--format={_COMMIT}%h{_FIELD}%cI{_FIELD}%an{_FIELD}%s",
        f"--since={span.since.isoformat()}", f"--until={span.until.isoformat()}",
    ]  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 -- git, with arguments of ours
            command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS_MAX
        )
    except (subprocess.SubprocessError, OSError):
        raise SourceError("there is no Git repository there, or it has no commit") from None
    return [_commit(text) for text in done.stdout.split(_COMMIT)[1:]]


def _commit(text: str) -> Event:
    head, *files = text.strip().splitlines()
    short, at, who, subject = head.split(_FIELD)
    promoted = [name for name in files if name.startswith(PROMOTED) and name.endswith(PROMOTED_NAME)]
    environments = sorted(name.removeprefix(PROMOTED).split("/")[0] for name in promoted)
    what = f"{', '.join(environments)}: {subject}" if environments else subject
    kind = "deploy" if environments else "commit"
    return Event(datetime.fromisoformat(at).astimezone(UTC), kind, f"{short} {what} ({who})")


def promotions(path: Path, span: Span) -> list[Event]:
    """Of the ledger, refusals too. Raises LedgerError where it was changed by hand."""
    if not path.is_file():
        raise SourceError("there is no promotion ledger there")
    found = []
    for entry in Ledger(path).entries():
        at = datetime.fromisoformat(entry.time).astimezone(UTC)
        if span.has(at) and entry.state == "done":
            versions = f"from {entry.source or 'none'} to {entry.target or 'none'}"
            found.append(Event(at, "promotion", f"{entry.action} {versions} by {entry.who}: {entry.why or entry.note}"))
    return found


def alerts(prometheus: str, span: Span) -> list[Event]:
    """When each fired and ended, as far as Prometheus remembers. Raises OSError or SourceError."""
    seconds = (span.until - span.since).total_seconds()
    step_seconds = max(STEP_SECONDS_MIN, round(seconds / POINTS_MAX))
    query = {
        "query": 'ALERTS{alertstate="firing"}', "start": span.since.timestamp(), "end": span.until.timestamp(),
        "step": step_seconds,
    }  # fmt: skip
    series = _asked(f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}")["data"]["result"]
    return [event for one in series for event in _stretches(one, step_seconds, span)]


def _stretches(series: dict[str, Any], step_seconds: float, span: Span) -> Iterable[Event]:
    """Samples that follow each other at the step belong to one firing."""
    labels = series["metric"]
    others = ", ".join(
        f"{name} {value}"
        for name, value in sorted(labels.items())
        if name not in ("__name__", "alertname", "alertstate", "severity", "service", "job")
    )
    name = f"{labels.get('alertname', '?')} ({labels.get('severity', '?')}{', ' if others else ''}{others})"
    times = [float(at) for at, _ in series["values"]]
    for place, at in enumerate(times):
        if place == 0 or at - times[place - 1] > 1.5 * step_seconds:
            began = "fires already" if at <= span.since.timestamp() else "fires"
            yield Event(datetime.fromtimestamp(at, UTC), "alert", f"{name} {began}")
        is_last = place == len(times) - 1
        if (is_last and at + step_seconds < span.until.timestamp()) or (
            not is_last and times[place + 1] - at > 1.5 * step_seconds
        ):
            yield Event(datetime.fromtimestamp(at + step_seconds, UTC), "alert", f"{name} has ended")


def open_alerts(alertmanager: str, span: Span) -> list[Event]:
    """Those that are active now and began in the span. Raises OSError or SourceError."""
    found = []
    for alert in _asked(f"{alertmanager}/api/v2/alerts?active=true"):
        at = datetime.fromisoformat(alert["startsAt"]).astimezone(UTC)
        if span.has(at):
            name, state = alert["labels"].get("alertname", "?"), alert["status"]["state"]
            found.append(Event(at, "alert", f"{name} began and is {state} still, says Alertmanager"))
    return found


def _asked(address: str) -> Any:
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise SourceError("its address must begin with http:// or https://")
    try:
        with urllib.request.urlopen(_request(address), timeout=REQUEST_SECONDS_MAX) as answer:  # noqa: S310 -- looked at
            return json.load(answer)
    except (OSError, ValueError, http.client.HTTPException):
        raise SourceError("it does not answer, or not in JSON") from None


def _request(address: str) -> urllib.request.Request:
    """Name and password of an address go into a header, as curl does it: Prometheus may stand behind Grafana."""
    parts = urllib.parse.urlsplit(address)
    who, _, where = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=where).geturl())  # noqa: S310 -- the caller has looked
    if who:
        told = base64.b64encode(urllib.parse.unquote(who).encode()).decode()
        request.add_header("Authorization", f"Basic {told}")
    return request


def drift_reports(database: Database, span: Span) -> list[Event]:
    """Raises StoreError, as the three below."""
    table = tables.drift_reports
    return [
        Event(row.created_at, "drift", _drift_text(row)) for row in _rows(database, table, table.c.created_at, span)
    ]


def _drift_text(row: Any) -> str:
    hurts = ", and it hurts" if row.hurts else ""
    return f"window to {row.window_end:%H:%M}: {row.verdict}, share {row.share:.2f} of {row.rows} rows{hurts}"


def retrains(database: Database, span: Span) -> list[Event]:
    """When each was asked for, began and ended."""
    table = tables.retrains
    found: list[Event] = []
    with database.connect() as connection:
        for row in connection.execute(sa.select(table)):
            words = f"{row.id} ({row.trigger})"
            ended = f"{words} {row.state}{f': {row.why}' if row.why else ''}"
            moments = (
                (row.created_at, f"{words} asked for"),
                (row.started_at, f"{words} began"),
                (row.ended_at, ended),
            )
            found += [Event(at, "retrain", text) for at, text in moments if span.has(at)]
    return found


def pipeline_runs(database: Database, span: Span) -> list[Event]:
    """Ends of runs and of tasks that failed for good."""
    table = tables.pipeline_runs
    return [
        Event(row.at, "pipeline", f"{row.dag} {row.state}{f' in {row.task}' if row.task else ''} ({row.run})")
        for row in _rows(database, table, table.c.at, span)
    ]


def ingests(database: Database, span: Span) -> list[Event]:
    """What each source gave."""
    table = tables.ingests
    return [
        Event(row.ended_at, "ingest", f"{row.source}: {row.state}, {row.accepted} of {row.rows} rows")
        for row in _rows(database, table, table.c.ended_at, span)
    ]


def _rows(database: Database, table: sa.Table, moment: sa.Column[datetime], span: Span) -> list[Any]:
    with database.connect() as connection:
        return list(connection.execute(sa.select(table).where(moment >= span.since, moment <= span.until)))
