"""
Where the exporter looks: the catalogue and batches in the database, the promotion ledger, a service's /version, and
what drift reports and retrains leave in the object store.

Knows no Prometheus and no intervals; each source reads once and raises where it cannot.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, TypeGuard, get_args
from urllib.parse import urlsplit

from app.metrics import Declared
from model.ledger import Ledger, LedgerError, champions
from model.store import batches, snapshots
from model.store.batches import State
from model.store.objects import ObjectStore
from model.store.tables import Database

INGEST = Declared("adloom_ingest_timestamp_seconds", "When the newest catalogue was uploaded, Unix time.")
PRODUCTS = Declared("adloom_catalogue_products", "Products in the newest catalogue.")
BATCHES = Declared("adloom_batches", "Batches by state.", ("state",))
CHAMPION = Declared("adloom_champion_version", "Version that the promotion ledger says is champion.")
DIVERGENCE = Declared(
    "adloom_truth_divergence", "1 where the service runs another version than the ledger's champion, else 0."
)
DRIFT_SHARE = Declared("adloom_drift_share_ratio", "Share of drifted features in the newest drift report.")
DRIFT_REPORT = Declared("adloom_drift_report_timestamp_seconds", "When the newest drift report was made, Unix time.")
RETRAINS = Declared(
    "adloom_retrains_total", "Retrains that have ended, by what caused them and how.", ("trigger", "outcome")
)
READ_METRICS = (INGEST, PRODUCTS, BATCHES, CHAMPION, DIVERGENCE, DRIFT_SHARE, DRIFT_REPORT, RETRAINS)

DRIFT_PREFIX = "drift/"
"""
One object a report, `drift/<UTC time, most significant first>.json`, so that the last name is the newest report.

Its members: `timestamp` (RFC 3339, with offset) and `drift_share` (0 to 1); others are left alone.
"""
RETRAIN_PREFIX = "retrains/"
"""One object a retrain that has ended, never changed: `trigger` and `outcome` as below, others are left alone."""
TRIGGERS = ("drift", "feedback", "manual", "schedule")
OUTCOMES = ("promoted", "refused", "failed")

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
        newest = snapshots.newest(connection)
    if newest is None:
        return []
    return [Reading(INGEST, newest.created_at.timestamp()), Reading(PRODUCTS, newest.rows)]


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


def drift(objects: ObjectStore) -> list[Reading]:
    """Nothing where there is no report."""
    keys = [key for key in objects.list(DRIFT_PREFIX) if key.endswith(".json")]
    if not keys:
        return []
    report = _parsed(objects.get(keys[-1]), "the newest drift report")
    share, made = report.get("drift_share"), report.get("timestamp")
    if not _is_share(share) or not isinstance(made, str):
        raise SourceError("the newest drift report needs a `timestamp` and a `drift_share` from 0 to 1")
    return [Reading(DRIFT_SHARE, float(share)), Reading(DRIFT_REPORT, _unix_time(made))]


@dataclass(slots=True)
class Retrains:
    """Counts each retrain's object once: it never changes, so it is read once in the life of the exporter."""

    objects: ObjectStore
    _known: dict[str, tuple[str, str]] = field(default_factory=dict)

    def read(self) -> list[Reading]:
        """Every trigger and outcome, those that never came together as 0."""
        for key in self.objects.list(RETRAIN_PREFIX):
            if key.endswith(".json") and key not in self._known:
                self._known[key] = _retrain(_parsed(self.objects.get(key), "a retrain's object"))
        counts = Counter(self._known.values())
        return [Reading(RETRAINS, counts[pair], pair) for pair in product(TRIGGERS, OUTCOMES)]


def all_sources(database: Database, objects: ObjectStore, ledger: Path, service: str) -> Mapping[str, Read]:
    """By name, as the label `source` has it. Without a `service` nobody is asked what it runs."""
    promotions = Ledger(ledger)
    sources: dict[str, Read] = {
        "catalogue": lambda: catalogue(database),
        "batches": lambda: batch_states(database),
        "ledger": lambda: champion(promotions),
        "drift": lambda: drift(objects),
        "retrains": Retrains(objects).read,
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


def _retrain(table: Mapping[str, Any]) -> tuple[str, str]:
    trigger, outcome = table.get("trigger"), table.get("outcome")
    if trigger not in TRIGGERS or outcome not in OUTCOMES:
        raise SourceError(f"a retrain needs a trigger of {_list(TRIGGERS)} and an outcome of {_list(OUTCOMES)}")
    return str(trigger), str(outcome)


def _is_share(value: object) -> TypeGuard[float]:
    """NaN is none, and neither is true."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _unix_time(text: str) -> float:
    try:
        made = datetime.fromisoformat(text)
    except ValueError as error:
        raise SourceError("the newest drift report's `timestamp` is no time") from error
    if made.tzinfo is None:
        raise SourceError("the newest drift report's `timestamp` has no offset from UTC")
    return made.timestamp()


def _list(words: Sequence[str]) -> str:
    return ", ".join(words)
