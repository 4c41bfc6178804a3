"""
Where the exporter looks: catalogue, batches, drift reports and retrains in the database, the promotion ledger, Git and
a service's /version.

Knows no Prometheus and no intervals; each source reads once and raises where it cannot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import get_args

import sqlalchemy as sa

from app.exporter_certificate import certificate_end
from app.exporter_truth import GitFile, git_says, service_says
from app.exporter_truth import divergence as diverged
from app.metrics import Declared
from model.ledger import Ledger, LedgerError, champions
from model.store import batches, drift_reports, ingests, pipeline_runs, retrains, snapshots, tables
from model.store.batches import State
from model.store.drift_reports import DriftReport
from model.store.tables import Database
from model.truth import Side

INGEST = Declared(
    "adloom_ingest_timestamp_seconds", "When a catalogue last came, the same as before or another, Unix time."
)
PRODUCTS = Declared("adloom_catalogue_products", "Products in the newest catalogue.")
BATCHES = Declared("adloom_batches", "Batches by state.", ("state",))
BATCH_PROGRESS = Declared(
    "adloom_batch_progress_timestamp_seconds",
    "When the open batch that stands still longest was last taken up or had a product finished, Unix time.",
)
CHAMPION = Declared("adloom_champion_version", "Version that the promotion ledger says is champion.")
DIVERGENCE = Declared(
    "adloom_truth_divergence",
    "1 where two of Git, promotion ledger and service say different models or images, else 0.",
)
DRIFT_SHARE = Declared("adloom_drift_share_ratio", "Share of drifted features in the newest drift report.")
DRIFT_HURTS = Declared(
    "adloom_drift_hurts",
    "1 where validity was below the reference's by more than its margin in the newest drift report.",
)
DRIFT_FEATURE = Declared(
    "adloom_drift_feature_ratio",
    "Distance of each feature in the newest drift report, as a share of the distance from which on it has drifted.",
    ("feature",),
)
DRIFT_REPORT = Declared("adloom_drift_report_timestamp_seconds", "When the newest drift report was made, Unix time.")
RETRAINS = Declared(
    "adloom_retrains_total", "Retrains that have ended, by what caused them and how.", ("trigger", "outcome")
)
SPENT = Declared("adloom_retrains_spent", "Retrains of this calendar month (UTC) that count against its budget.")
USELESS = Declared("adloom_retrains_useless", "Promoted retrains in a row, up to the last judged, that did not help.")
PIPELINE_FAILURES = Declared(
    "adloom_pipeline_failures_total", "Tasks that failed for good, and runs that failed as a whole.", ("dag",)
)
PIPELINE_LATE = Declared("adloom_pipeline_late_total", "Runs that were not done by their deadline.", ("dag",))
PIPELINE_SUCCESS = Declared(
    "adloom_pipeline_success_timestamp_seconds", "When a run last went through, Unix time.", ("dag",)
)
CERTIFICATE = Declared(
    "adloom_certificate_expiry_timestamp_seconds", "When the certificate that the service shows ends, Unix time."
)
READ_METRICS = (
    INGEST, PRODUCTS, BATCHES, CHAMPION, DIVERGENCE, DRIFT_SHARE, DRIFT_HURTS, DRIFT_REPORT, RETRAINS, USELESS,
    PIPELINE_FAILURES, PIPELINE_LATE, PIPELINE_SUCCESS, BATCH_PROGRESS, SPENT, CERTIFICATE, DRIFT_FEATURE,
)  # fmt: skip

DAGS = (
    "generate_batch", "ingest_catalogue", "monitor_drift", "release_writer", "rollback_writer", "train_writer",
)  # fmt: skip
"""Their counters begin at zero, or a rate would not see their first failure; others are told once they have ended."""
FEATURES_MAX = 50
"""Of one report, those that drifted furthest: a report is data, and must not decide how many series there are."""

_OLDEST_PROGRESS = sa.select(sa.func.min(tables.batches.c.updated_at, type_=tables.batches.c.updated_at.type)).where(
    tables.batches.c.state.in_(("queued", "running"))
)
_SPENT = (
    sa.select(sa.func.count())
    .where(tables.retrains.c.state.in_(("promoted", "refused", "failed")))
    .group_by(tables.retrains.c.task)
)
"""By task: what decides on a retrain counts each task's own."""


class SourceError(RuntimeError):
    """A source holds what it should not; the message is fit for a log."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one metric."""

    metric: Declared
    value: float
    labels: tuple[str, ...] = ()


Read = Callable[[], list[Reading]]


def catalogue(database: Database) -> list[Reading]:
    """Nothing where no catalogue was ever uploaded."""
    _require_database(database)
    with database.connect() as connection:
        newest, looked_at = snapshots.newest(connection), ingests.good_until(connection)
    if newest is None:
        return []
    # A source that gives the same every day makes no new snapshot, and is fresh all the same.
    fresh = max(newest.created_at, looked_at or newest.created_at)
    return [Reading(INGEST, fresh.timestamp()), Reading(PRODUCTS, newest.rows)]


def batch_states(database: Database) -> list[Reading]:
    """Every state, those without a batch as 0; no progress where no batch is open."""
    _require_database(database)
    with database.connect() as connection:
        counts = batches.count_by_state(connection)
        still_since = connection.execute(_OLDEST_PROGRESS).scalar_one()
    states = [Reading(BATCHES, counts.get(state, 0), (state,)) for state in get_args(State)]
    return states if still_since is None else [*states, Reading(BATCH_PROGRESS, still_since.timestamp())]


def champion(ledger: Ledger) -> list[Reading]:
    """Nothing where no version was ever promoted."""
    version = _champion(ledger)
    return [] if version is None else [Reading(CHAMPION, version)]


def divergence(ledger: Ledger, service: str, git: GitFile | None) -> list[Reading]:
    """Nothing where fewer than two sides are known: no champion yet, no deploy, a service that does not answer."""
    sides: list[Callable[[], Side]] = [lambda: Side("ledger", _champion(ledger))]
    if service:
        sides.append(lambda: service_says(service))
    if git is not None:
        sides.append(lambda: git_says(git))
    found = diverged(sides)
    return [] if found is None else [Reading(DIVERGENCE, float(found))]


def readable(side: Callable[[], Side]) -> list[Reading]:
    """No value of its own: whether the side can be read is what `adloom_exporter_source_up` is for."""
    side()
    return []


def drift(database: Database) -> list[Reading]:
    """Of the newest window of the log; nothing where none was ever looked at."""
    _require_database(database)
    with database.connect() as connection:
        newest = drift_reports.newest(connection, "online")
    if newest is None:
        return []
    return [
        Reading(DRIFT_SHARE, newest.share),
        Reading(DRIFT_HURTS, float(newest.hurts)),
        Reading(DRIFT_REPORT, newest.created_at.timestamp()),
        *_features(newest),
    ]


def _features(report: DriftReport) -> list[Reading]:
    """Of those features that had rows enough to be judged."""
    found = []
    for column in report.columns.get("measured", ()):
        distance, threshold = column.get("distance"), drift_reports.threshold(column)
        if distance is not None and threshold > 0:
            found.append(Reading(DRIFT_FEATURE, distance / threshold, (column["name"],)))
    return sorted(found, key=lambda reading: -reading.value)[:FEATURES_MAX]


def retrain_outcomes(database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Reading]:
    """Every trigger and outcome, those that never came together as 0. It is spent in the month it was asked for."""
    _require_database(database)
    month = clock().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    with database.connect() as connection:
        counts = retrains.counts(connection)
        useless = retrains.useless_streak(connection)
        by_task = connection.execute(_SPENT.where(tables.retrains.c.created_at >= month)).scalars().all()
    pairs = product(retrains.TRIGGERS, retrains.OUTCOMES)
    spent = Reading(SPENT, max(by_task, default=0))
    return [Reading(USELESS, useless), spent, *(Reading(RETRAINS, counts.get(pair, 0), pair) for pair in pairs)]


def pipeline_ends(database: Database) -> list[Reading]:
    """Of every pipeline that is ours or ever ended; no time of success where it never succeeded."""
    _require_database(database)
    with database.connect() as connection:
        found = {each.dag: each for each in pipeline_runs.ended(connection)}
    readings = []
    for dag in dict.fromkeys((*DAGS, *found)):
        ended = found.get(dag)
        readings.append(Reading(PIPELINE_FAILURES, ended.failed if ended else 0, (dag,)))
        readings.append(Reading(PIPELINE_LATE, ended.late if ended else 0, (dag,)))
        if ended and ended.succeeded_at is not None:
            readings.append(Reading(PIPELINE_SUCCESS, ended.succeeded_at.timestamp(), (dag,)))
    return readings


def certificate(url: str) -> list[Reading]:
    """As a client of `url` is shown it."""
    return [Reading(CERTIFICATE, certificate_end(url).timestamp())]


def all_sources(
    database: Database, ledger: Path, service: str, certificate_url: str = "", git: GitFile | None = None
) -> Mapping[str, Read]:
    """By name, as the label `source` has it. Without `service` and `git` nobody is asked what runs and what should."""
    promotions = Ledger(ledger)
    sources: dict[str, Read] = {
        "catalogue": lambda: catalogue(database),
        "batches": lambda: batch_states(database),
        "ledger": lambda: champion(promotions),
        "drift": lambda: drift(database),
        "retrains": lambda: retrain_outcomes(database),
        "pipelines": lambda: pipeline_ends(database),
    }
    if service:
        sources["service"] = lambda: readable(lambda: service_says(service))
    if git is not None:
        sources["git"] = lambda: readable(lambda: git_says(git))
    if service or git is not None:
        sources["truth"] = lambda: divergence(promotions, service, git)
    if certificate_url:
        sources["certificate"] = lambda: certificate(certificate_url)
    return sources


def _require_database(database: Database) -> None:
    """SQLite would make the file, and then complain of missing tables."""
    path = database.engine.url.database
    if database.is_sqlite and path and not os.path.exists(path):  # noqa: PTH110 - SQLAlchemy gives a string
        raise SourceError("there is no database yet: the service makes it when it starts")


def _champion(ledger: Ledger) -> int | None:
    try:
        stack = champions(ledger.entries())
    except LedgerError as error:
        raise SourceError(
            "the promotion ledger was changed by hand or cut short; `adloom models` says where"
        ) from error
    return stack[-1] if stack else None
