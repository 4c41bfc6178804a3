"""
How far a run has come, on stderr: a bar with the time left on a terminal, a line every few seconds elsewhere.

Knows nothing of what is being made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0
"""Often enough to see that it lives, seldom enough for a log."""

Advance = Callable[[], None]


@contextmanager
def progress_on(
    stream: TextIO, total: int, *, noun: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    """Show progress while the block runs; call what it yields once for each of `total` things made."""
    if stream.isatty():
        with _bar(stream) as bar:
            task = bar.add_task(f"writing {noun}", total=total)
            yield lambda: bar.advance(task)
    else:
        yield _lines(stream, total, noun, clock)


def _bar(stream: TextIO) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(file=stream), transient=True)


def _lines(stream: TextIO, total: int, noun: str, clock: Callable[[], float]) -> Advance:
    started_seconds = clock()
    last_seconds = started_seconds
    done = 0

    def advance() -> None:
        nonlocal done, last_seconds
        done += 1
        now_seconds = clock()
        if now_seconds - last_seconds < SECONDS_BETWEEN_LINES:
            return
        last_seconds = now_seconds
        rate = done / (now_seconds - started_seconds)
        left_seconds = (total - done) / rate
        print(
            f"adloom: {done:,} of {total:,} {noun}, {rate:.1f} a second, about {left_seconds:.0f} s left",
            file=stream,
            flush=True,
        )

    return advance
