"""
The token endpoint (RFC 6749, client credentials) and the public keys that tokens of this service are checked with.

Knows no claims. A wrong secret, an unknown client and a revoked one get the same answer in the same time.
"""

from __future__ import annotations

import asyncio
import binascii
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request, Response

from app.client_secrets import NAME_PATTERN, SECRET_CHARS_MAX, SecretCheck, SecretsBusyError
from app.identity import ISSUER_PATH
from app.limits import Limits, address_of, too_many
from app.openapi import EXAMPLE_REQUEST_ID
from app.problem import MEDIA_TYPE, Problem, ProblemKind, problem_document
from app.tokens import FindClient, Issuer
from model.store.clients import Client

FORM_BYTES_MAX = 8 * 1024
FORM_FIELDS_MAX = 16
FORM_TYPE = "application/x-www-form-urlencoded"
router = APIRouter(tags=["identity"])


class TokenError(Exception):
    """An error of RFC 6749, 5.2, and the problem that it is."""

    def __init__(self, error: str, problem: Problem) -> None:
        super().__init__(error)
        self.error = error
        self.problem = problem


@dataclass(frozen=True, slots=True)
class TokenDesk:
    """What the two routes need; stands in `parts.token_desk`. `issuer` None: tokens come from `provider`."""

    issuer: Issuer | None
    provider: str
    find_client: FindClient
    secrets: SecretCheck
    limits: Limits


class _Parts(Protocol):
    token_desk: TokenDesk


_FORM_SCHEMA = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "const": "client_credentials"},
        "client_id": {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$"},
        "client_secret": {"type": "string", "maxLength": SECRET_CHARS_MAX},
        "scope": {"type": "string", "description": "Separated by spaces; all that the client may have if left out."},
    },
}
_FORM_EXAMPLE = {
    "grant_type": "client_credentials",
    "client_id": "example-shop",
    "client_secret": "ads_shown-once-by-adloom-client-create",
    "scope": "creatives:read creatives:write",
}
_TOKEN_EXAMPLE = {
    "access_token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzaG9wIn0.c2lnbmF0dXJl",
    "token_type": "Bearer",
    "expires_in": 900,
    "scope": "creatives:read creatives:write",
}
_TOKEN_SCHEMA = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_in", "scope"],
    "properties": {
        "access_token": {"type": "string"},
        "token_type": {"const": "Bearer"},
        "expires_in": {"type": "integer", "minimum": 1, "description": "Seconds."},
        "scope": {"type": "string"},
    },
}
_ERROR_SCHEMA = {
    "allOf": [
        {"$ref": "#/components/schemas/ProblemOut"},
        {
            "type": "object",
            "required": ["error", "error_description"],
            "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
        },
    ]
}
_PROBLEM = {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
_KEY_SET_SCHEMA = {
    "type": "object",
    "required": ["keys"],
    "properties": {"keys": {"type": "array", "items": {"type": "object", "required": ["kty", "kid", "use", "alg"]}}},
}


def _error_response(error: str, kind: ProblemKind, detail: str, *, or_problem: bool = False) -> dict[str, Any]:
    """`or_problem`: layers before the route can end the request with this status too, as they do everywhere."""
    document = problem_document(Problem(kind, detail), EXAMPLE_REQUEST_ID)
    example = {"error": error, "error_description": detail, **document}
    plain = {MEDIA_TYPE: _PROBLEM} if or_problem else {}
    return {
        "description": f"{kind.title}: `error` says which of RFC 6749, 5.2.",
        "content": {"application/json": {"schema": _ERROR_SCHEMA, "example": example}, **plain},
    }


_WRONG_CLIENT = "The client id or its secret is wrong, or the client is revoked."


@router.post(
    ISSUER_PATH,
    operation_id="issueToken",
    summary="Exchange a client's secret for a token",
    response_class=Response,
    responses={
        200: {
            "description": "The token; send it as `Authorization: Bearer ...` until it expires.",
            "content": {"application/json": {"schema": _TOKEN_SCHEMA, "example": _TOKEN_EXAMPLE}},
        },
        400: _error_response("invalid_request", ProblemKind.BAD_REQUEST, "Send the form field grant_type."),
        401: _error_response("invalid_client", ProblemKind.INVALID_CLIENT, _WRONG_CLIENT),
        404: {"description": "Tokens come from an OpenID provider.", "content": {MEDIA_TYPE: _PROBLEM}},
        408: {"description": ProblemKind.BODY_TOO_SLOW.title, "content": {MEDIA_TYPE: _PROBLEM}},
        413: _error_response(
            "invalid_request", ProblemKind.BODY_TOO_LARGE, f"Send at most {FORM_BYTES_MAX:,} bytes.", or_problem=True
        ),
        429: _error_response("slow_down", ProblemKind.RATE_LIMITED, "Wait 30 s.", or_problem=True),
        503: _error_response("temporarily_unavailable", ProblemKind.OVERLOADED, "Try again in 1 s.", or_problem=True),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {FORM_TYPE: {"schema": _FORM_SCHEMA, "examples": {"whole": {"value": _FORM_EXAMPLE}}}},
        }
    },
)
async def issue_token(request: Request) -> Response:
    """Client credentials grant; the client's id and secret as form fields or, better, as HTTP Basic."""
    desk = _desk(request)
    if desk.issuer is None:
        raise _elsewhere(desk)
    try:
        answer = await _issued(request, desk, desk.issuer)
    except TokenError as error:
        return _error_answer(error, request.state.request_id)
    return _json(answer, 200, {})


@router.get(
    "/.well-known/jwks.json",
    operation_id="getKeySet",
    summary="The keys that tokens of this service are signed with",
    response_class=Response,
    responses={
        200: {
            "description": "A JWK set, RFC 7517.",
            "content": {"application/json": {"schema": _KEY_SET_SCHEMA}},
        },
        404: {"description": "Tokens come from an OpenID provider.", "content": {MEDIA_TYPE: _PROBLEM}},
    },
)
async def get_key_set(request: Request) -> Response:
    """Public members only; for gateways that check tokens before they pass a request on."""
    desk = _desk(request)
    if desk.issuer is None:
        raise _elsewhere(desk)
    return _json(desk.issuer.key_set(), 200, {"Cache-Control": "public, max-age=300"})


async def _issued(request: Request, desk: TokenDesk, issuer: Issuer) -> dict[str, Any]:
    form = await _form(request)
    name, secret = _credentials(request, form)
    if "grant_type" not in form:
        raise _wrong("invalid_request", "Send the form field grant_type=client_credentials.")
    if form["grant_type"] != "client_credentials":
        raise _wrong("unsupported_grant_type", "Send grant_type=client_credentials: there is no other.")
    client = await _authenticated(request, desk, name, secret)
    scopes = _granted(client, form.get("scope", ""))
    return {
        "access_token": issuer.issue(client.name, scopes),
        "token_type": "Bearer",
        "expires_in": issuer.token_seconds,
        "scope": " ".join(sorted(scopes)),
    }


async def _authenticated(request: Request, desk: TokenDesk, name: str, secret: str) -> Client:
    """
    The client whose secret it is. Raises TokenError.

    Only failures count, and by name and address together: who guesses cannot keep a client out elsewhere.
    """
    known_name = name if NAME_PATTERN.fullmatch(name) else ""
    guesses = f"{known_name} at {address_of(request)}"
    standing = desk.limits.look("guessSecret", guesses)
    if not standing.is_allowed:
        raise TokenError("slow_down", too_many(standing))
    client = await asyncio.to_thread(desk.find_client, known_name)
    try:
        is_right = await desk.secrets.matches(client, secret)
    except SecretsBusyError:
        wait = Problem(ProblemKind.OVERLOADED, "Try again in 1 s.", headers={"Retry-After": "1"})
        raise TokenError("temporarily_unavailable", wait) from None
    if client is None or not is_right:
        await desk.limits.charge("guessSecret", guesses)
        challenge = {"WWW-Authenticate": 'Basic realm="adloom", charset="UTF-8"'}
        raise TokenError("invalid_client", Problem(ProblemKind.INVALID_CLIENT, _WRONG_CLIENT, headers=challenge))
    return client


def _granted(client: Client, asked: str) -> frozenset[str]:
    """What was asked for, or all that the client may have."""
    scopes = frozenset(asked.split(" ")) - {""} or client.scopes
    if not scopes <= client.scopes:
        may = " ".join(sorted(client.scopes)) or "no scope at all"
        raise _wrong("invalid_scope", f"This client may have {may}: ask for some of it, or leave scope out.")
    return scopes


async def _form(request: Request) -> dict[str, str]:
    """The fields of the body, each at most once (RFC 6749, 3.2). Raises TokenError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise _wrong("invalid_request", f"Send the fields as {FORM_TYPE}.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            detail = f"Send at most {FORM_BYTES_MAX:,} bytes."
            raise TokenError(
                "invalid_request", Problem(ProblemKind.BODY_TOO_LARGE, detail, headers={"Connection": "close"})
            )
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        raise _wrong("invalid_request", "The body is not form fields in UTF-8, percent-encoded.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _wrong("invalid_request", "A field is there twice: send each once.")
    return fields


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret from HTTP Basic or the form, never both (RFC 6749, 2.3). Raises TokenError."""
    given = request.headers.getlist("authorization")
    in_form = "client_id" in form and "client_secret" in form
    if len(given) > 1 or (given and "client_secret" in form):
        raise _wrong("invalid_request", "Send the client's secret once: as HTTP Basic, or as form fields.")
    if given:
        name, secret = _basic(given[0])
        if form.get("client_id", name) != name:
            raise _wrong("invalid_request", "The form names another client than HTTP Basic does.")
        return name, secret
    if not in_form:
        raise _wrong("invalid_request", "Send client_id and client_secret, as HTTP Basic or as form fields.")
    return form["client_id"], form["client_secret"]


def _basic(header: str) -> tuple[str, str]:
    """RFC 7617, with both parts form-encoded first, as RFC 6749, 2.3.1 wants; our own need no encoding."""
    scheme, _, encoded = header.partition(" ")
    try:
        name, colon, secret = b64decode(encoded.strip(" "), validate=True).decode("utf-8").partition(":")
        credentials = unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        colon, credentials = "", ("", "")
    if scheme.lower() != "basic" or not colon:
        raise _wrong("invalid_request", "The Authorization header is not HTTP Basic with id:secret.")
    return credentials


def _wrong(error: str, detail: str) -> TokenError:
    return TokenError(error, Problem(ProblemKind.BAD_REQUEST, detail))


def _error_answer(error: TokenError, request_id: str) -> Response:
    problem = error.problem
    document = problem_document(problem, request_id)
    members = {"error": error.error, "error_description": problem.detail, **document}
    return _json(members, problem.kind.status, problem.headers or {})


def _json(value: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    fresh = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(json.dumps(value), status, headers={**fresh, **headers}, media_type="application/json")


def _elsewhere(desk: TokenDesk) -> Problem:
    detail = f"This service issues no tokens: ask {desk.provider}, the OpenID provider whose tokens it takes."
    return Problem(ProblemKind.NOT_FOUND, detail)


def _desk(request: Request) -> TokenDesk:
    return cast("_Parts", request.app.state.parts).token_desk
