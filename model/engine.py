"""
Token ids in, token ids out: a queue of requests whose rows share every step of the network, and join and leave freely.

Knows nothing about text (see writer.py) or HTTP (see app/). A thread of its own runs the network.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.decoder import PREFILL_TOKENS, Decoder, EngineError, Floats
from model.sampling import Sampling, log_probabilities, sample
from model.tally import EngineCounts
from model.tickets import (
    CancelledError,
    DeadlineError,
    QueueFullError,
    Request,
    Slot,
    Span,
    Ticket,
    Vocabulary,
    Watch,
    unwatched,
)

ROWS_MAX = 16
"""Rows in flight at once; more wait. Bounds the KV cache to about 16 x 9 MB at 192 tokens."""
QUEUE_MAX = 64
"""Requests that may wait; one more is refused at once."""
BATCH_ROWS_SHARE = 0.75
"""Rows that requests of low priority may hold together, so that an interactive one finds a place."""
CLOSE_SECONDS = 10.0
IDLE_SECONDS = 5.0
"""After so long without work the cache is given back and the thread ends; the next request starts another."""
PATIENCE_SECONDS = 10.0
"""A request that is not interactive counts as such when it has waited this long."""


@dataclass(slots=True, eq=False)
class _Row:
    """One candidate on its way through the slots."""

    ticket: Ticket
    number: int
    seen: npt.NDArray[np.bool_]
    """Tokens it has sampled so far, shape [vocabulary]."""
    next_id: int = -1
    """Sampled, and to be read by the next step."""
    step: int = 0
    """Tokens drawn so far: with seed and number, all that its random stream hangs on."""
    chars: int = 0
    spans: list[Span] = field(default_factory=list)


class Engine:
    """A decoder with its queue. Thread-safe; close it, or let the process end."""

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        *,
        threads: int = 0,
        rows_max: int = ROWS_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._decoder = Decoder(folder, threads=threads, rows_max=rows_max)
        self._vocabulary = vocabulary
        self.context_tokens_max, self.rows_max, self._queue_max = self._decoder.context_tokens_max, rows_max, queue_max
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._rows: list[_Row] = []
        self._reading: tuple[Ticket, list[int]] | None = None
        """The request whose prompt is being read, and what is left of it."""
        self.counts = EngineCounts()
        self._seconds_per_request = 1.0
        self._failure: BaseException | None = None
        self._closing = False
        self._thread: threading.Thread | None = None

    def keep_prefix(self, ids: Sequence[int]) -> None:
        """Read `ids` once; every later prompt that begins with them starts from there. Before the first request."""
        if self._thread is not None:
            raise EngineError("the prefix is kept before the first request")
        self._decoder.keep_prefix(ids)

    @property
    def alive(self) -> bool:
        """Whether a request would be answered: readiness hangs on it."""
        return self._failure is None and not self._closing

    @property
    def load(self) -> tuple[int, int]:
        """Rows in flight and requests that wait."""
        return len(self._rows), len(self._waiting)

    def submit(self, request: Request) -> Ticket:
        """
        Queue a request and return at once.

        Raises EngineError before any work when prompt and slots cannot fit the context, or the engine is down, and
        QueueFullError.
        """
        tokens = len(request.prompt) + sum(len(slot.fed) + slot.tokens_max for slot in request.slots)
        if tokens > self.context_tokens_max:
            raise EngineError(f"{tokens} tokens of prompt and answer exceed the context of {self.context_tokens_max}")
        labels = all(slot.fed for slot in request.slots[1:])
        if not request.prompt or not request.slots or not labels or not 1 <= request.rows <= self.rows_max:
            raise EngineError(
                f"nothing to generate: a prompt, slots with labels and 1 to {self.rows_max} rows are needed"
            )
        ticket = Ticket(request)
        with self._changed:
            if not self.alive:
                raise EngineError(self._why_down())
            if len(self._waiting) >= self._queue_max:
                raise QueueFullError(len(self._waiting), len(self._waiting) * self._seconds_per_request)
            self._waiting.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="adloom-engine", daemon=True)
                _started().add(self)
                self._thread.start()
            self._changed.notify()
        return ticket

    def generate(
        self,
        prompt: Sequence[int],
        slots: Sequence[Slot],
        *,
        rows: int,
        seed: int,
        sampling: Sampling,
        first_row: int = 0,
        bias: Floats | None = None,
        interactive: bool = True,
        cancelled: Callable[[], bool] = lambda: False,
        watch: Watch = unwatched,
    ) -> list[list[Span]]:
        """Submit a request and wait for it; see `Request`, `submit` and `Ticket.result`."""
        request = Request(prompt, slots, rows, seed, sampling, first_row, bias, interactive=interactive)
        return self.submit(request).result(cancelled, watch)

    def close(self) -> None:
        """Fail what waits or is in flight, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                try:
                    self._round()
                except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
                    self._fail(self._in_flight(), EngineError(f"the network failed: {error}"))
        except BaseException as error:
            self._failure = error
            logging.getLogger(__name__).critical("the engine's thread died", exc_info=error)
        finally:
            if not self.alive:
                self._fail(self._in_flight() | set(self._waiting), EngineError(self._why_down()))

    def _why_down(self) -> str:
        return f"the engine is down: {self._failure!r}" if self._failure else "the engine is down: it was closed"

    def _wait_for_work(self) -> bool:
        """False where the thread is to end."""
        with self._changed:
            if not self._in_flight() and not self._waiting and not self._closing:
                self._changed.wait_for(lambda: self._waiting or self._closing, IDLE_SECONDS)
            if self._closing or not (self._in_flight() or self._waiting):
                self._decoder.forget()
                self._thread = None
                return False
        return True

    def _fail(self, tickets: set[Ticket], error: Exception) -> None:
        for ticket in tickets:
            self._discard(ticket)
            ticket.finish(error)

    def _round(self) -> None:
        """Drop who gave up, read a piece of the next prompt, and one step of all rows."""
        self._drop_lapsed()
        self._admit()
        if self._reading is not None:
            self._read_on(*self._reading)
        if self._rows:
            self.counts.step_rows.add(len(self._rows))
            logits = self._decoder.step([row.next_id for row in self._rows])
            self._draw(self._rows[:], logits)

    def _drop_lapsed(self) -> None:
        now = time.monotonic()
        with self._changed:
            tickets = self._in_flight() | set(self._waiting)
        self._fail({ticket for ticket in tickets if ticket.cancelled}, CancelledError("the caller gave up"))
        late = {ticket for ticket in tickets if now > ticket.request.deadline and not ticket.cancelled}
        self._fail(late, DeadlineError("not finished in its time"))

    def _in_flight(self) -> set[Ticket]:
        reading = {self._reading[0]} if self._reading else set()
        return {row.ticket for row in self._rows} | reading

    def _discard(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        if self._reading is not None and self._reading[0] is ticket:
            self._reading = None
        for row in [row for row in self._rows if row.ticket is ticket]:
            self._remove(row)

    def _remove(self, row: _Row) -> None:
        """The last row takes its place, so that the rows in flight stay side by side."""
        place, last = self._rows.index(row), len(self._rows) - 1
        if place != last:
            self._decoder.move(last, place)
            self._rows[place] = self._rows[last]
        self._decoder.lengths[last] = 0
        self._rows.pop()

    def _admit(self) -> None:
        """Begin to read the prompt of the next request, if it has room: interactive ones first, then by age."""
        free = self.rows_max - len(self._rows)
        patient = sum(not row.ticket.request.interactive for row in self._rows)
        share = max(1, int(BATCH_ROWS_SHARE * self.rows_max))
        aged = time.monotonic() - PATIENCE_SECONDS
        with self._changed:
            if self._reading is not None or not self._waiting:
                return
            ticket = min(  # the first of equals: the oldest
                self._waiting, key=lambda ticket: not (ticket.request.interactive or ticket.submitted < aged)
            )
            request = ticket.request
            crowded = not request.interactive and patient and patient + request.rows > share
            if request.rows > free or crowded:
                return
            self._waiting.remove(ticket)
            self.counts.wait_seconds.add(time.monotonic() - ticket.submitted)
            prompt = [*request.prompt, *request.slots[0].fed]
            self._reading = (ticket, prompt)  # in flight already, should there be no memory to begin with
            self._reading = (ticket, prompt[self._decoder.begin(prompt) :])

    def _read_on(self, ticket: Ticket, left: list[int]) -> None:
        """One piece of a prompt; after the last one its rows begin, all from the same cache."""
        decoder, request = self._decoder, ticket.request
        logits = decoder.read(decoder.spare, left[:PREFILL_TOKENS])
        self._reading = (ticket, left[PREFILL_TOKENS:])
        if left[PREFILL_TOKENS:]:
            return
        self._reading = None
        first = len(self._rows)
        for number in range(request.first_row, request.first_row + request.rows):
            decoder.move(decoder.spare, len(self._rows))
            row = _Row(ticket, number, np.zeros(decoder.vocabulary_size, np.bool_), spans=[Span()])
            ticket.spans.append(row.spans)
            self._rows.append(row)
        self._draw(self._rows[first:], np.repeat(logits[None], request.rows, axis=0))

    def _draw(self, rows: Sequence[_Row], logits: Floats) -> None:
        """Give each row its next token; one whose slot is full reads the next label on its own, and draws again."""
        finished = []
        for row, *drawn in zip(rows, *self._sample(rows, logits), strict=True):
            token, likely = drawn
            while not self._take(row, int(token), float(likely)):
                slots = row.ticket.request.slots
                if len(row.spans) == len(slots):
                    finished.append(row)
                    break
                after = self._decoder.read(self._rows.index(row), slots[len(row.spans)].fed)
                row.spans.append(Span())
                row.chars = 0
                (token,), (likely,) = self._sample([row], after[None])
        for row in finished:
            self._remove(row)
            self._count_off(row.ticket)

    def _sample(self, rows: Sequence[_Row], logits: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
        """Drawn ids and their log probabilities; rows of one sampling are drawn together."""
        drawn = np.empty(len(rows), np.int64)
        for sampling in {row.ticket.request.sampling for row in rows}:
            places = [place for place, row in enumerate(rows) if row.ticket.request.sampling == sampling]
            chosen = [rows[place] for place in places]
            drawn[places] = sample(
                logits[places],
                sampling,
                streams=[(row.ticket.request.seed, row.number, row.step) for row in chosen],
                biases=[row.ticket.request.bias for row in chosen],
                seen=np.stack([row.seen for row in chosen]) if sampling.presence_penalty else None,
            )
        for row in rows:
            row.step += 1
        return drawn, log_probabilities(logits, drawn)

    def _take(self, row: _Row, token: int, likely: float) -> bool:
        """Append a drawn token to the row's span; False where that ends the slot instead."""
        ticket, span = row.ticket, row.spans[-1]
        slot = ticket.request.slots[len(row.spans) - 1]
        if np.isnan(ticket.first_token):
            ticket.first_token = time.monotonic()
            self.counts.first_token_seconds.add(ticket.first_token - ticket.submitted)
        span.complete = bool(self._vocabulary.stops[token])
        chars = row.chars + int(self._vocabulary.chars[token])
        if span.complete or len(span.ids) == slot.tokens_max or chars > slot.chars_max:
            return False
        span.ids.append(token)
        self.counts.tokens += 1
        span.log_probability += likely
        row.chars, row.next_id = chars, token
        row.seen[token] = True
        return True

    def _count_off(self, ticket: Ticket) -> None:
        ticket.rows_left -= 1
        if not ticket.rows_left:
            took = time.monotonic() - ticket.submitted
            self._seconds_per_request += 0.2 * (took / max(1, len(self._waiting)) - self._seconds_per_request)
            ticket.finish()


@cache
def _started() -> weakref.WeakSet[Engine]:
    """
    Engines to be closed before the interpreter goes.

    A daemon thread that comes back from native code into a dying interpreter aborts the process.
    """
    engines: weakref.WeakSet[Engine] = weakref.WeakSet()

    def close_all() -> None:
        for engine in list(engines):
            engine.close()

    atexit.register(close_all)
    return engines
