"""
A catalogue snapshot as shards to be written: what the plan fixes, where each shard's objects lie, whose sku is where.

Knows no writer. A plan is named by its content, so that planning the same again finds the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from model.product import Product, product_from_dict
from model.store.objects import ObjectMissingError, ObjectStore
from model.store.snapshots import Snapshot

SHARDS_MAX = 1_000
SHARD_PRODUCTS_MAX = 50_000
"""A shard's result is put as one object, some 5 kB a product: 250 MB are held at its end."""
PLAN_FORM = 1

_PLAN_KEY = re.compile(r"batches/pl_[0-9a-f]{32}/plan\.json")


class PlanError(ValueError):
    """A plan that cannot be made or worked on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be written, and by which program: all of it ends in passports."""

    channels: tuple[str, ...]
    voice: str
    candidates: int
    seed: int
    bundle_digest: str
    git_commit: str
    image_digest: str
    registry_version: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One snapshot of one client in shards."""

    id: str
    client: str
    snapshot: str
    """Digest."""
    object_key: str
    """Of the snapshot's rows."""
    orders: Orders
    shards: tuple[int, ...]
    """Products of each."""

    @property
    def key(self) -> str:
        """Of the plan itself."""
        return f"{self._folder}/plan.json"

    @property
    def result_key(self) -> str:
        """Of what the whole plan came to."""
        return f"{self._folder}/result.json"

    def shard_key(self, shard: int) -> str:
        """One line a product; there once the shard is whole."""
        return f"{self._folder}/shard-{shard}.jsonl"

    def parts_prefix(self, shard: int) -> str:
        """Of what is finished of a shard."""
        return f"{self._folder}/parts/{shard}/"

    def part_key(self, shard: int, number: int) -> str:
        """One line a product, as in the shard."""
        return f"{self.parts_prefix(shard)}{number:06d}.jsonl"

    @property
    def _folder(self) -> str:
        return f"batches/{self.id}"


def make_plan(objects: ObjectStore, snapshot: Snapshot, orders: Orders, shard_count: int) -> Plan:
    """Count the products of each shard. Raises PlanError or StoreError."""
    if not 1 <= shard_count <= SHARDS_MAX:
        raise PlanError(f"--shards must be from 1 to {SHARDS_MAX:,}")
    hashes = array("Q", (sku_hash(product.sku) for _, product in read_products(objects, snapshot.object_key)))
    found = np.frombuffer(hashes, np.uint64)
    if len(np.unique(found)) != len(found):
        raise PlanError("the snapshot holds a sku twice: upload the catalogue again")
    counts = np.bincount((found % np.uint64(shard_count)).astype(np.int64), minlength=shard_count)
    if counts.max() > SHARD_PRODUCTS_MAX:
        needed = -(-len(found) // (SHARD_PRODUCTS_MAX * 9 // 10))  # shards are not quite of one size
        raise PlanError(f"a shard holds at most {SHARD_PRODUCTS_MAX:,} products: ask for {needed} shards or more")
    named = [PLAN_FORM, snapshot.client, snapshot.digest, asdict(orders), shard_count]
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
    shards = tuple(int(count) for count in counts)
    return Plan(f"pl_{digest[:32]}", snapshot.client, snapshot.digest, snapshot.object_key, orders, shards)


def put_plan(objects: ObjectStore, plan: Plan) -> bool:
    """False where it is there."""
    if objects.list(plan.key):
        return False
    document = {"form": PLAN_FORM, **asdict(plan)}
    objects.put(plan.key, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return True


def read_plan(objects: ObjectStore, key: str) -> Plan:
    """Raises PlanError or StoreError."""
    if not _PLAN_KEY.fullmatch(key):
        raise PlanError("--plan takes the key that `adloom generate-batch plan` printed: batches/pl_.../plan.json")
    try:
        table = json.loads(objects.get(key))
        if table.pop("form") != PLAN_FORM:
            raise PlanError("the plan is of another version of this program: make it again")
        orders = table.pop("orders")
        orders["channels"] = tuple(orders["channels"])
        return Plan(orders=Orders(**orders), shards=tuple(table.pop("shards")), **table)
    except ObjectMissingError:
        raise PlanError("there is no such plan: `adloom generate-batch plan` makes one and prints its key") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError("the plan cannot be read: make it again") from error


def read_products(objects: ObjectStore, object_key: str) -> Iterator[tuple[int, Product]]:
    """The products of a snapshot, each with its place from 0. Raises PlanError or StoreError."""
    try:
        for place, line in enumerate(objects.open_lines(object_key)):
            yield place, product_from_dict(json.loads(line))
    except ObjectMissingError:
        raise PlanError("the snapshot's rows are gone from the object store: upload the catalogue again") from None
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError("the snapshot holds a line that is no product: upload the catalogue again") from error


def sku_hash(sku: str) -> int:
    """64 bits, the same on every machine and in every version."""
    return int.from_bytes(hashlib.sha256(sku.encode(errors="surrogatepass")).digest()[:8])


def shard_of(sku: str, shard_count: int) -> int:
    """The one shard that writes this sku."""
    return sku_hash(sku) % shard_count
