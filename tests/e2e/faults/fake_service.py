"""
The real `adloom serve` around a writer that costs next to nothing: `python -m tests.e2e.faults.fake_service --port 0`.

FAULTS_WRITER_SECONDS is what one creative takes, FAULTS_LEASE_SECONDS how long a batch waits for a dead process.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import app.main
import app.serve
from app.batch_worker import BatchWorker
from tests.app.service_client import ServiceWriter


def main() -> int:
    """Everything but the engine is what production runs."""
    seconds = float(os.environ["FAULTS_WRITER_SECONDS"])
    lease_seconds = float(os.environ["FAULTS_LEASE_SECONDS"])
    replaced: Any = app.main
    replaced.open_writer = lambda *_, **__: ServiceWriter(seconds=seconds)
    replaced.BatchWorker = partial(BatchWorker, lease_seconds=lease_seconds)
    return app.serve.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
