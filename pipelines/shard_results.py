"""
Whether a plan is done: every sku of its snapshot exactly once, and what all the ads came to.

Reads the shards' objects one by one; the same shards give the same result, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from model.store.objects import ObjectMissingError, ObjectStore
from pipelines.shards import Plan, read_products, sku_hash

SHOWN_MAX = 20
"""Of whatever there may be thousands of."""

Hashes = npt.NDArray[np.uint64]


@dataclass(slots=True)
class _Channel:
    creatives: int = 0
    validity: float = 0.0


@dataclass(slots=True)
class Totals:
    """What was written, summed over the shards."""

    written: int = 0
    failed: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)
    findings: Counter[str] = field(default_factory=Counter)
    channels: dict[str, _Channel] = field(default_factory=dict)

    def add(self, line: Mapping[str, Any]) -> None:
        """Take one product's line in."""
        if line["state"] == "failed":
            self.failed += 1
            if len(self.errors) < SHOWN_MAX:
                self.errors.append({"sku": line["sku"], "error": line["error"]})
            return
        self.written += 1
        for creative in line["creatives"]:
            of_channel = self.channels.setdefault(creative["channel"], _Channel())
            of_channel.creatives += 1
            of_channel.validity += creative["validity"]
            self.findings.update(finding["kind"] for finding in creative["findings"])


@dataclass(frozen=True, slots=True)
class Collected:
    """A plan's shards, looked through."""

    missing_shards: tuple[int, ...]
    missing: int
    """Skus of the snapshot that no shard has."""
    missing_shown: tuple[str, ...]
    doubled: int
    """Lines too many: a sku twice, or one that the snapshot has not."""
    totals: Totals
    document: dict[str, Any]

    @property
    def is_whole(self) -> bool:
        """Every sku exactly once."""
        return not (self.missing_shards or self.missing or self.doubled)


def collect(objects: ObjectStore, plan: Plan) -> Collected:
    """Look through every shard. Raises PlanError or StoreError."""
    totals, found, shards = Totals(), array("Q"), []
    for shard in range(len(plan.shards)):
        try:
            content = objects.get(plan.shard_key(shard))
        except ObjectMissingError:
            continue
        for line in map(json.loads, content.splitlines()):
            totals.add(line)
            found.append(sku_hash(line["sku"]))
        digest = hashlib.sha256(content).hexdigest()
        shards.append({"shard": shard, "key": plan.shard_key(shard), "sha256": digest})
    there = {entry["shard"] for entry in shards}
    written = _sorted(found)
    expected = _sorted(array("Q", (sku_hash(product.sku) for _, product in read_products(objects, plan.object_key))))
    lacking = np.setdiff1d(expected, written)
    return Collected(
        missing_shards=tuple(shard for shard in range(len(plan.shards)) if shard not in there),
        missing=len(lacking),
        missing_shown=_shown(objects, plan, lacking),
        doubled=len(written) - len(np.intersect1d(expected, written)),
        totals=totals,
        document=_document(plan, totals, shards),
    )


def put_result(objects: ObjectStore, plan: Plan, document: Mapping[str, Any]) -> bool:
    """False where the same is there."""
    content = (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    if objects.list(plan.result_key) and objects.get(plan.result_key) == content:
        return False
    objects.put(plan.result_key, content)
    return True


def _sorted(hashes: array[int]) -> Hashes:
    return np.sort(np.frombuffer(hashes, np.uint64))


def _shown(objects: ObjectStore, plan: Plan, lacking: Hashes) -> tuple[str, ...]:
    """Names of the first that are missing: another pass, which only a plan that is not done costs."""
    if not len(lacking):
        return ()
    wanted = {int(each) for each in lacking[:SHOWN_MAX]}
    skus = (product.sku for _, product in read_products(objects, plan.object_key))
    return tuple(sku for sku in skus if sku_hash(sku) in wanted)


def _document(plan: Plan, totals: Totals, shards: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    creatives = sum(each.creatives for each in totals.channels.values())
    validity = sum(each.validity for each in totals.channels.values())
    return {
        "plan": plan.id,
        "client": plan.client,
        "snapshot": plan.snapshot,
        "orders": asdict(plan.orders),
        "products": sum(plan.shards),
        "written": totals.written,
        "failed": totals.failed,
        "errors": totals.errors,
        "creatives": creatives,
        "validity_mean": _mean(validity, creatives),
        "findings": dict(sorted(totals.findings.items())),
        "channels": {
            name: {"creatives": each.creatives, "validity_mean": _mean(each.validity, each.creatives)}
            for name, each in sorted(totals.channels.items())
        },
        "shards": list(shards),
    }


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 6) if count else None
