"""
Where the exporter looks: catalogue, batches, drift reports and retrains in the database, the promotion ledger, and a
service's /version.

Knows no Prometheus and no intervals; each source reads once and raises where it cannot.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from app.metrics import Declared
from model.ledger import Ledger, LedgerError, champions
from model.store import batches, drift_reports, ingests, pipeline_runs, retrains, snapshots
from model.store.batches import State
from model.store.tables import Database

INGEST = Declared(
    "adloom_ingest_timestamp_seconds", "When a catalogue last came, the same as before or another, Unix time."
)
PRODUCTS = Declared("adloom_catalogue_products", "Products in the newest catalogue.")
BATCHES = Declared("adloom_batches", "Batches by state.", ("state",))
CHAMPION = Declared("adloom_champion_version", "Version that the promotion ledger says is champion.")
DIVERGENCE = Declared(
    "adloom_truth_divergence", "1 where the service runs another version than the ledger's champion, else 0."
)
DRIFT_SHARE = Declared("adloom_drift_share_ratio", "Share of drifted features in the newest drift report.")
DRIFT_HURTS = Declared(
    "adloom_drift_hurts",
    "1 where validity was below the reference's by more than its margin in the newest drift report.",
)
DRIFT_REPORT = Declared("adloom_drift_report_timestamp_seconds", "When the newest drift report was made, Unix time.")
RETRAINS = Declared(
    "adloom_retrains_total", "Retrains that have ended, by what caused them and how.", ("trigger", "outcome")
)
USELESS = Declared("adloom_retrains_useless", "Promoted retrains in a row, up to the last judged, that did not help.")
PIPELINE_FAILURES = Declared(
    "adloom_pipeline_failures_total", "Tasks that failed for good, and runs that failed as a whole.", ("dag",)
)
PIPELINE_LATE = Declared("adloom_pipeline_late_total", "Runs that were not done by their deadline.", ("dag",))
PIPELINE_SUCCESS = Declared(
    "adloom_pipeline_success_timestamp_seconds", "When a run last went through, Unix time.", ("dag",)
)
READ_METRICS = (
    INGEST, PRODUCTS, BATCHES, CHAMPION, DIVERGENCE, DRIFT_SHARE, DRIFT_HURTS, DRIFT_REPORT, RETRAINS, USELESS,
    PIPELINE_FAILURES, PIPELINE_LATE, PIPELINE_SUCCESS,
)  # fmt: skip

SERVICE_SECONDS = 5.0
ANSWER_BYTES_MAX = 64 * 1024


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
    """Every state, those without a batch as 0."""
    _require_database(database)
    with database.connect() as connection:
        counts = batches.count_by_state(connection)
    return [Reading(BATCHES, counts.get(state, 0), (state,)) for state in get_args(State)]


def champion(ledger: Ledger) -> list[Reading]:
    """Nothing where no version was ever promoted."""
    version = _champion(ledger)
    return [] if version is None else [Reading(CHAMPION, version)]


def divergence(ledger: Ledger, service: str) -> list[Reading]:
    """
    Nothing where either side is unknown: no champion yet, or a service whose bundle comes from no registry.

    The ledger names versions and no digests, so versions are what is compared.
    """
    said, runs = _champion(ledger), str(_object_at(f"{service}/version").get("registry_version", ""))
    return [Reading(DIVERGENCE, float(runs != str(said)))] if said is not None and runs else []


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
    ]


def retrain_outcomes(database: Database) -> list[Reading]:
    """Every trigger and outcome, those that never came together as 0."""
    _require_database(database)
    with database.connect() as connection:
        counts = retrains.counts(connection)
        useless = retrains.useless_streak(connection)
    pairs = product(retrains.TRIGGERS, retrains.OUTCOMES)
    return [Reading(USELESS, useless), *(Reading(RETRAINS, counts.get(pair, 0), pair) for pair in pairs)]


def pipeline_ends(database: Database) -> list[Reading]:
    """Of every pipeline that ever ended; no time of success where it never succeeded."""
    _require_database(database)
    with database.connect() as connection:
        found = pipeline_runs.ended(connection)
    counts = [
        Reading(metric, count, (each.dag,))
        for each in found
        for metric, count in ((PIPELINE_FAILURES, each.failed), (PIPELINE_LATE, each.late))
    ]
    times = [(each.dag, each.succeeded_at) for each in found]
    return counts + [Reading(PIPELINE_SUCCESS, at.timestamp(), (dag,)) for dag, at in times if at is not None]


def all_sources(database: Database, ledger: Path, service: str) -> Mapping[str, Read]:
    """By name, as the label `source` has it. Without a `service` nobody is asked what it runs."""
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
        sources["service"] = lambda: divergence(promotions, service)
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


def _object_at(url: str) -> dict[str, Any]:
    """Raises OSError where nobody answers, or not with 200."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise SourceError("the service's address must begin with http:// or https://")
    with urllib.request.urlopen(url, timeout=SERVICE_SECONDS) as answer:  # noqa: S310 - the scheme was looked at
        return _parsed(answer.read(ANSWER_BYTES_MAX), "the service's /version")


def _parsed(content: bytes, what: str) -> dict[str, Any]:
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{what} is no JSON") from error
    if not isinstance(table, dict):
        raise SourceError(f"{what} is no JSON object")
    return table
