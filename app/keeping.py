"""
From a commission to creatives that are written, kept and logged: what every route that writes has in common.

Knows no form of request or answer. Nothing is acknowledged before the database has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fastapi import Request
from sqlalchemy import Connection

from app.connection import while_connected
from app.identity import Caller
from app.parts import Parts
from app.problem import Problem, ProblemKind
from app.studio import Commission, DeadlineError, StudioBusyError, StudioDownError, Tell, WritingError
from model.creative import Creative
from model.generation_record import generation
from model.kept_rows import kept_rows
from model.store import creatives
from model.store.creatives import NewCreative

Keep = Callable[[Connection], None]
"""May be called again where a transaction has to be."""
Beside = Callable[[Sequence[NewCreative]], Keep | None]
"""What else is to be kept with the creatives that were written, or not at all; None for nothing."""


def alone(_rows: Sequence[NewCreative]) -> None:
    """Nothing else."""


async def write_and_keep(
    parts: Parts,
    caller: Caller,
    request: Request,
    commission: Commission,
    return_candidates: int,
    tell: Tell = lambda _event: None,
    beside: Beside = alone,
) -> list[Creative]:
    """
    The best creatives of each channel, in the order of the commission; `beside` is kept in the same transaction.

    Raises Problem, StoreError, or ClientGoneError where the client left first.
    """
    started_seconds = time.perf_counter()
    try:
        written = await while_connected(request, parts.studio.write(commission, tell))
    except (StudioBusyError, DeadlineError, StudioDownError, WritingError) as error:
        parts.metrics.failed(commission, error)
        raise studio_problem(error) from error
    chosen = [creative for ranked in written for creative in ranked[:return_candidates]]
    rows = kept_rows(caller.client, commission.product, chosen)
    keep_beside = beside(rows)

    def keep(connection: Connection) -> None:
        creatives.insert(connection, rows)
        if keep_beside is not None:
            keep_beside(connection)

    await parts.writes.run(keep)
    took_seconds = time.perf_counter() - started_seconds
    for creative in chosen:
        parts.metrics.written(creative)
        parts.generations.append(
            generation(caller.client, commission.product, creative, took_seconds, request.state.request_id)
        )
    return chosen


def studio_problem(error: Exception) -> Problem:
    """What went wrong behind the routes, as its problem."""
    if isinstance(error, StudioBusyError):
        wait = {"Retry-After": str(error.retry_after_seconds)}
        detail = f"Try again in {error.retry_after_seconds} s, or send fewer requests at once."
        return Problem(ProblemKind.OVERLOADED, detail, headers=wait)
    if isinstance(error, DeadlineError):
        detail = "Ask for fewer channels or candidates in one request, or try again when the service is less busy."
        return Problem(ProblemKind.DEADLINE_EXCEEDED, detail)
    if isinstance(error, StudioDownError):
        detail = "The writer has stopped and the service will be restarted: try again in a while."
        return Problem(ProblemKind.NOT_READY, detail, headers={"Retry-After": "30"})
    detail = "Change the product or the seed and try again; if it stays, report the request id."
    return Problem(ProblemKind.GENERATION_FAILED, detail)
