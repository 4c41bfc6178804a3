"""
A process that works on batches until it is killed:
`python -m tests.app.batch_process URL SECONDS_A_PRODUCT LEASE SKU PRODUCTS`.

It is killed by the product SKU; by none where that is empty. It writes so many PRODUCTS and then waits to be killed.

Says on standard output, a line each, which place of which batch it has written.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from app.batch_worker import BatchWorker, WrittenItem
from app.settings import Settings
from model.channel import ChannelSpec
from model.creative import Creative
from model.product import Product
from model.store.tables import Database
from model.store.write_queue import WriteQueue
from model.tickets import CancelledError
from tests.fakes import FakeWriter

POLL_SECONDS = 0.005


class BatchWriter(FakeWriter):
    """Begins every call and finishes none before `gate` is set; stops as the real writer does."""

    alive = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.interactive: set[bool] = set()
        self.started: list[str] = []
        """SKUs, in the order in which their calls began."""

    def write(  # type: ignore[override]
        self, product: Product, spec: ChannelSpec, *, interactive: bool, cancelled: Callable[[], bool], **manner: Any
    ) -> tuple[Creative, ...]:
        self.started.append(product.sku)
        self.begun.set()
        self.interactive.add(interactive)
        while not self.gate.wait(POLL_SECONDS):
            if cancelled():
                raise CancelledError
        return super().write(product, spec, **manner)


def tell(written: WrittenItem) -> None:
    sys.stdout.write(f"{written.batch.id} {written.product.sku}\n")
    sys.stdout.flush()


class FatalWriter(BatchWriter):
    """Kills its process at one product, as one that runs it out of memory would; halts after so many."""

    def __init__(self, fatal_sku: str, products_max: int, **options: Any) -> None:
        super().__init__(**options)
        self._fatal_sku = fatal_sku
        self._products_max = products_max
        self._places = itertools.count()

    def write(self, product: Product, *order: Any, **manner: Any) -> tuple[Creative, ...]:
        if product.sku == self._fatal_sku:
            os.kill(os.getpid(), signal.SIGKILL)
        if next(self._places) >= self._products_max:
            self.gate.clear()
        return super().write(product, *order, **manner)


def main(url: str, seconds: str, lease_seconds: str, fatal_sku: str, products_max: str) -> None:
    database = Database(url)
    writes = WriteQueue(database, depth_max=256)
    writer = FatalWriter(fatal_sku, int(products_max), seconds=float(seconds))
    # Beside a product that is fatal, another in hand would count three attempts by chance.
    settings = Settings(batch_writers=1 if fatal_sku else 2)
    worker = BatchWorker(database, writes, writer, settings, tell, lease_seconds=float(lease_seconds))
    worker.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
