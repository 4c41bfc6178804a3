"""
Where the service writes: one thread that owns the writer, and a bounded queue in front of it.

Knows no HTTP. A commission ends in creatives or in one of the StudioErrors below, never in a hang.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from model.channel import ChannelSpec
from model.creative import Creative
from model.engine import CancelledError
from model.product import Product

RETRY_AFTER_SECONDS_MAX = 60
STALL_TIMEOUTS = 2.0
"""A commission that runs this many timeouts long is stuck: the writer was asked to stop after one."""
JOIN_SECONDS_MAX = 10.0
"""How long `close` waits for the call in progress; the thread is a daemon and cannot keep the process alive."""

log = logging.getLogger("adloom.studio")


class BundleFacts(Protocol):
    """What the service needs to know of the loaded bundle."""

    @property
    def digest(self) -> str: ...


class WritesCreatives(Protocol):
    """`model.writer.Writer`, and the fake of the tests."""

    @property
    def bundle(self) -> BundleFacts: ...

    def write(
        self,
        product: Product,
        spec: ChannelSpec,
        *,
        voice: str,
        candidates: int,
        seed: int,
        cancelled: Callable[[], bool],
    ) -> tuple[Creative, ...]:
        """Best first. Raises CancelledError soon after `cancelled()` turns true."""
        ...


class StudioError(Exception):
    """A commission came to nothing; the subclass says why."""


class StudioBusyError(StudioError):
    """The queue is full."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"queue full, try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class DeadlineError(StudioError):
    """Not written within the timeout, waiting included."""


class WritingError(StudioError):
    """The writer raised on this commission; the next one may well succeed."""


class StudioDownError(StudioError):
    """The thread is gone or not started: nothing is written until the process is replaced."""


@dataclass(frozen=True, slots=True)
class Commission:
    """One product to be written for some channels; every channel counts on its own `candidates`."""

    product: Product
    specs: tuple[ChannelSpec, ...]
    voice: str
    candidates: int
    seed: int


@dataclass(slots=True, eq=False)
class _Job:
    commission: Commission
    deadline_seconds: float
    """On the studio's clock."""
    result: Future[tuple[tuple[Creative, ...], ...]] = field(default_factory=Future)
    abandoned: bool = False
    """Nobody waits for it any more: the writer stops at its next token."""


class Studio:
    """
    Writes commissions one after the other, in order of arrival.

    One thread, because the engine already uses every core for one commission; more would only share them.
    """

    def __init__(
        self,
        writer: WritesCreatives,
        *,
        queue_depth_max: int,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._queue_depth_max = queue_depth_max
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running_since: float | None = None
        self._closing = False
        self._mean_job_seconds = 1.0
        self._thread: threading.Thread | None = None

    @property
    def bundle_digest(self) -> str:
        """Digest of the bundle that writes."""
        return self._writer.bundle.digest

    @property
    def depth(self) -> int:
        """Commissions that wait, the one in progress not counted."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to write. Once in the life of a studio."""
        self._thread = threading.Thread(target=self._run, name="adloom-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the commission in progress, fail those that wait, stop the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS_MAX)

    def trouble(self) -> str:
        """Why nothing can be written at the moment and only a new process helps; empty when all is well."""
        if self._thread is None or not self._thread.is_alive():
            return "the writer thread is not running"
        running_since = self._running_since
        if running_since is not None and self._clock() - running_since > STALL_TIMEOUTS * self._timeout_seconds:
            return "the writer has been stuck on one request for more than twice the timeout"
        return ""

    async def write(self, commission: Commission) -> tuple[tuple[Creative, ...], ...]:
        """Creatives of each channel, best first, in the order of `commission.specs`. Raises a StudioError."""
        job = _Job(commission, self._clock() + self._timeout_seconds)
        self._enqueue(job)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.result), self._timeout_seconds)
        except TimeoutError:
            raise DeadlineError from None
        finally:
            self._withdraw(job)

    def _enqueue(self, job: _Job) -> None:
        with self._changed:
            if self._closing or self._thread is None or not self._thread.is_alive():
                raise StudioDownError
            in_progress = 0 if self._running_since is None else 1
            if len(self._waiting) + in_progress > self._queue_depth_max:
                raise StudioBusyError(self._retry_after_seconds())
            self._waiting.append(job)
            self._changed.notify()

    def _withdraw(self, job: _Job) -> None:
        """Give the place in the queue back at once: a full queue of expired jobs would refuse live ones."""
        with self._changed:
            job.abandoned = True
            if job in self._waiting:
                self._waiting.remove(job)

    def _retry_after_seconds(self) -> int:
        """When the queue should have emptied, judged by how long commissions took lately."""
        seconds = math.ceil(self._mean_job_seconds * (len(self._waiting) + 1))
        return max(1, min(seconds, RETRY_AFTER_SECONDS_MAX))

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._serve(job)
        except BaseException:
            log.exception("the writer thread died")
        finally:
            self._fail_waiting()

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if self._closing:
                return None
            self._running_since = self._clock()
            return self._waiting.popleft()

    def _serve(self, job: _Job) -> None:
        """Whatever happens, the future is settled: that is what keeps a request from hanging."""
        if not job.result.set_running_or_notify_cancel():
            self._rest()
            return
        try:
            written = tuple(self._write_channel(job, spec) for spec in job.commission.specs)
        except DeadlineError as error:
            self._rest()
            job.result.set_exception(error)
        except Exception:
            log.exception("the writer failed")
            self._rest()
            job.result.set_exception(WritingError())
        except BaseException:
            job.result.set_exception(StudioDownError())
            raise
        else:
            self._rest()
            job.result.set_result(written)

    def _rest(self) -> None:
        """Free the place before the answer goes out, so that whoever gets it may ask again at once."""
        with self._changed:
            started_seconds = self._running_since or self._clock()
            self._mean_job_seconds += 0.2 * (self._clock() - started_seconds - self._mean_job_seconds)
            self._running_since = None

    def _write_channel(self, job: _Job, spec: ChannelSpec) -> tuple[Creative, ...]:
        def cancelled() -> bool:
            return job.abandoned or self._clock() > job.deadline_seconds

        if cancelled():
            raise DeadlineError
        order = job.commission
        try:
            return self._writer.write(
                order.product,
                spec,
                voice=order.voice,
                candidates=order.candidates,
                seed=order.seed,
                cancelled=cancelled,
            )
        except CancelledError:
            raise DeadlineError from None

    def _fail_waiting(self) -> None:
        with self._changed:
            self._closing = True
            while self._waiting:
                job = self._waiting.popleft()
                if job.result.set_running_or_notify_cancel():
                    job.result.set_exception(StudioDownError())
