"""
Write one shard of a plan, part by part; a worker that is killed loses the part it was at.

A part is kept in the database, then logged, then put: whoever writes it again writes the same and keeps nothing twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from model.bundle import Bundle
from model.channel import ChannelSpec, channel
from model.creative import Creative
from model.generation_record import generation
from model.kept_rows import kept_rows
from model.product import Product
from model.store import creatives
from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines.shards import Orders, Plan, PlanError, read_products, shard_of

PART_PRODUCTS = 16
"""Some ten seconds of work with the real model: what a kill may cost."""
ATTEMPTS = 2
"""What fails a writer twice fails it always: the same product and seed give the same words."""


class WriterSettings(BaseSettings):
    """What the service reads of the same variables, so that a batch's passports are those of a request's."""

    model_config = SettingsConfigDict(env_prefix="ADLOOM_", frozen=True, extra="forbid")

    bundle: Path = Path(".adloom/bundle")
    """Folder of the published model."""

    threads: int = Field(default=0, ge=0, le=256)
    """Threads of the engine; 0 leaves the choice to it."""

    git_commit: str = ""
    image_digest: str = ""
    registry_version: str = ""


class WritesAds(Protocol):
    """`model.writer.Writer`, and the fakes of the tests."""

    @property
    def alive(self) -> bool:
        """Whether the next call can succeed."""
        ...

    def write(
        self, product: Product, spec: ChannelSpec, *, voice: str, candidates: int, seed: int, interactive: bool
    ) -> tuple[Creative, ...]:
        """Best first."""
        ...


class WriterDownError(RuntimeError):
    """The engine has died: no product's fault. Run the shard again."""


@dataclass(frozen=True, slots=True)
class Item:
    """What came of one product."""

    place: int
    """In the snapshot, from 0."""
    product: Product
    written: tuple[Creative, ...] = ()
    error: str = ""
    took_seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """A line of the result, as a batch's results over HTTP have it."""
        return {
            "place": self.place,
            "sku": self.product.sku,
            "state": "failed" if self.error else "done",
            "creatives": [creative.as_dict() for creative in self.written],
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class ShardDone:
    """What was done for a shard."""

    outcome: Literal["written", "unchanged"]
    resumed: int
    """Products that an earlier worker had finished."""


def require_same_program(plan: Plan, bundle: Bundle, settings: WriterSettings) -> None:
    """Raises PlanError where passports would not be those that the plan fixes."""
    here = orders_of(plan.orders, bundle, settings)
    if here.bundle_digest != plan.orders.bundle_digest:
        raise PlanError(
            f"the plan is for bundle {plan.orders.bundle_digest[:12]} and {here.bundle_digest[:12]} is here: "
            "make a new plan, or put the plan's bundle back (ADLOOM_BUNDLE)"
        )
    if here != plan.orders:
        raise PlanError("the plan was made by another version of this program: make a new plan")


def orders_of(orders: Orders, bundle: Bundle, settings: WriterSettings) -> Orders:
    """The same orders, to this program with this bundle."""
    return Orders(
        channels=orders.channels,
        voice=orders.voice,
        candidates=orders.candidates,
        seed=orders.seed,
        bundle_digest=bundle.digest,
        git_commit=settings.git_commit,
        image_digest=settings.image_digest,
        registry_version=settings.registry_version,
    )


class ShardWriter:
    """One shard of one plan. The writer is opened when there is something to write, which takes seconds."""

    def __init__(
        self,
        plan: Plan,
        shard: int,
        *,
        database: Database,
        objects: ObjectStore,
        open_writer: Callable[[], WritesAds],
        writers: int = 2,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises PlanError for a shard that the plan has not; `writers` products are written at once."""
        if not 0 <= shard < len(plan.shards):
            raise PlanError(f"this plan has shards 0 to {len(plan.shards) - 1}")
        self._plan = plan
        self._shard = shard
        self._database = database
        self._objects = objects
        self._open_writer = open_writer
        self._writer: WritesAds | None = None
        self._pool = ThreadPoolExecutor(writers)
        self._now = now

    def run(self, tell: Callable[[int], None] = lambda _products: None) -> ShardDone:
        """Write what is missing; `tell` hears how many products are done. Raises StoreError, WriterDownError."""
        if self._objects.list(self._plan.shard_key(self._shard)):
            return ShardDone("unchanged", self._plan.shards[self._shard])
        with self._pool:
            resumed = self._write_parts(tell)
        lines = b"".join(self._objects.get(key) for key in self._part_keys())
        self._objects.put(self._plan.shard_key(self._shard), lines)
        return ShardDone("written", resumed)

    def _part_keys(self) -> list[str]:
        """By number, because names sort as numbers do; none of a part that this plan cannot have."""
        count = -(-self._plan.shards[self._shard] // PART_PRODUCTS)
        return [self._plan.part_key(self._shard, number) for number in range(count)]

    def _write_parts(self, tell: Callable[[int], None]) -> int:
        finished = set(self._objects.list(self._plan.parts_prefix(self._shard)))
        resumed = done = 0
        rest = self._products()
        for number, key in enumerate(self._part_keys()):
            chunk = list(islice(rest, PART_PRODUCTS))
            if key in finished:
                resumed += len(chunk)
            else:
                self._write_part(number, chunk)
            done += len(chunk)
            tell(done)
        return resumed

    def _products(self) -> Iterator[tuple[int, Product]]:
        count = len(self._plan.shards)
        for place, product in read_products(self._objects, self._plan.object_key):
            if shard_of(product.sku, count) == self._shard:
                yield place, product

    def _write_part(self, number: int, chunk: Sequence[tuple[int, Product]]) -> None:
        writer = self._writer = self._writer or self._open_writer()
        items = list(self._pool.map(lambda one: self._write(writer, *one), chunk))
        items, kept = self._keep(items)
        self._log(number, items, kept)
        self._objects.put(self._plan.part_key(self._shard, number), _json_lines([item.as_dict() for item in items]))

    def _write(self, writer: WritesAds, place: int, product: Product) -> Item:
        """What came of the product. Raises WriterDownError alone."""
        started_seconds = time.perf_counter()
        error: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                written = tuple(self._best(writer, product, name) for name in self._plan.orders.channels)
                return Item(place, product, written, took_seconds=time.perf_counter() - started_seconds)
            except Exception as raised:
                if not writer.alive:
                    raise WriterDownError("the writer's engine has stopped: run the shard again") from raised
                error = raised
        return Item(place, product, error=f"could not be written ({type(error).__name__})")

    def _best(self, writer: WritesAds, product: Product, name: str) -> Creative:
        orders = self._plan.orders
        ranked = writer.write(
            product,
            channel(name),
            voice=orders.voice,
            candidates=orders.candidates,
            seed=orders.seed,
            interactive=False,
        )
        return ranked[0]

    def _keep(self, items: Sequence[Item]) -> tuple[list[Item], dict[str, datetime]]:
        """The items as they are kept, and when each creative that is this plan's was kept first."""
        at = self._now()
        try:
            with self._database.begin() as connection:
                return list(items), self._insert(connection, items, at)
        except SQLAlchemyError:  # of data that the database does not take; one that is down raises StoreError
            return self._keep_singly(items, at)

    def _keep_singly(self, items: Sequence[Item], at: datetime) -> tuple[list[Item], dict[str, datetime]]:
        known: list[Item] = []
        kept: dict[str, datetime] = {}
        for item in items:
            try:
                with self._database.begin() as connection:
                    kept |= self._insert(connection, [item], at)
                known.append(item)
            except SQLAlchemyError as error:
                refused = f"the database does not take it ({type(error).__name__})"
                known.append(Item(item.place, item.product, error=refused))
        return known, kept

    def _insert(self, connection: Connection, items: Sequence[Item], at: datetime) -> dict[str, datetime]:
        plan = self._plan
        rows = [row for item in items for row in kept_rows(plan.client, item.product, item.written, plan.id, at=at)]
        creatives.insert(connection, rows)
        found = creatives.find_many(connection, plan.client, [row.id for row in rows])
        return {creative_id: row.created_at for creative_id, row in found.items() if row.batch_id == plan.id}

    def _log(self, number: int, items: Sequence[Item], kept: dict[str, datetime]) -> None:
        """A creative that another request or plan kept first was logged there. The same part has the same key."""
        plan = self._plan
        records = [
            generation(plan.client, item.product, one, item.took_seconds, batch_id=plan.id, at=kept[one.id])
            for item in items
            for one in item.written
            if one.id in kept
        ]
        if records:
            name = f"batch-{plan.id}-{self._shard}-{number:06d}.jsonl"
            self._objects.put(f"generations/{max(kept.values()):date=%Y-%m-%d/hour=%H}/{name}", _json_lines(records))


def _json_lines(records: Sequence[dict[str, Any]]) -> bytes:
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    return "".join(lines).encode(errors="backslashreplace")
