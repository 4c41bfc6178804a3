"""
Where the service writes: a few threads that share the writer, and a bounded queue in front of them.

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
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from model.bundle import Manifest
from model.channel import ChannelSpec
from model.creative import Creative
from model.product import Product
from model.tally import EngineCounts
from model.tickets import CancelledError, Watch

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

    @property
    def manifest(self) -> object:
        """A `Manifest`; what a test's writer has is none."""
        ...


class WritesCreatives(Protocol):
    """`model.writer.Writer`, and the fake of the tests."""

    @property
    def counts(self) -> EngineCounts: ...

    @property
    def queued(self) -> int:
        """Requests that wait inside it."""
        ...

    @property
    def bundle(self) -> BundleFacts: ...

    @property
    def alive(self) -> bool:
        """Whether the next call can succeed."""
        ...

    def write(
        self,
        product: Product,
        spec: ChannelSpec,
        *,
        voice: str,
        candidates: int,
        seed: int,
        interactive: bool,
        cancelled: Callable[[], bool],
        watch: Watch,
    ) -> tuple[Creative, ...]:
        """Best first. Raises CancelledError soon after `cancelled()` turns true."""
        ...


class StudioError(Exception):
    """A commission came to nothing; the subclass says why."""


class StudioBusyError(StudioError):
    """The queue is full, or so slow that the commission would not be written in time."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too much to write, try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class DeadlineError(StudioError):
    """Begun, and not written within the timeout."""


class WritingError(StudioError):
    """The writer raised on this commission; the next one may well succeed."""


class StudioDownError(StudioError):
    """A thread is gone or none was started: nothing is written until the process is replaced."""


@dataclass(frozen=True, slots=True)
class Commission:
    """One product to be written for some channels; every channel counts on its own `candidates`."""

    product: Product
    specs: tuple[ChannelSpec, ...]
    voice: str
    candidates: int
    seed: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one channel is."""

    channel: str
    begun: int
    """Texts, over all candidates."""
    texts: int


@dataclass(frozen=True, slots=True)
class ChannelWritten:
    """One channel is done."""

    channel: str
    ranked: tuple[Creative, ...]
    """Best first."""


Tell = Callable[[Progress | ChannelWritten], None]
"""Called by the thread that writes; must neither block nor raise."""


@dataclass(slots=True, eq=False)
class _Job:
    commission: Commission
    asked_seconds: float
    deadline_seconds: float
    """Both on the studio's clock."""
    tell: Tell
    result: asyncio.Future[tuple[tuple[Creative, ...], ...]]
    abandoned: bool = False
    """Nobody waits for it any more: the writer stops at its next token."""

    def settle(self, outcome: tuple[tuple[Creative, ...], ...] | StudioError) -> None:
        """From any thread. One wake-up of the loop: to chain a thread's future to the loop's takes two."""
        with suppress(RuntimeError):  # the loop is closed, and nobody waits in it
            self.result.get_loop().call_soon_threadsafe(self._settle, outcome)

    @property
    def channels(self) -> int:
        """Its size: they are written one after the other, and the candidates of each together."""
        return max(1, len(self.commission.specs))

    def _settle(self, outcome: tuple[tuple[Creative, ...], ...] | StudioError) -> None:
        if self.result.done():
            return
        if isinstance(outcome, StudioError):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


class Studio:
    """
    Writes commissions in order of arrival, `writers` of them at once.

    Their rows share every step of the engine, which writes 16 ads in little more time than it needs for 4.
    """

    def __init__(
        self,
        writer: WritesCreatives,
        *,
        queue_depth_max: int,
        timeout_seconds: float,
        writers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._queue_depth_max = queue_depth_max
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._started: dict[_Job, float] = {}
        """Commissions in progress, and when each began."""
        self._closing = False
        self._mean_job_seconds = 1.0
        self._mean_channel_seconds = 0.0
        self._writers = writers
        self._threads: list[threading.Thread] = []

    @property
    def bundle_digest(self) -> str:
        """Digest of the bundle that writes."""
        return self._writer.bundle.digest

    @property
    def manifest(self) -> Manifest | None:
        """Of the bundle that writes; None where the writer was opened on none."""
        manifest = self._writer.bundle.manifest
        return manifest if isinstance(manifest, Manifest) else None

    @property
    def depth(self) -> int:
        """Commissions that wait, those in progress not counted."""
        return len(self._waiting)

    @property
    def counts(self) -> EngineCounts:
        """What the writer's engine has done."""
        return self._writer.counts

    @property
    def queued(self) -> int:
        """Requests that wait, here or in the writer."""
        return self.depth + self._writer.queued

    def start(self) -> None:
        """Begin to write. Once in the life of a studio."""
        self._threads = [
            threading.Thread(target=self._run, name=f"adloom-writer-{number}", daemon=True)
            for number in range(self._writers)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish the commissions in progress, fail those that wait, stop the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        patience = time.monotonic() + JOIN_SECONDS_MAX
        for thread in self._threads:
            thread.join(max(0.0, patience - time.monotonic()))

    def trouble(self) -> str:
        """Why nothing can be written at the moment and only a new process helps; empty when all is well."""
        if not self._is_running():
            return "the writer thread is not running"
        if not self._writer.alive:
            return "the writer's engine is down"
        with self._changed:
            oldest = min(self._started.values(), default=self._clock())
        if self._clock() - oldest > STALL_TIMEOUTS * self._timeout_seconds:
            return "the writer has been stuck on one request for more than twice the timeout"
        return ""

    async def write(self, commission: Commission, tell: Tell = lambda _event: None) -> tuple[tuple[Creative, ...], ...]:
        """Creatives of each channel, best first, in the order of `commission.specs`. Raises a StudioError."""
        loop = asyncio.get_running_loop()
        now = self._clock()
        job = _Job(commission, now, now + self._timeout_seconds, tell, loop.create_future())
        self._enqueue(job)
        deadline = loop.call_later(self._timeout_seconds, self._expire, job)
        try:
            return await job.result
        except (DeadlineError, StudioBusyError, asyncio.CancelledError):
            self._withdraw(job)
            raise
        finally:
            deadline.cancel()

    def _is_running(self) -> bool:
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def _enqueue(self, job: _Job) -> None:
        with self._changed:
            if self._closing or not self._is_running():
                raise StudioDownError
            if len(self._waiting) + len(self._started) >= self._queue_depth_max + self._writers:
                raise StudioBusyError(self._retry_after_seconds())
            if self._comes_too_late(job):
                raise StudioBusyError(self._retry_after_seconds())
            self._waiting.append(job)
            self._changed.notify()

    def _comes_too_late(self, job: _Job) -> bool:
        """
        Whether it would wait so long that it cannot be written in time: better to say so now than after a minute.

        One that need not wait is always begun, so that a mean from worse times does not outlive them.
        """
        if len(self._waiting) + len(self._started) < self._writers:
            return False
        begun = sum(each.channels for each in self._started if not each.abandoned)
        ahead = sum(each.channels for each in self._waiting) + begun / 2
        return self._channel_seconds() * (ahead / self._writers + job.channels) > self._timeout_seconds

    def _channel_seconds(self) -> float:
        """How long one channel takes lately; those in progress count as soon as they take longer than the mean."""
        now = self._clock()
        ages = ((now - began) / job.channels for job, began in self._started.items() if not job.abandoned)
        return max(self._mean_channel_seconds, *ages, 0.0)

    def _expire(self, job: _Job) -> None:
        """In the loop: its time is up. Who was never begun may come again; who was asked for too much."""
        with self._changed:
            is_waiting = job in self._waiting
            retry_after_seconds = self._retry_after_seconds()
        job.settle(StudioBusyError(retry_after_seconds) if is_waiting else DeadlineError())

    def _withdraw(self, job: _Job) -> None:
        """Give the place in the queue back at once: a full queue of expired jobs would refuse live ones."""
        with self._changed:
            job.abandoned = True
            if job in self._waiting:
                self._waiting.remove(job)

    def _retry_after_seconds(self) -> int:
        """When the queue should have emptied, judged by how long commissions took lately."""
        seconds = math.ceil(self._mean_job_seconds * (len(self._waiting) + 1) / self._writers)
        return max(1, min(seconds, RETRY_AFTER_SECONDS_MAX))

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._serve(job)
        except BaseException:
            log.exception("a writer thread died")
        finally:
            self._fail_waiting()

    def _next(self) -> _Job | None:
        with self._changed:
            while True:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                if self._closing:
                    return None
                job = self._waiting.popleft()
                if not self._is_in_vain(job):
                    self._started[job] = self._clock()
                    return job
                job.settle(StudioBusyError(self._retry_after_seconds()))

    def _is_in_vain(self, job: _Job) -> bool:
        """Whether it has waited so long that it would be cut off, and would have been written without that."""
        needed_seconds = self._channel_seconds() * job.channels
        return needed_seconds <= self._timeout_seconds < self._clock() + needed_seconds - job.asked_seconds

    def _serve(self, job: _Job) -> None:
        """Whatever happens, the future is settled: that is what keeps a request from hanging."""
        if job.abandoned:
            self._rest(job)
            return
        try:
            written = tuple(self._write_channel(job, spec) for spec in job.commission.specs)
        except DeadlineError as error:
            self._rest(job)
            job.settle(error)
        except Exception:
            log.exception("the writer failed")
            self._rest(job)
            job.settle(WritingError())
        except BaseException:
            job.settle(StudioDownError())
            raise
        else:
            self._rest(job)
            job.settle(written)

    def _rest(self, job: _Job) -> None:
        """Free the place before the answer goes out, so that whoever gets it may ask again at once."""
        with self._changed:
            took_seconds = self._clock() - self._started.pop(job)
            self._mean_job_seconds += 0.2 * (took_seconds - self._mean_job_seconds)
            self._mean_channel_seconds += 0.2 * (took_seconds / job.channels - self._mean_channel_seconds)

    def _write_channel(self, job: _Job, spec: ChannelSpec) -> tuple[Creative, ...]:
        def cancelled() -> bool:
            return job.abandoned or self._clock() > job.deadline_seconds

        if cancelled():
            raise DeadlineError
        order = job.commission
        try:
            ranked = self._writer.write(
                order.product,
                spec,
                voice=order.voice,
                candidates=order.candidates,
                seed=order.seed,
                interactive=True,
                cancelled=cancelled,
                watch=lambda begun, texts: job.tell(Progress(spec.name, begun, texts)),
            )
        except CancelledError:
            raise DeadlineError from None
        job.tell(ChannelWritten(spec.name, ranked))
        return ranked

    def _fail_waiting(self) -> None:
        with self._changed:
            self._closing = True
            while self._waiting:
                self._waiting.popleft().settle(StudioDownError())
