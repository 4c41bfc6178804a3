"""
Threads that work on batches: claim them for a while, have their products written, keep each result exactly once.

Knows no HTTP. Whatever this process was doing when it died is waiting in the database, for whoever claims it next.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from app.batch_rota import Held, Rota
from app.settings import Settings
from app.studio import WritesCreatives
from model.channel import channel
from model.creative import Creative
from model.kept_rows import kept_rows
from model.product import Product, product_from_dict
from model.store import batches, creatives
from model.store.batches import BatchItem, BatchRow
from model.store.tables import Database, StoreError
from model.store.write_queue import WriteQueue
from model.tickets import CancelledError, unwatched

LEASE_SECONDS = 30.0
"""A batch whose process died waits this long for another one. It is renewed three times as often."""
POLL_IDLE_SECONDS, POLL_BUSY_SECONDS = 0.5, 1.0
"""Between two looks for new batches. Whoever is idle looks more often, so that replicas share what comes."""
HELD_MAX = 64
"""Batches that one process works on in turns; more of them wait in the database."""
FETCHED = 16
"""Items of a batch read ahead."""
ATTEMPTS = 3
"""
Of one product, over all processes that tried. The writer is deterministic, so what failed by itself fails again: the
others are for what an attempt only witnessed, an engine that broke under another request or a process that was killed.
"""
BACKOFF_SECONDS = (0.1, 5.0)
"""First and longest wait for a database that is away."""
JOIN_SECONDS_MAX = 10.0
"""How long `close` waits: the writer stops at its next token."""
FAILED = "The writer failed on this product: change it, or choose another seed, and send it again."
FATAL = (
    f"The process that wrote this product ended before it was done, {ATTEMPTS} times: change the product, or report "
    "the batch and the place."
)

log = logging.getLogger("adloom.batches")


@dataclass(frozen=True, slots=True)
class WrittenItem:
    """One product of a batch, written and kept."""

    batch: BatchRow
    product: Product
    creatives: tuple[Creative, ...]
    took_seconds: float


class BatchWorker:
    """
    `settings.batch_writers` threads that take turns at the batches of all clients, and one that keeps the leases.

    `on_written` hears of every item once it is committed, from the thread that wrote it.
    """

    def __init__(
        self,
        database: Database,
        writes: WriteQueue,
        writer: WritesCreatives,
        settings: Settings,
        on_written: Callable[[WrittenItem], None] = lambda _item: None,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._writes = writes
        self._writer = writer
        self._count = settings.batch_writers
        self._on_written = on_written
        self._lease = timedelta(seconds=lease_seconds)
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._changed = threading.Condition()
        self._rota = Rota()
        self._wanted = threading.Event()
        """Set when there may be a batch to claim."""
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work. Once in the life of a worker; without batch writers it does nothing."""
        if not self._count:
            return
        names = [(self._write_all, f"adloom-batch-{number}") for number in range(self._count)]
        self._threads = [
            threading.Thread(target=self._guarded, args=(run,), name=name, daemon=True)
            for run, name in [*names, (self._keep_leases, "adloom-batch-leases")]
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is a new batch: look for it now."""
        self._wanted.set()

    def close(self) -> None:
        """Drop the items in hand (they wait for the next process), give the batches back, stop the threads."""
        self._closing.set()
        self._wanted.set()
        with self._changed:
            self._changed.notify_all()
        patience = time.monotonic() + JOIN_SECONDS_MAX
        for thread in self._threads:
            thread.join(max(0.0, patience - time.monotonic()))
        self._give_back()

    def trouble(self) -> str:
        """Why no batch is worked on and only a new process helps; empty when all is well."""
        dead = [thread.name for thread in self._threads if not thread.is_alive()]
        return f"the thread {dead[0]} has ended" if dead and not self._closing.is_set() else ""

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException:
            log.exception("a batch thread died")

    # Leases

    def _keep_leases(self) -> None:
        """Renew, claim, wait; a database that is away costs a lease at worst, and no item is done twice for it."""
        waits = _Backoff()
        while not self._closing.is_set():
            try:
                self._renew()
                self._claim()
                pause_seconds = min(self._poll_seconds(), self._lease.total_seconds() / 3)
                waits = _Backoff()
            except StoreError as error:
                log.warning("batches cannot be claimed", extra={"fields": {"reason": str(error)}})
                pause_seconds = waits.next_seconds()
            self._wanted.wait(pause_seconds)
            self._wanted.clear()

    def _poll_seconds(self) -> float:
        with self._changed:
            return POLL_BUSY_SECONDS if self._rota.batches() else POLL_IDLE_SECONDS

    def _renew(self) -> None:
        with self._changed:
            held = self._rota.batches()
        if not held:
            return
        until = datetime.now(UTC) + self._lease

        def renew(connection: Connection) -> list[bool]:
            return [batches.renew(connection, each.row.id, self._owner, until) for each in held]

        kept = self._writes.submit(renew).result()
        for each, is_ours in zip(held, kept, strict=True):
            if not is_ours:
                self._drop(each)

    def _claim(self) -> None:
        """
        As many batches as keep every thread busy, and one more a look, so that a new one need not wait for a large one.

        The others are left to whoever is idle.
        """
        with self._changed:
            mine = [each.row.id for each in self._rota.batches()]
        wanted = min(max(1, self._count - len(mine)), HELD_MAX - len(mine))
        for _ in range(wanted):
            row = self._claimed(mine)
            if row is None:
                return
            log.info("batch claimed", extra={"fields": {"batch_id": row.id, "products": row.products}})
            mine.append(row.id)
            with self._changed:
                self._rota.add(Held(row))
                self._changed.notify_all()

    def _claimed(self, mine: Sequence[str]) -> BatchRow | None:
        now = datetime.now(UTC)

        def claim(connection: Connection) -> BatchRow | None:
            return batches.claim(connection, self._owner, now + self._lease, now, except_ids=mine)

        return self._writes.submit(claim).result()

    def _drop(self, held: Held) -> None:
        """Done, cancelled, or another process's by now."""
        with self._changed:
            held.is_ours = False
            self._rota.remove(held)
            self._changed.notify_all()

    def _give_back(self) -> None:
        """So that another process need not wait for the leases to lapse. Best effort: they lapse anyway."""
        with self._changed:
            held = self._rota.batches()
        for each in held:
            self._drop(each)
        if not held:
            return

        def release(connection: Connection) -> None:
            for each in held:
                batches.release(connection, each.row.id, self._owner)

        try:
            self._writes.submit(release).result(JOIN_SECONDS_MAX)
        except (StoreError, TimeoutError):
            log.warning("batches were not given back", extra={"fields": {"batches": len(held)}})

    # Items

    def _write_all(self) -> None:
        waits = _Backoff()
        while (turn := self._next_turn()) is not None:
            held, item = turn
            try:
                if item is None:
                    self._fetch(held)
                else:
                    self._work(held, item)
                waits = _Backoff()
            except StoreError as error:
                log.warning("a batch waits for the database", extra={"fields": {"reason": str(error)}})
                self._closing.wait(waits.next_seconds())

    def _next_turn(self) -> tuple[Held, BatchItem | None] | None:
        """An item to write, or a batch whose next items have to be read; None where the process is stopping."""
        with self._changed:
            while not self._closing.is_set():
                if turn := self._rota.next_turn():
                    return turn
                self._changed.wait()
        return None

    def _fetch(self, held: Held) -> None:
        """Read ahead; the last item of a batch is known by there being none left."""
        items: list[BatchItem] = []
        try:
            with self._database.connect() as connection:
                items = batches.next_items(connection, held.row.id, FETCHED + self._count)
        finally:
            with self._changed:
                held.fetched(items)
                self._changed.notify_all()
        if held.is_finished:
            self._drop(held)

    def _work(self, held: Held, item: BatchItem) -> None:
        """Whatever happens, the item leaves this thread's hand: stored, or back among those that wait."""
        is_settled = False
        try:
            is_settled = self._settle(held, item)
        finally:
            with self._changed:
                held.put_down(item, again=not is_settled)
                self._changed.notify_all()

    def _settle(self, held: Held, item: BatchItem) -> bool:
        """Whether the item needs no more work here."""
        started_seconds = time.perf_counter()
        attempts = self._taken_up(held, item)
        if not 0 < attempts <= ATTEMPTS:
            # None: it was finished or cancelled meanwhile. Too many: each of them ended without a word.
            return attempts == 0 or self._stored(self._finish(held, item, "failed", (), FATAL))
        try:
            product = product_from_dict(item.product)
            written = self._written(held, product)
            took_seconds = time.perf_counter() - started_seconds
            if self._store(held, item, product, written):
                self._tell(WrittenItem(held.row, product, written, took_seconds))
        except CancelledError:
            self._put_back(held, item)
            return False
        except StoreError:
            raise
        except Exception:  # of the writer, or of the database over data that it does not take
            log.exception("a product failed", extra={"fields": {"batch_id": held.row.id, "place": item.place}})
            return self._fail(held, item, attempts)
        return True

    def _written(self, held: Held, product: Product) -> tuple[Creative, ...]:
        """The best of every channel. Raises CancelledError where the process stops or the batch is not ours."""
        settings = held.row.settings
        chosen: list[Creative] = []
        for name in settings["channels"]:
            ranked = self._writer.write(
                product,
                channel(name),
                voice=settings["voice"],
                candidates=settings["candidates"],
                seed=settings["seed"],
                interactive=False,
                cancelled=lambda: self._is_stopped(held),
                watch=unwatched,
            )
            chosen += ranked[: settings["return_candidates"]]
        return tuple(chosen)

    def _is_stopped(self, held: Held) -> bool:
        return self._closing.is_set() or not held.is_ours

    def _taken_up(self, held: Held, item: BatchItem) -> int:
        """How many attempts there have been with this one, once the database has it. Raises StoreError."""
        return self._writes.submit(lambda connection: batches.take_up(connection, held.row.id, item.place)).result()

    def _put_back(self, held: Held, item: BatchItem) -> None:
        """Where the database is away, an attempt that was none counts: there are others."""
        try:
            self._writes.submit(lambda connection: batches.put_back(connection, held.row.id, item.place)).result()
        except StoreError as error:
            log.warning("an attempt counts that was none", extra={"fields": {"reason": str(error)}})

    def _fail(self, held: Held, item: BatchItem, attempts: int) -> bool:
        """Try again where that may help, else keep the failure. An engine that is down is nobody's product's fault."""
        if not self._writer.alive:
            self._put_back(held, item)
            self._closing.wait(BACKOFF_SECONDS[1])
            return False
        if attempts < ATTEMPTS:
            return False
        finish = self._finish(held, item, "failed", (), FAILED)
        self._stored(finish)
        return True

    def _store(self, held: Held, item: BatchItem, product: Product, written: Sequence[Creative]) -> bool:
        """Creatives and item in one transaction. False where another process was first: then nothing is kept here."""
        rows = kept_rows(held.row.client, product, written, held.row.id)
        finish = self._finish(held, item, "done", [creative.id for creative in written])

        def keep(connection: Connection) -> bool:
            if not finish(connection):
                return False
            creatives.insert(connection, rows)
            return True

        return self._stored(keep)

    def _finish(
        self, held: Held, item: BatchItem, state: Literal["done", "failed"], ids: Sequence[str], error: str = ""
    ) -> Callable[[Connection], bool]:
        return lambda connection: batches.finish_item(connection, held.row.id, item.place, state, ids, error)

    def _stored(self, keep: Callable[[Connection], bool]) -> bool:
        """As soon as the database takes it: what has been written is not thrown away because that is away."""
        waits = _Backoff()
        while True:
            try:
                return self._writes.submit(keep).result()
            except StoreError as error:
                log.warning("a written item waits for the database", extra={"fields": {"reason": str(error)}})
                if self._closing.wait(waits.next_seconds()):
                    raise

    def _tell(self, written: WrittenItem) -> None:
        try:
            self._on_written(written)
        except Exception:
            log.exception("a written item was not told of")


class _Backoff:
    """Waits that double, so that a database that comes back is not met by everybody at once."""

    def __init__(self) -> None:
        self._seconds = BACKOFF_SECONDS[0]

    def next_seconds(self) -> float:
        seconds, self._seconds = self._seconds, min(2 * self._seconds, BACKOFF_SECONDS[1])
        return seconds
