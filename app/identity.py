"""
Who is calling: the scopes that exist, the caller behind a bearer token, and `identify`, which routes depend on.

Knows no keys and no claims, those are in tokens.py; a wrong token gets the same answer whatever is wrong with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, NoReturn, Protocol, cast

from fastapi import Depends, Request
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2, SecurityScopes

from app.keys import NoKeysError
from app.problem import Problem, ProblemKind

CREATIVES_WRITE = "creatives:write"
CREATIVES_READ = "creatives:read"
FEEDBACK_WRITE = "feedback:write"
CATALOGUE_WRITE = "catalogue:write"
MODELS_ADMIN = "models:admin"

SCOPES: Mapping[str, str] = MappingProxyType(
    {
        CREATIVES_WRITE: "Write creatives, one by one or in batches.",
        CREATIVES_READ: "Look up creatives, their pictures, batches and feedback.",
        FEEDBACK_WRITE: "Say what became of a creative.",
        CATALOGUE_WRITE: "Upload a catalogue.",
        MODELS_ADMIN: "Look after the model: its versions, training pairs, retrains, rollbacks and drift.",
    }
)
"""Every scope there is, with what it allows."""

ISSUER_PATH = "/v1/token"
REALM = 'Bearer realm="adloom"'
RETRY_SECONDS = "10"
"""When the provider is asked again (keys.REFETCH_SECONDS)."""
HEADER_BYTES_MAX = 16 * 1024
"""Above a token's own bound (tokens.py), so that the one check that counts is there."""

log = logging.getLogger("adloom.identity")


@dataclass(frozen=True, slots=True)
class Caller:
    """Behind one verified token."""

    client: str
    scopes: frozenset[str]
    limits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """The client's own, by operation id: {"writeCreatives": "60/minute"}."""


class BrokenTokenError(Exception):
    """The token is not one that we take; the reason holds nothing of it, and is for the log and for nobody else."""


class VerifiesTokens(Protocol):
    """What this module wants of tokens.Tokens."""

    async def caller(self, token: str) -> Caller:
        """Raises BrokenTokenError, StoreDownError, or NoKeysError where no token can be judged."""
        ...


SCHEME = OAuth2(
    scheme_name="OAuth2",
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl=ISSUER_PATH, scopes=dict(SCOPES))),
    description="A bearer token of POST /v1/token, or of the OpenID provider that this service trusts.",
    auto_error=False,
)
"""For the OpenAPI document; what it reads of a request is not used."""


async def identify(
    request: Request, required: SecurityScopes, _header: Annotated[str | None, Depends(SCHEME)] = None
) -> Caller:
    """
    The caller, who has every scope in `required`: `Annotated[Caller, Security(identify, scopes=[...])]`.

    Behind `limits.include` the token has been checked before the body was read, and is not checked again.
    """
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        caller = await authenticate(request)
    require(caller, required.scopes)
    return caller


async def authenticate(request: Request) -> Caller:
    """
    The caller behind the request's token, kept in `request.state.caller`.

    Raises a Problem: 401 for the token, 503 where nobody can tell; StoreDownError passes through.
    """
    given = request.headers.getlist("authorization")
    if not given:
        raise Problem(
            ProblemKind.UNAUTHENTICATED,
            f"Send the header Authorization: Bearer TOKEN; {_WHERE_FROM}",
            headers={"WWW-Authenticate": REALM},
        )
    tokens = cast(VerifiesTokens, request.app.state.parts.tokens)
    try:
        caller = await tokens.caller(_bearer(given))
    except BrokenTokenError as error:
        fields = {"request_id": getattr(request.state, "request_id", ""), "reason": str(error)}
        log.info("token refused", extra={"fields": fields})
        _refuse()
    except NoKeysError as error:
        detail = "Tokens cannot be checked: the OpenID provider does not answer. Try again in a while."
        raise Problem(ProblemKind.NOT_READY, detail, headers={"Retry-After": RETRY_SECONDS}) from error
    request.state.caller = caller
    return caller


def require(caller: Caller, scopes: Iterable[str]) -> None:
    """Raises a 403 Problem that names the scopes which the token lacks."""
    lacking = [scope for scope in scopes if scope not in caller.scopes]
    if lacking:
        names = " ".join(lacking)
        raise Problem(
            ProblemKind.FORBIDDEN,
            f"The token lacks {names}: ask for a token with it, for a client that may have it.",
            headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{names}"'},
        )


_WHERE_FROM = "POST /v1/token gives one, or the OpenID provider that this service trusts."


def _bearer(given: list[str]) -> str:
    """The one token of the Authorization headers, in the form of RFC 6750."""
    scheme, _, token = given[0].partition(" ")
    if len(given) != 1 or scheme.lower() != "bearer" or len(token) > HEADER_BYTES_MAX:
        raise BrokenTokenError("the Authorization header is not one bearer token")
    return token.strip(" ")


def _refuse() -> NoReturn:
    """The same for every broken token: which check failed would help only whoever forges them."""
    raise Problem(
        ProblemKind.UNAUTHENTICATED,
        f"The token is not valid, or not valid any more. Send a new one; {_WHERE_FROM}",
        headers={"WWW-Authenticate": f'{REALM}, error="invalid_token"'},
    ) from None
