"""
Tokens that only the issuer could sign and would never write, and the one answer that every broken one must get.

Knows no routes beyond those of guarded_service.py.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx

from app.identity import CREATIVES_READ, CREATIVES_WRITE
from tests.app.guarded_service import AUDIENCE, Guarded

HOUR_SECONDS = 3600
LEAKS = ("Traceback", ".py", "jose", "sqlite", "SELECT", "/work", "site-packages", "kid", "signature", "BEGIN")
OUT_OF_REACH = {"refuseToken": "10000/minute", "guessSecret": "10000/minute"}
"""Limits that no attack in the tests reaches."""


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def as_json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def claims_of(service: Guarded, **changes: Any) -> dict[str, Any]:
    """Those of a good token, with changes; None takes a claim away."""
    now = int(time.time())
    claims = {
        "iss": service.issuer.name,
        "sub": "shop",
        "client_id": "shop",
        "aud": AUDIENCE,
        "iat": now + 0.999999,  # not before the client's secret, which is of this second
        "nbf": now,
        "exp": now + HOUR_SECONDS,
        "scope": f"{CREATIVES_READ} {CREATIVES_WRITE}",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(service: Guarded, claims: Any, header: Any = None) -> str:
    """A token with the issuer's own key, whatever header and claims say; bytes are taken as they are."""
    header = {"alg": "ES256", "typ": "JWT", "kid": service.issuer.kid} if header is None else header
    text = f"{encoded(as_json(header))}.{encoded(as_json(claims))}"
    return f"{text}.{encoded(service.issuer._key.sign(text.encode()))}"


def with_header(service: Guarded, **changes: Any) -> str:
    header = {"alg": "ES256", "typ": "JWT", "kid": service.issuer.kid} | changes
    return signed(service, claims_of(service), header)


async def answer_to(service: Guarded, token: str) -> httpx.Response:
    return await service.http.get("/v1/things/1", headers={"Authorization": f"Bearer {token}"})


def assert_refused(answer: httpx.Response) -> None:
    """As every broken token is, to the last byte."""
    document = answer.json()
    request_id = document.pop("request_id")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="adloom", error="invalid_token"'
    assert answer.headers["cache-control"] == "no-store"
    assert document.pop("instance") == f"urn:adloom:request:{request_id}"
    assert document == {
        "type": "urn:adloom:problem:unauthenticated",
        "title": "The request carries no valid token",
        "status": 401,
        "detail": "The token is not valid, or not valid any more. Send a new one; POST /v1/token gives one, or the "
        "OpenID provider that this service trusts.",
    }
    assert not any(leak in answer.text for leak in LEAKS)
