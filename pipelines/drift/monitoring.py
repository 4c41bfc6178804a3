"""
One window from the log or a snapshot to a kept report.

Reads everything in a stream: what stays of a record is some fifty bytes of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model.store.drift_reports import DriftReport
from model.store.objects import ObjectMissingError, ObjectStore
from model.store.tables import Database
from pipelines.drift import reference as references
from pipelines.drift.ad_record import BadRecordError, Measurer, ProductSeen, product_of
from pipelines.drift.judgement import judge
from pipelines.drift.log import Stretch
from pipelines.drift.reference import Reference
from pipelines.drift.reports import Window, keep_report


def compare(database: Database, objects: ObjectStore, task: str, window: Window, digest: str) -> DriftReport:
    """The report of the window against that reference, kept. Raises NoReferenceError, StoreError or ValueError."""
    reference = references.load(objects, digest)
    measurer, skipped = measure(objects, window, reference)
    measured = measurer.table()
    judgement = judge(reference, measured)
    return keep_report(database, objects, task, window, digest, reference, measured, judgement, measurer, skipped)


def measure(objects: ObjectStore, window: Window, reference: Reference) -> tuple[Measurer, int]:
    """All of the window, and how many lines were passed over."""
    measurer = Measurer(reference.yardstick)
    if window.mode == "batch":
        lines = SnapshotLines(objects, window.source)
        for product in lines:
            measurer.add_product(product)
        return measurer, lines.skipped
    stretch = Stretch(objects, window.start, window.end)
    for record in stretch.records():
        measurer.add(record)
    return measurer, stretch.skipped


@dataclass(slots=True)
class SnapshotLines:
    """Products of a snapshot. Raises ValueError where there is none of that digest."""

    objects: ObjectStore
    digest: str
    skipped: int = 0
    """Lines that are no product, the latest time."""

    def __iter__(self) -> Iterator[ProductSeen]:
        self.skipped = 0
        try:
            for line in self.objects.open_lines(f"catalogue/{self.digest}.jsonl"):
                try:
                    yield product_of(line)
                except BadRecordError:
                    self.skipped += 1
        except ObjectMissingError as error:
            raise ValueError("there is no snapshot of that digest: `adloom ingest` tells those it keeps") from error
