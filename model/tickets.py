"""
What an engine is asked and what it answers: slots to fill, spans of sampled tokens, and the ticket to wait on.

Knows no network; the engine (engine.py) fills the tickets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.sampling import Floats, Sampling

Watch = Callable[[int, int], None]
"""Told how many texts have been begun, and of how many."""
POLL_SECONDS = 0.02
"""How often a waiting caller asks whether it still wants the answer."""


class CancelledError(RuntimeError):
    """The caller asked to stop; nothing was kept."""


class DeadlineError(RuntimeError):
    """The request was not finished in its time; nothing was kept."""


class QueueFullError(RuntimeError):
    """Too many requests wait; `retry_after_seconds` says when to come again."""

    def __init__(self, waiting: int, retry_after_seconds: float) -> None:
        super().__init__(f"{waiting} requests wait already; try again in {retry_after_seconds:.0f} s")
        self.retry_after_seconds = retry_after_seconds


def unwatched(_begun: int, _texts: int) -> None:
    """For those who do not want to know."""


@dataclass(frozen=True, slots=True)
class Slot:
    """
    One stretch of output: `fed` is forced, then tokens are sampled until a stop token or a limit.

    `chars_max` is compared with the sum of `Vocabulary.chars` over the sampled tokens.
    """

    fed: tuple[int, ...]
    tokens_max: int
    chars_max: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the engine must know of each token id, without knowing its text."""

    chars: npt.NDArray[np.int32]
    """Characters that each token adds, shape [vocabulary]."""
    stops: npt.NDArray[np.bool_]
    """Tokens that end a slot, shape [vocabulary]."""


@dataclass(slots=True)
class Span:
    """What was sampled for one slot, without fed and stop tokens."""

    ids: list[int] = field(default_factory=list)
    complete: bool = False
    """The model ended it by a stop token; False where a limit did."""
    log_probability: float = 0.0
    """Natural logarithm, summed over `ids`, as the network gave it before temperature, bias and penalties."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """`slots` to be filled after `prompt`, `rows` times, with random streams (seed, first_row + i, step)."""

    prompt: Sequence[int]
    slots: Sequence[Slot]
    rows: int
    seed: int
    sampling: Sampling
    first_row: int = 0
    bias: Floats | None = None
    """Added to the logits, shape [vocabulary]."""
    deadline: float = float("inf")
    """On the clock of `time.monotonic`."""
    interactive: bool = True
    """Somebody waits: goes before requests that are not."""


class Ticket:
    """A request on its way. Thread-safe."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.submitted, self.first_token = time.monotonic(), float("nan")
        """On the clock of `time.monotonic`; `first_token` once there is one."""
        self.cancelled = False
        self.spans: list[list[Span]] = []
        """By row and slot; the engine fills them."""
        self.rows_left = request.rows
        self._done = threading.Event()
        self._error: BaseException | None = None

    def cancel(self) -> None:
        """Give up; its rows are free at the next step. Does nothing to a finished one."""
        self.cancelled = True

    @property
    def progress(self) -> tuple[int, int]:
        """Slots begun, and slots in all, over every row."""
        return sum(map(len, list(self.spans))), self.request.rows * len(self.request.slots)

    def result(
        self,
        cancelled: Callable[[], bool] = lambda: False,
        watch: Watch = unwatched,
    ) -> list[list[Span]]:
        """
        Wait for the spans, by row and slot; `cancelled` is asked while waiting, and `watch` told of the progress.

        Raises CancelledError, DeadlineError, or EngineError where the network failed.
        """
        while not self._done.wait(POLL_SECONDS):
            if cancelled():
                self.cancel()
            watch(*self.progress)
        if self._error is not None:
            raise self._error
        return self.spans

    @property
    def done(self) -> bool:
        """Whether `result` returns at once."""
        return self._done.is_set()

    def finish(self, error: BaseException | None = None) -> None:
        """Called by the engine, once."""
        self._error = error
        self._done.set()
