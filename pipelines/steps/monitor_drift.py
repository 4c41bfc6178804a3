"""
Compare a window of the generation log, or a snapshot, with the drift reference; keep the report.

The reference is made of ordinary traffic: `reference` makes it, and calibrates its limits. It is renewed once another
bundle has written a week of the log. Pages of reports go after 90 days.

example:
  adloom drift reference --since 2026-01-01T00:00:00Z --until 2026-01-08T00:00:00Z
  adloom drift          # also adloom monitor-drift, as the DAG calls it
  adloom drift --mode batch --snapshot DIGEST
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from model.store import drift_reports
from model.store.drift_reports import DriftReport, Mode
from model.store.objects import ObjectStore, ObjectStoreDownError
from model.store.tables import Database, snapshots
from pipelines.drift import reference as references
from pipelines.drift import renewal, retention
from pipelines.drift.log import Stretch
from pipelines.drift.monitoring import SnapshotLines, compare
from pipelines.drift.reference import NoReferenceError
from pipelines.drift.reports import Window, report_id
from pipelines.drift.rules import DriftRules
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import give, parser, say

LATE_SECONDS = 300.0
"""A window is looked at this long after its end: the service writes its log in files, the last of them late."""
WINDOW_SECONDS = 3600.0


def main(argv: Sequence[str] | None = None) -> int:
    """0: a verdict was given, whichever; 2: wrong arguments. Raises NoReferenceError, StoreError or ValueError."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["reference"]:
        return _make_reference(_reference_parser().parse_args(given[1:]))
    return _monitor(_parser().parse_args(given))


def _parser() -> argparse.ArgumentParser:
    made = parser("drift", __doc__)
    add = made.add_argument
    add("--mode", choices=("online", "batch"), default="online", help="the log or a snapshot (default: %(default)s)")
    add("--since", type=_time, metavar="TIME", help="begin of the window (default: the last whole window)")
    add("--until", type=_time, metavar="TIME", help="end of the window, not part of it")
    add("--window-seconds", type=_seconds, default=WINDOW_SECONDS, help="of the last whole one (default: %(default)g)")
    add("--snapshot", metavar="DIGEST", help="to compare in mode batch (default: the newest)")
    add("--reference", metavar="DIGEST", help="to compare with (default: the current one, which may be renewed)")
    add("--renew-hours", type=_hours, default=renewal.RENEW_HOURS, help="of a new bundle (default: %(default)g)")
    return made


def _reference_parser() -> argparse.ArgumentParser:
    made = parser("drift reference", "Make the drift reference of ordinary traffic or of a snapshot, and calibrate it.")
    add = made.add_argument
    add("--snapshot", metavar="DIGEST", help="inputs alone, from a catalogue")
    add("--since", type=_time, metavar="TIME", help="begin of the traffic")
    add("--until", type=_time, metavar="TIME", help="end of the traffic (default: now)")
    add("--rows-min", type=int, default=DriftRules().rows_min, help="fewer rows get no verdict (default: %(default)s)")
    add("--draws", type=int, default=DriftRules().draws, help="of the bootstrap, each size (default: %(default)s)")
    return made


def _make_reference(arguments: argparse.Namespace) -> int:
    if (arguments.snapshot is None) == (arguments.since is None):
        raise ValueError("name either --snapshot, or --since and --until")
    if arguments.rows_min < 50 or arguments.draws < 200:
        raise ValueError("a reference needs --rows-min of 50 at least, and --draws of 200: fewer prove nothing")
    settings = PipelineSettings()
    objects = settings.open_objects()
    rules = replace(DriftRules(), rows_min=arguments.rows_min, draws=arguments.draws)
    rules = replace(
        rules, sizes=tuple(sorted({rules.rows_min, *(size for size in rules.sizes if size > rules.rows_min)}))
    )
    say("measuring, then some seconds of bootstrap")
    if arguments.snapshot is not None:
        lines = SnapshotLines(objects, arguments.snapshot)
        made = references.from_products(arguments.snapshot, lines, rules)
    else:
        made = references.from_log(Stretch(objects, arguments.since, arguments.until or datetime.now(UTC)), rules)
    digest, is_new = references.keep(objects, made)
    rows = {f"{side}_rows": table.rows for side, table in made.tables.items()}
    alarms = made.calibration.alarms_a_month(0)
    give(
        {"outcome": "kept" if is_new else "unchanged", "reference": digest, **rows, "alarms_a_month": round(alarms, 3)}
    )
    return 0


def _monitor(arguments: argparse.Namespace) -> int:
    settings = PipelineSettings()
    with ExitStack() as stack:
        database, objects = settings.open_database(), settings.open_objects()
        stack.callback(database.dispose)
        known, outcome = _report(database, objects, arguments)
        say(f"{known.verdict}: {known.why}")
        renewed = _renew(database, objects, arguments)
        expired = _expire(database, objects)
    give(
        {
            "outcome": outcome, "report": known.id, "verdict": known.verdict, "hurts": known.hurts,
            "share": known.share, "rows": known.rows, "reference": known.reference, "key": known.report_key,
            "renewed": renewed, "expired": expired,
        }
    )  # fmt: skip
    return 0


def _renew(database: Database, objects: ObjectStore, arguments: argparse.Namespace) -> str:
    """Digest of the new reference; empty where the old one stays, or another than the current one was asked for."""
    if arguments.mode != "online" or arguments.reference:
        return ""
    found = renewal.renew(database, objects, TASK, arguments.renew_hours)
    say(f"the reference is {'renewed' if found.digest else 'kept'}: {found.why}")
    return found.digest


def _expire(database: Database, objects: ObjectStore) -> int:
    """Reports whose objects went. A store that lets nothing be removed spoils no verdict."""
    try:
        return retention.expire(database, objects, datetime.now(UTC))
    except ObjectStoreDownError as error:
        say(f"old reports stay: {error}")
        return 0


def _report(database: Database, objects: ObjectStore, arguments: argparse.Namespace) -> tuple[DriftReport, str]:
    """Of the window that was asked for, and whether it is new."""
    digest = arguments.reference or references.current(objects)
    if digest is None:
        raise NoReferenceError(
            "there is no drift reference: make one of ordinary traffic with `adloom drift reference`"
        )
    window = _snapshot_window(database, arguments.snapshot) if arguments.mode == "batch" else _log_window(arguments)
    known_id = report_id(TASK, window, digest)
    with database.connect() as connection:
        known = drift_reports.find(connection, known_id)
    if known is not None:
        return known, "unchanged"
    say(f"comparing {window.said} with the reference {digest[:12]}")
    return compare(database, objects, TASK, window, digest), "kept"


def _snapshot_window(database: Database, digest: str | None) -> Window:
    columns = snapshots.c.digest, snapshots.c.created_at
    query = sa.select(*columns).order_by(snapshots.c.created_at.desc(), snapshots.c.digest).limit(1)
    if digest is not None:
        query = sa.select(*columns).where(snapshots.c.digest == digest).order_by(snapshots.c.created_at).limit(1)
    with database.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise ValueError("there is no such snapshot: `adloom ingest` makes them")
    return Window("batch", row.created_at, row.created_at, row.digest)


def _log_window(arguments: argparse.Namespace) -> Window:
    if (arguments.since is None) != (arguments.until is None):
        raise ValueError("name both --since and --until, or neither")
    mode: Mode = "online"
    if arguments.since is not None:
        return Window(mode, arguments.since, arguments.until)
    length = timedelta(seconds=arguments.window_seconds)
    settled = datetime.now(UTC) - timedelta(seconds=LATE_SECONDS)
    beginning = datetime(1970, 1, 1, tzinfo=UTC)
    end = beginning + (settled - beginning) // length * length
    return Window(mode, end - length, end)


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError("a time needs its offset from UTC, such as 2026-01-15T12:00:00Z")
    return found.astimezone(UTC)


def _hours(text: str) -> float:
    hours = float(text)
    if not 1 <= hours <= 24 * 31:
        raise argparse.ArgumentTypeError("a reference is made of 1 to 744 hours")
    return hours


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 31 * 86400:
        raise argparse.ArgumentTypeError("a window is 1 second to 31 days long")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
