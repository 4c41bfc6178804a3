"""
Tell the service what registry and promotion ledger say, by writing it to the service's database.

Whoever changes them calls `publish_after`, which never fails; `adloom models publish` mends what it could not do.
Knows no rule about who becomes champion.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from model.heldout_samples import SamplesError, read_samples, shown
from model.ledger import LEDGER, Entry, Ledger, LedgerError, registry_folder
from model.promotion import is_known
from model.registry import Registry, RegistryError, Version, is_empty, open_registry
from model.store import model_versions
from model.store.database_command import URL_DEFAULT, URL_VARIABLE
from model.store.migrations import MigrationError
from model.store.model_versions import FullVersionRow, GateVerdict, PromotionRow, Score
from model.store.tables import Database, StoreConflictError, StoreError
from model.submission import finite

TASK = "ad_writer"
"""What the pipelines call the model of this registry."""
VERSIONS_MAX = 200
CARD_BYTES_MAX = 256 * 1024
CUT = "\n\n(The rest of this card is too long to be shown: `adloom models card` prints it.)\n"
SCORES_MAX = 50
REASONS_MAX = 20
SECONDS_MAX = 60.0
"""Of reading. What is known of older versions is not read again, so it takes a second or two."""
ATTEMPTS = 5
"""Somebody else may publish between our reading and writing; five times in a row is not chance."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """What the service was told."""

    versions: int
    lines: int | None
    """Of the ledger; None where there is none at hand, or not this registry's: the service keeps what it has."""
    faults: tuple[str, ...]
    """What could not be read, one sentence each: those versions are shown without it."""


@dataclass(slots=True)
class _Reading:
    """One look at the registry, with what is known from the look before."""

    registry: Registry
    known: Mapping[int, FullVersionRow]
    afresh: bool
    deadline: float
    faults: list[str] = field(default_factory=list)


def publish(registry: Registry, ledger: Ledger, database: Database, *, afresh: bool = False) -> Published:
    """
    Replace what the service knows by what registry and ledger say now; two who do so at once leave the newer picture.

    `afresh` reads scores, cards and samples of every version again, and not only of new ones. Raises RegistryError,
    LedgerError or StoreError, and then the service keeps the picture that it has.
    """
    _ready(database)
    deadline = time.monotonic() + SECONDS_MAX
    for _ in range(ATTEMPTS):
        edition, known = _known(database)
        # Who registers where no gate runs has no ledger, and a registry is told of one at the first promotion.
        entries = ledger.entries() if ledger.path.is_file() and is_known(registry, ledger) else None
        reading = _Reading(registry, known, afresh, deadline)
        versions = _versions(reading, entries)
        lines = None if entries is None else _lines(entries)
        if _written(database, edition, versions, lines):
            return Published(len(versions), None if lines is None else len(lines), tuple(reading.faults))
    raise StoreError("others published at the same time, again and again: try again")


def publish_after(folder: Path, url: str = "") -> None:
    """
    Publish the registry in `folder` after a change of it, to the database that `url` or the environment names.

    Never raises: the change has been made, whatever becomes of this. What went wrong is one line on stderr, with what
    to do about it.
    """
    chosen = url or service_database(folder, os.environ)
    if not chosen or is_empty(folder):
        return
    try:
        database = Database(chosen)
        try:
            published = publish(open_registry(folder), Ledger(folder / LEDGER), database)
        finally:
            database.dispose()
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not undo or hide the change before it
        _warn(f"the service was not told of this change: {_reason(error)}; the change stands")
        return
    for fault in published.faults:
        _warn(f"the service shows a version without something: {fault}")


def service_database(folder: Path, environ: Mapping[str, str]) -> str:
    """
    Where the service keeps things; "" where nobody named it and `folder` is not the registry of this place either.

    Otherwise a trial in some other folder would take the place of what the service of this folder shows.
    """
    if url := environ.get(URL_VARIABLE):
        return url
    ours = registry_folder(environ)
    return URL_DEFAULT if folder.resolve() == ours.resolve() else ""


def _ready(database: Database) -> None:
    """Make the tables of an embedded database. Raises StoreError where a shared one lacks them."""
    if database.is_sqlite:
        database.upgrade()
        return
    current, head = database.schema()
    if current < head:
        raise StoreError(
            f"the database is at revision {current or 'none'}, and {head} is needed: run `adloom database upgrade`"
        )


def _known(database: Database) -> tuple[int, dict[int, FullVersionRow]]:
    """The edition that the service has, and its versions by number."""
    with database.connect() as connection:
        edition = model_versions.edition(connection, TASK)
        numbers = [row.number for row in model_versions.listed(connection, TASK, VERSIONS_MAX)]
        rows = [model_versions.find(connection, TASK, number) for number in numbers]
    return edition, {row.number: row for row in rows if row is not None}


def _written(
    database: Database, edition: int, versions: Sequence[FullVersionRow], lines: Sequence[PromotionRow] | None
) -> bool:
    try:
        with database.begin() as connection:
            return model_versions.replace(connection, TASK, edition, datetime.now(UTC), versions, lines)
    except StoreConflictError:
        return False


def _versions(reading: _Reading, entries: Sequence[Entry] | None) -> list[FullVersionRow]:
    """The newest of them. Raises RegistryError where the registry went away in the middle."""
    verdicts = _verdicts(entries or ())
    rows = []
    for one in reading.registry.versions()[-VERSIONS_MAX:]:
        known = reading.known.get(one.number)
        gate = verdicts.get(one.number) if entries is not None else known.gate if known else None
        rows.append(replace(_version(reading, one, known), gate=gate))
    if not reading.faults:
        return rows
    # One that was deleted while we read is no fault, and a registry that is gone is none of one version.
    left = {one.number for one in reading.registry.versions()}
    return [row for row in rows if row.number in left]


def _version(reading: _Reading, one: Version, known: FullVersionRow | None) -> FullVersionRow:
    """Its gate's verdict is left out."""
    same = known if known and (known.run_id, known.bundle_digest) == (one.run_id, one.bundle) else None
    has_samples = "samples_sha256" in one.tags
    scores = same.scores if same else {}
    card = same.card if same else ""
    samples = same.samples if same else []
    # None of the three changes in a version's life.
    if reading.afresh or not scores:
        scores = _read(reading, one, lambda: _scores(reading.registry.report(one, "scores.json"))) or scores
    if reading.afresh or not card:
        card = _read(reading, one, lambda: _card(reading.registry.card(one))) or card
    if has_samples and (reading.afresh or not samples):
        samples = _read(reading, one, lambda: read_samples(reading.registry.report(one, "samples.json"))) or samples
    return FullVersionRow(
        number=one.number,
        aliases=list(one.aliases),
        created_at=datetime.fromisoformat(one.created),
        bundle_digest=one.bundle,
        dataset_digest=one.tags.get("dataset", ""),
        git_commit=one.tags.get("git_commit", ""),
        run_id=one.run_id,
        certificate=one.tags.get("certificate", ""),
        scores=scores,
        gate=None,
        card=card,
        samples=samples,
    )


def _read(reading: _Reading, one: Version, read: Callable[[], T]) -> T | None:
    """What `read` gives; None and a fault where that version's file is gone, changed or of another form."""
    if time.monotonic() > reading.deadline:
        raise RegistryError(f"the registry took longer than {SECONDS_MAX:g} s")
    try:
        return read()
    except (RegistryError, SamplesError, OSError, ValueError) as error:
        reading.faults.append(f"version {one.number}: {error}")
        return None


def _scores(report: Mapping[str, Any]) -> dict[str, Score]:
    """Those that have a mean."""
    found: dict[str, Score] = {}
    for name, figures in list(report.get("scores", {}).items())[:SCORES_MAX]:
        mean = finite(figures.get("mean")) if isinstance(figures, Mapping) else None
        if mean is not None:
            found[shown(str(name))] = {
                "mean": mean, "low": finite(figures.get("low")), "high": finite(figures.get("high"))
            }  # fmt: skip
    return found


def _card(text: str) -> str:
    """Whole, or as many whole lines as there is room for."""
    card = text.replace("\0", "")
    if len(card.encode()) <= CARD_BYTES_MAX:
        return card
    room = card.encode()[: CARD_BYTES_MAX - len(CUT.encode())].decode("utf-8", "ignore")
    return (room.rpartition("\n")[0] or room) + CUT


def _verdicts(entries: Sequence[Entry]) -> dict[int, GateVerdict]:
    """What the gate said last of each version."""
    found: dict[int, GateVerdict] = {}
    for entry in entries:
        if entry.target is not None and entry.verdict is not None:
            reasons = [shown(str(reason)) for reason in entry.verdict.get("reasons", ())][:REASONS_MAX]
            found[entry.target] = {"passed": entry.verdict.get("passed") is True, "reasons": reasons}
    return found


def _lines(entries: Sequence[Entry]) -> list[PromotionRow]:
    """The newest of them."""
    numbered = list(enumerate(entries, start=1))[-model_versions.LINES_MAX :]
    return [
        PromotionRow(
            line=number,
            time=datetime.fromisoformat(entry.time),
            who=shown(entry.who),
            action=entry.action,
            state=entry.state,
            source="" if entry.source is None else str(entry.source),
            target="" if entry.target is None else str(entry.target),
            why=shown(entry.why),
            note=shown(entry.note),
        )
        for number, entry in numbered
    ]


def _reason(error: Exception) -> str:
    """Of an error that is ours, its message; of any other only its name: what it says may hold an address or SQL."""
    ours = (StoreError, RegistryError, LedgerError, MigrationError, ValueError)
    return str(error) if isinstance(error, ours) else type(error).__name__


def _warn(what: str) -> None:
    sys.stderr.write(f"adloom: warning: {what}; run `adloom models publish` to mend it\n")
