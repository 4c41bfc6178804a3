"""
What windows are compared with: rows of ordinary traffic or of a catalogue, and the limits calibrated on them.

Kept in the object store under the digest of its bytes; `drift/reference.json` names the current one. Knows no windows.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.store.objects import ObjectMissingError, ObjectStore
from pipelines.drift.ad_record import COLUMNS, Measurer, ProductSeen, Yardstick, YardstickMaker
from pipelines.drift.calibration import Calibration, ColumnLimits, calibrate
from pipelines.drift.columns import SIDES, Measured, Side, Table, Words, spread_blocks
from pipelines.drift.log import Stretch
from pipelines.drift.rules import DriftRules

FORM = 1
REFERENCES = "drift/references"
CURRENT = "drift/reference.json"
MAIN_SHARE_MIN = 0.95
"""Of the ads of a stretch: the rest is what an old pod wrote during a release."""
_FACTS = b"adloom"
"""Key of our part in the Parquet file's metadata."""


class NoReferenceError(ValueError):
    """There is no reference, or it cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Everything that a window is judged by."""

    source: Mapping[str, str]
    """
    A snapshot's digest; or since, until and the `bundle` that wrote it, empty for several.

    One that was made in the place of another names it as `before`, with the `best_validity` of all in the line.
    """
    rules: DriftRules
    yardstick: Yardstick
    calibration: Calibration
    tables: Measured
    findings_per_thousand: Mapping[str, float]

    @property
    def validity_mean(self) -> float | None:
        """None where it was made from products alone."""
        table = self.tables["output"]
        return float(np.mean(table.numbers["validity"], dtype=np.float64)) if table.rows else None


def from_log(stretch: Stretch, rules: DriftRules) -> Reference:
    """
    The first half is the yardstick, the second half is measured with it, as later windows will be.

    A yardstick made of the same records would find every word known. Raises NoReferenceError where a half is small.
    """
    middle = stretch.middle()
    if middle is None:
        raise NoReferenceError("the generation log has no record of that time: name a stretch with traffic")
    first, second = stretch.until(middle), stretch.after(middle)
    maker = YardstickMaker()
    for record in first.records():
        maker.add(record.product)
    yardstick = maker.made()
    measurer = Measurer(yardstick)
    for record in second.records():
        measurer.add(record)
    source = {"since": stretch.start.isoformat(), "until": stretch.end.isoformat()}
    source["bundle"] = main_bundle(measurer.bundles)
    return _made(source, yardstick, measurer, rules)


def main_bundle(creatives: Mapping[str, int]) -> str:
    """The bundle that wrote nearly all; empty where none did, as during a canary."""
    bundle = max(creatives, key=lambda each: creatives[each], default="")
    return bundle if bundle and creatives[bundle] >= MAIN_SHARE_MIN * sum(creatives.values()) else ""


def from_products(digest: str, products: Iterable[ProductSeen], rules: DriftRules) -> Reference:
    """Of a snapshot: inputs alone. A word counts as known where at least two products have it."""
    kept = list(products)
    maker = YardstickMaker(texts_of_word_min=2)
    for product in kept:
        maker.add(product)
    measurer = Measurer(maker.made())
    for product in kept:
        measurer.add_product(product)
    return _made({"snapshot": digest}, maker.made(), measurer, rules)


def _made(source: Mapping[str, str], yardstick: Yardstick, measurer: Measurer, rules: DriftRules) -> Reference:
    whole = measurer.table()
    for side in SIDES:
        if (side == "input" or whole["output"].rows) and whole[side].rows < rules.rows_min:
            raise NoReferenceError(
                f"a reference needs {rules.rows_min} {side}s at least, and there are {whole[side].rows}: "
                "name a longer stretch of the log, or a larger snapshot"
            )
    tables = {
        side: table.taken(spread_blocks(table.rows, rules.reference_rows_max, rules.block_rows, rules.seed))
        for side, table in whole.items()
    }
    per_thousand = {
        kind: round(1000 * count / whole["output"].rows, 3) for kind, count in sorted(measurer.finding_counts.items())
    }
    return Reference(source, rules, yardstick, calibrate(tables, COLUMNS, rules), tables, per_thousand)


def keep(objects: ObjectStore, reference: Reference) -> tuple[str, bool]:
    """Its digest, and whether the current reference is another one than before."""
    content = _as_parquet(reference)
    digest = hashlib.sha256(content).hexdigest()
    is_new = current(objects) != digest
    objects.put(f"{REFERENCES}/{digest}.parquet", content)
    if is_new:
        objects.put(CURRENT, json.dumps({"reference": digest}).encode())
    return digest, is_new


def current(objects: ObjectStore) -> str | None:
    """Digest of the one in use; None where there never was one. Raises NoReferenceError for a pointer that is none."""
    try:
        digest = json.loads(objects.get(CURRENT))["reference"]
    except ObjectMissingError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise NoReferenceError("the pointer to the drift reference is damaged: make a reference anew") from error
    return str(digest)


def load(objects: ObjectStore, digest: str) -> Reference:
    """Raises NoReferenceError where it is missing, damaged or of another form."""
    try:
        content = objects.get(f"{REFERENCES}/{digest}.parquet")
    except (ObjectMissingError, ValueError) as error:
        raise NoReferenceError(
            "there is no drift reference of that digest: `adloom drift reference` makes one"
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise NoReferenceError("the drift reference is damaged: make it anew with `adloom drift reference`")
    return _from_parquet(content)


def _as_parquet(reference: Reference) -> bytes:
    """Sides have different lengths: the shorter one is filled up with nulls."""
    length = max(table.rows for table in reference.tables.values())
    columns: dict[str, pa.Array] = {}
    for table in reference.tables.values():
        for name, values in table.numbers.items():
            columns[name] = pa.array([*map(float, values), *[None] * (length - table.rows)], pa.float32())
        for name, words in table.words.items():
            said = [words.labels[code] for code in words.codes]
            columns[name] = pa.array([*said, *[None] * (length - table.rows)], pa.string()).dictionary_encode()
    yardstick = asdict(reference.yardstick)
    yardstick |= {name: sorted(yardstick[name]) for name in ("vocabulary", "categories")}
    facts = {
        "form": FORM,
        "source": dict(reference.source),
        "rows": {side: table.rows for side, table in reference.tables.items()},
        "methods": {column.name: column.method for column in COLUMNS},
        "rules": asdict(reference.rules),
        "yardstick": yardstick,
        "calibration": reference.calibration.as_dict(),
        "findings_per_thousand": dict(reference.findings_per_thousand),
    }
    sink = io.BytesIO()
    table = pa.table(columns).replace_schema_metadata({_FACTS: json.dumps(facts, ensure_ascii=False).encode()})
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _from_parquet(content: bytes) -> Reference:
    table = pq.read_table(io.BytesIO(content))
    facts = json.loads(table.schema.metadata[_FACTS])
    if facts["form"] != FORM or facts["methods"] != {column.name: column.method for column in COLUMNS}:
        raise NoReferenceError(
            "the drift reference was made by another version: make it anew with `adloom drift reference`"
        )
    known, rules, calibrated = facts["yardstick"], facts["rules"], facts["calibration"]
    return Reference(
        source=facts["source"],
        rules=DriftRules(**{name: _frozen(value) for name, value in rules.items()}),
        yardstick=Yardstick(frozenset(known["vocabulary"]), tuple(known["centroid"]), frozenset(known["categories"])),
        calibration=Calibration(
            {
                name: ColumnLimits(**{field: _frozen(value) for field, value in limits.items()})
                for name, limits in calibrated["columns"].items()
            },
            {side: tuple(alarms) for side, alarms in calibrated["window_alarms"].items()},
        ),
        tables={side: _side(table, side, facts["rows"][side]) for side in SIDES},
        findings_per_thousand=facts["findings_per_thousand"],
    )


def _side(table: Any, side: Side, rows: int) -> Table:
    own = [column for column in COLUMNS if column.side == side]
    cut = table.slice(0, rows)
    numbers = {column.name: cut.column(column.name).to_numpy().astype(np.float32) for column in own if column.is_number}
    words = {column.name: _words(cut.column(column.name)) for column in own if not column.is_number}
    return Table(numbers, words, rows)


def _words(column: Any) -> Words:
    encoded = column.combine_chunks()
    return Words(encoded.indices.to_numpy().astype(np.int32), tuple(encoded.dictionary.to_pylist()))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
