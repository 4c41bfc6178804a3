"""
Errors as RFC 9457 problem documents: one kind for each thing that can go wrong, one shape for all.

Knows nothing of what the service does; a detail says what to do next and never repeats what was sent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, cast

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from model.store.objects import ObjectStoreDownError
from model.store.tables import StoreError

MEDIA_TYPE = "application/problem+json"
STORE_RETRY_SECONDS = "5"
ERRORS_SHOWN_MAX = 20
"""A client that sends a thousand wrong values is helped by the first few."""
POINTER_CHARS_MAX = 200
"""A pointer may hold a key that the client chose; a long one is cut."""


log = logging.getLogger("adloom.problem")


class ProblemKind(Enum):
    """(slug, HTTP status, title). Slugs are part of the API: add, never rename."""

    MALFORMED_JSON = ("malformed-json", 400, "The body is not JSON that every reader takes alike")
    BAD_REQUEST = ("bad-request", 400, "The request could not be understood")
    UNAUTHENTICATED = ("unauthenticated", 401, "The request carries no valid token")
    INVALID_CLIENT = ("invalid-client", 401, "The client is not known, or its secret is not right")
    FORBIDDEN = ("forbidden", 403, "The token does not allow this")
    NOT_FOUND = ("not-found", 404, "There is nothing at this address")
    CREATIVE_NOT_FOUND = ("creative-not-found", 404, "There is no such creative")
    BATCH_NOT_FOUND = ("batch-not-found", 404, "There is no such batch")
    FEEDBACK_NOT_FOUND = ("feedback-not-found", 404, "There is no such feedback")
    SNAPSHOT_NOT_FOUND = ("snapshot-not-found", 404, "There is no such catalogue snapshot")
    PRODUCT_NOT_FOUND = ("product-not-found", 404, "There is no such product")
    RETRAIN_NOT_FOUND = ("retrain-not-found", 404, "There is no such retrain")
    ROLLBACK_NOT_FOUND = ("rollback-not-found", 404, "There is no such rollback")
    DRIFT_REPORT_NOT_FOUND = ("drift-report-not-found", 404, "There is no such drift report")
    DRIFT_PAGE_NOT_FOUND = ("drift-page-not-found", 404, "This drift report has no page")
    PHOTOGRAPH_NOT_FOUND = ("photograph-not-found", 404, "There is no such photograph")
    VERSION_NOT_FOUND = ("version-not-found", 404, "There is no such version of the model")
    PAIR_SET_NOT_FOUND = ("pair-set-not-found", 404, "There is no such set of training pairs")
    MODEL_NOT_FOUND = ("model-not-found", 404, "There is no such model")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This address does not take this method")
    BODY_TOO_SLOW = ("body-too-slow", 408, "The body did not arrive in time")
    CONFLICT = ("conflict", 409, "The state of things does not allow this")
    RETRAIN_OPEN = ("retrain-open", 409, "A retrain waits or runs already")
    ROLLBACK_OPEN = ("rollback-open", 409, "A rollback waits or runs already")
    ROLLBACK_BEGUN = ("rollback-begun", 409, "The rollback waits no longer")
    KEY_BUSY = ("idempotency-key-in-use", 409, "A request with this Idempotency-Key is being answered")
    BODY_TOO_LARGE = ("body-too-large", 413, "The body is too large")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported-media-type", 415, "The body is not plain JSON")
    INVALID_REQUEST = ("invalid-request", 422, "The request does not fit the API")
    KEY_REUSED = ("idempotency-key-reused", 422, "This Idempotency-Key was used for another request")
    RATE_LIMITED = ("rate-limited", 429, "Too many requests in too short a time")
    INTERNAL_ERROR = ("internal-error", 500, "The service failed")
    GENERATION_FAILED = ("generation-failed", 500, "The writer failed on this product")
    OVERLOADED = ("overloaded", 503, "Too many requests are waiting")
    NOT_READY = ("not-ready", 503, "The service cannot write at the moment")
    STORE_DOWN = ("store-unavailable", 503, "The service cannot keep anything at the moment")
    FEATURES_DOWN = ("features-unavailable", 503, "Products cannot be looked up at the moment")
    DEADLINE_EXCEEDED = ("deadline-exceeded", 504, "Writing took too long")

    @property
    def type(self) -> str:
        """The stable name a client may switch on."""
        return f"urn:adloom:problem:{self.value[0]}"

    @property
    def status(self) -> int:
        """HTTP status of every problem of this kind."""
        return self.value[1]

    @property
    def title(self) -> str:
        """The same sentence for every problem of this kind."""
        return self.value[2]


class Problem(HTTPException):
    """
    Raise this anywhere below the router to end the request with a problem document.

    A FastAPI HTTPException, because FastAPI turns any other error in a body it reads into a 400.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind.status, detail, headers=headers)
        self.kind = kind
        self.errors = tuple(errors)


def invalid(detail: str, *, pointer: str | None = None, parameter: str | None = None) -> Problem:
    """422 for one thing: `pointer` into the body ("/product/title") or the name of a path or query parameter."""
    place = {"pointer": f"#{pointer}"} if pointer is not None else {"parameter": parameter or ""}
    return Problem(ProblemKind.INVALID_REQUEST, detail, errors=[{**place, "detail": detail}])


def problem_document(problem: Problem, request_id: str) -> dict[str, Any]:
    """The JSON form; `instance` names this one occurrence, and the same id stands in the log."""
    document: dict[str, Any] = {
        "type": problem.kind.type,
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
        "instance": f"urn:adloom:request:{request_id}",
        "request_id": request_id,
    }
    if problem.errors:
        document["errors"] = [dict(error) for error in problem.errors]
    return document


def problem_response(problem: Problem, request_id: str) -> Response:
    """The answer that carries the document, never cached."""
    return Response(
        json.dumps(problem_document(problem, request_id)),
        status_code=problem.kind.status,
        headers={"Cache-Control": "no-store", **(problem.headers or {})},
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI, on_store_error: Callable[[str], None] = lambda _part: None) -> None:
    """
    Answer every error that the router, the validation or a store raises with a problem document.

    `on_store_error` is told which part failed: database or objects.
    """

    async def answer_store_error(request: Request, error: Exception) -> Response:
        part = "objects" if isinstance(error, ObjectStoreDownError) else "database"
        on_store_error(part)
        log.warning("%s", error, extra={"fields": {"request_id": request.state.request_id, "part": part}})
        detail = "Nothing was kept: send the request again in a while."
        problem = Problem(ProblemKind.STORE_DOWN, detail, headers={"Retry-After": STORE_RETRY_SECONDS})
        return problem_response(problem, request.state.request_id)

    app.add_exception_handler(StoreError, answer_store_error)
    app.add_exception_handler(StarletteHTTPException, _answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    problem = error if isinstance(error, Problem) else _problem_of_status(cast(StarletteHTTPException, error))
    return problem_response(problem, request.state.request_id)


def _problem_of_status(error: StarletteHTTPException) -> Problem:
    """The router's own errors; their detail is dropped, because it may repeat the request."""
    if error.status_code == 404:
        return Problem(ProblemKind.NOT_FOUND, "Check the address: GET /docs lists every one.")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"Use {allowed} here." if allowed else "GET /docs lists the methods of every address."
        return Problem(ProblemKind.METHOD_NOT_ALLOWED, detail, headers=error.headers)
    kind = ProblemKind.BAD_REQUEST if error.status_code < 500 else ProblemKind.INTERNAL_ERROR
    return Problem(kind, "GET /docs describes what this address takes.", headers=error.headers)


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    errors = cast(RequestValidationError, error).errors()
    found = [_entry(entry) for entry in errors[:ERRORS_SHOWN_MAX]]
    count = len(errors)
    things = "1 value does" if count == 1 else f"{count} values do"
    detail = f"{things} not fit: see errors, correct them and send the request again."
    return problem_response(Problem(ProblemKind.INVALID_REQUEST, detail, errors=found), request.state.request_id)


def _entry(error: Mapping[str, Any]) -> dict[str, str]:
    """One pydantic error without its `input`: what a client sent is not for logs and proxies to collect."""
    where, *path = error["loc"]
    message = str(error["msg"]).removeprefix("Value error, ")
    if where != "body":
        return {"parameter": ".".join(str(step) for step in path)[:POINTER_CHARS_MAX], "detail": message}
    return {"pointer": ("#" + "".join(map(_pointer_step, path)))[:POINTER_CHARS_MAX], "detail": message}


def _pointer_step(step: object) -> str:
    """RFC 6901: ~ and / inside a key are escaped."""
    return "/" + str(step).replace("~", "~0").replace("/", "~1")
