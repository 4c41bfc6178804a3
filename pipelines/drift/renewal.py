"""
Make the reference anew when another bundle has come to write the traffic: what it writes, and for what, is normal then.

A reference is not renewed for the bundle that it was made of, so that drift never becomes normal by lasting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from model.store import drift_reports, retrains
from model.store.drift_reports import DriftReport
from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines.drift import reference as references
from pipelines.drift.log import Stretch
from pipelines.drift.reference import MAIN_SHARE_MIN, NoReferenceError, Reference, main_bundle

RENEW_HOURS = 168.0
"""A week: a reference of less takes the weekend for drift."""
COVERED_MIN = 0.8
"""Of that time has to lie in windows that were looked at: an outage of the pipelines is not a week of traffic."""
ROWS_MAX = 20_000_000
"""Some eight minutes of reading, of the half hour that the task has."""
_RETRAINS_READ = 20


@dataclass(frozen=True, slots=True)
class Renewal:
    """What became of it."""

    digest: str
    """Of the new reference; empty where the old one stays."""
    why: str


def renew(database: Database, objects: ObjectStore, task: str, hours: float = RENEW_HOURS) -> Renewal:
    """
    The reference of the last `hours`, in the place of the current one, if another bundle wrote all of them.

    It keeps the rules of the one before, and is calibrated anew by them, so its false alarms are as rare. Raises
    NoReferenceError or StoreError.
    """
    digest = references.current(objects)
    if digest is None:
        raise NoReferenceError("there is no drift reference to renew: make one with `adloom drift reference`")
    old = references.load(objects, digest)
    with database.connect() as connection:
        found = _stretch(connection, task, old, timedelta(hours=hours))
    if isinstance(found, str):
        return Renewal("", found)
    try:
        made = references.from_log(Stretch(objects, *found), old.rules)
    except NoReferenceError as error:
        return Renewal("", f"not yet: {error}")
    best = _best_validity(old)
    if worse := _worse(made.validity_mean, best, old.rules.validity_margin):
        return Renewal("", worse)
    best_now = max(mean for mean in (best, made.validity_mean) if mean is not None)
    made = replace(made, source={**made.source, "before": digest, "best_validity": f"{best_now:.6f}"})
    new, _ = references.keep(objects, made)
    return Renewal(new, f"{found[0]:%Y-%m-%d %H:%M} to {found[1]:%Y-%m-%d %H:%M} is what windows are compared with now")


def _stretch(connection: Connection, task: str, old: Reference, length: timedelta) -> tuple[datetime, datetime] | str:
    """From when until when to make it of, or why not; by the reports alone, since this is asked every hour."""
    source = old.source
    newest = drift_reports.newest(connection, "online", task)
    if newest is None or "bundle" not in source:
        return "only a reference of traffic that says which bundle wrote it is renewed"
    start, end = newest.window_end - length, newest.window_end
    windows = drift_reports.since(connection, task, "online", start)
    bundle = main_bundle(_written(windows))
    if bundle == source["bundle"]:
        return "the bundle that it was made of writes still"
    if not bundle or any(main_bundle(written) not in ("", bundle) for written in map(_bundles, windows)):
        return f"no bundle has written {MAIN_SHARE_MIN:.0%} of the traffic for {length} yet"
    covered = sum((window.window_end - window.window_start for window in _apart(windows)), timedelta())
    if covered < COVERED_MIN * length:
        return f"windows of {covered} were looked at since, and {COVERED_MIN:.0%} of {length} are needed"
    if sum(_written(windows).values()) > ROWS_MAX:
        return "there is too much traffic for a step: choose a stretch with `adloom drift reference`"
    seen = _worse(_seen_validity(windows), _best_validity(old), old.rules.validity_margin)
    return _unproven(connection, task, bundle) or seen or (start, end)


def _unproven(connection: Connection, task: str, bundle: str) -> str:
    """Why a retrain's bundle is not to be what is normal; empty where nothing speaks against it."""
    rows = retrains.last_ended(connection, task, "promoted", limit=_RETRAINS_READ)
    row = next((row for row in rows if row.bundle_digest == bundle), None)
    if row is None or row.helped:
        return ""
    if row.helped is None:
        return f"whether retrain {row.id} helped is not judged yet"
    return f"retrain {row.id}, which writes now, did not help: look at it before `adloom drift reference`"


def _best_validity(old: Reference) -> float | None:
    """Of all references in the line: many small falls are one large one."""
    return float(old.source["best_validity"]) if "best_validity" in old.source else old.validity_mean


def _seen_validity(windows: Sequence[DriftReport]) -> float | None:
    """Mean of the ads, as the windows' reports have it; None where one of them does not say."""
    said = [(window.rows, (window.columns.get("validity") or {}).get("window")) for window in _apart(windows)]
    means = [(rows, mean) for rows, mean in said if mean is not None]
    rows_seen = sum(rows for rows, _ in means)
    return sum(rows * mean for rows, mean in means) / rows_seen if rows_seen and len(means) == len(said) else None


def _worse(mean: float | None, best: float | None, margin: float) -> str:
    if mean is None or best is None or mean >= best - margin:
        return ""
    return (
        f"validity is {mean:.3f}, and {best:.3f} was normal before: if it is to be so from now on, say it with "
        "`adloom drift reference`"
    )


def _bundles(window: DriftReport) -> Counter[str]:
    return Counter(window.columns.get("bundles", {}))


def _written(windows: Sequence[DriftReport]) -> Counter[str]:
    return sum(map(_bundles, _apart(windows)), Counter())


def _apart(windows: Sequence[DriftReport]) -> list[DriftReport]:
    """Each time once: a window that was compared with two references has two reports."""
    found: list[DriftReport] = []
    for window in windows:
        if not found or window.window_start >= found[-1].window_end:
            found.append(window)
    return found
