"""
The real `adloom serve` around a writer that costs next to nothing: `python -m tests.e2e.faults.fake_service --port 0`.

FAULTS_WRITER_SECONDS is what one creative takes, FAULTS_LEASE_SECONDS how long a batch waits for a dead process;
after FAULTS_BATCH_MAX products of batches it writes no more of them, so that it can be killed in the middle of one.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import app.main
import app.request_counts
import app.serve
from app.batch_worker import BatchWorker
from model.creative import Creative
from model.tickets import CancelledError
from tests.app.service_client import ServiceWriter

POLL_SECONDS = 0.01
REDIS_SECONDS_MAX = 60.0
"""A Redis that a busy machine keeps waiting is not one that is gone."""


class HeldWriter(ServiceWriter):
    """Begins no more products of batches than it may."""

    def __init__(self, batch_max: int, **options: Any) -> None:
        super().__init__(**options)
        self._batch_max = batch_max
        self._begun = itertools.count()

    def write(
        self, *order: Any, interactive: bool = True, cancelled: Callable[[], bool] = lambda: False, **manner: Any
    ) -> tuple[Creative, ...]:
        is_held = not interactive and next(self._begun) >= self._batch_max
        while is_held:
            if cancelled():
                raise CancelledError
            threading.Event().wait(POLL_SECONDS)
        return super().write(*order, interactive=interactive, cancelled=cancelled, **manner)


def main() -> int:
    """Everything but the engine is what production runs."""
    seconds = float(os.environ["FAULTS_WRITER_SECONDS"])
    lease_seconds = float(os.environ["FAULTS_LEASE_SECONDS"])
    batch_max = int(os.environ["FAULTS_BATCH_MAX"])
    replaced: Any = app.main
    replaced.open_writer = lambda *_, **__: HeldWriter(batch_max, seconds=seconds)
    replaced.BatchWorker = partial(BatchWorker, lease_seconds=lease_seconds)
    app.request_counts.REDIS_SECONDS_MAX = REDIS_SECONDS_MAX
    return app.serve.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
