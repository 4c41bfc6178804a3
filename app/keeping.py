"""
From a commission to creatives that are written, kept and logged: what every route that writes has in common.

Knows no form of request or answer. Nothing is acknowledged before the database has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from sqlalchemy import Connection

from app.connection import while_connected
from app.identity import Caller
from app.kept_rows import kept_rows
from app.parts import Parts
from app.problem import Problem, ProblemKind
from app.studio import Commission, DeadlineError, StudioBusyError, StudioDownError, Tell, WritingError
from model.creative import Creative
from model.product import Product
from model.store import creatives

LOG_FORM = 1

Beside = Callable[[Connection, Sequence[Creative]], None]
"""What else is to be kept with creatives, or not at all. May be called again where a transaction has to be."""


def alone(_connection: Connection, _written: Sequence[Creative]) -> None:
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

    def keep(connection: Connection) -> None:
        creatives.insert(connection, rows)
        beside(connection, chosen)

    await parts.writes.run(keep)
    took_seconds = time.perf_counter() - started_seconds
    for creative in chosen:
        parts.metrics.written(creative)
        parts.generations.append(
            generation(caller.client, commission.product, creative, took_seconds, request.state.request_id)
        )
    return chosen


def generation(
    client: str, product: Product, creative: Creative, took_seconds: float, request_id: str = "", batch_id: str = ""
) -> dict[str, Any]:
    """
    One line of the generation log: what came in, what went out, and how it was judged.

    No secrets and no tokens: of the client only its name. `took_seconds` is the whole request's.
    """
    passport = creative.passport
    return {
        "form": LOG_FORM,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": client,
        "request_id": request_id,
        "batch_id": batch_id,
        "creative_id": creative.id,
        "product": {"digest": passport.product_digest, **product.as_dict()},
        "channel": creative.channel,
        "voice": passport.voice,
        "candidates": passport.candidates,
        "seed": passport.seed,
        "headlines": list(creative.copy.headlines),
        "descriptions": list(creative.copy.bodies),
        "call_to_action": creative.copy.call_to_action,
        "hashtags": list(creative.copy.hashtags),
        "validity": creative.validity,
        "findings": [finding.kind for finding in creative.findings],
        "repairs": len(creative.repairs),
        "bundle_digest": passport.bundle_digest,
        "registry_version": passport.registry_version,
        "git_commit": passport.git_commit,
        "seconds": round(took_seconds, 4),
    }


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
