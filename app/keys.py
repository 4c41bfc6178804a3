"""
Public keys that tokens are checked with: read from a JWK set (RFC 7517), ours or that of an OpenID provider.

A key brings its one algorithm with it, so what a token's header claims can only agree or be refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
from jose import jwk
from jose.backends.base import Key
from jose.exceptions import JOSEError

from app.problem import Problem
from app.strict_json import loads

RSA_BITS_MIN = 2048
"""RFC 7518, 3.3."""
KID_CHARS_MAX = 200
KEYS_MAX = 100
"""Of one provider; those in use are two or three."""
DOCUMENT_BYTES_MAX = 512 * 1024
FETCH_SECONDS_MAX = 3.0
REFETCH_SECONDS = 10.0
"""Between two fetches, whatever tokens claim: unknown key ids must not turn into requests to the provider."""
FRESH_SECONDS = 600.0
"""After this the keys are fetched again beside the requests, so that a key which the provider has dropped ends."""
DISCOVERY_PATH = "/.well-known/openid-configuration"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

log = logging.getLogger("adloom.keys")


class KeySourceError(RuntimeError):
    """The provider's keys cannot be had; the message is fit for a log."""


class NoKeysError(RuntimeError):
    """No key of the provider has ever been had, so no token can be judged."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key of a set."""

    kid: str
    algorithm: str
    key: Key


class KeySource(Protocol):
    """Where the keys of one issuer come from."""

    def known(self, kid: str) -> PublicKey | None:
        """Without asking anybody."""
        ...

    async def find(self, kid: str) -> PublicKey | None:
        """May ask the provider. Raises NoKeysError."""
        ...


class FixedKeys:
    """Keys that do not change while the process runs."""

    def __init__(self, *keys: PublicKey) -> None:
        self._keys = {key.kid: key for key in keys}

    def known(self, kid: str) -> PublicKey | None:
        """The key of that id."""
        return self._keys.get(kid)

    async def find(self, kid: str) -> PublicKey | None:
        """The key of that id."""
        return self._keys.get(kid)


class RemoteKeys:
    """
    The keys of an OpenID provider: fetched when first needed, again for an unknown id, and now and then.

    While the provider is down the old ones stay. Raises ValueError at once for an address that is not HTTPS.
    """

    def __init__(self, issuer: str, *, jwks_url: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        for url in (issuer, jwks_url):
            if url:
                _require_safe(url)
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: Mapping[str, PublicKey] = MappingProxyType({})
        self._fetched_at = -FRESH_SECONDS
        self._tried_at = -REFETCH_SECONDS
        self._fetching: asyncio.Task[None] | None = None
        self._trouble = ""

    def known(self, kid: str) -> PublicKey | None:
        """The key of that id, if it has been fetched."""
        return self._keys.get(kid)

    async def find(self, kid: str) -> PublicKey | None:
        """The key of that id; asks the provider where it is new, at most every REFETCH_SECONDS."""
        key = self._keys.get(kid)
        is_stale = self._clock() - self._fetched_at > FRESH_SECONDS
        if key is None or is_stale:
            fetching = self._fetch_soon()
            if key is None and fetching is not None:
                await asyncio.shield(fetching)
                key = self._keys.get(kid)
        if not self._keys:
            raise NoKeysError(self._trouble or "the keys of the OpenID provider have not been fetched yet")
        return key

    def trouble(self) -> str:
        """Why the last fetch failed; empty where it did not."""
        return self._trouble

    def _fetch_soon(self) -> asyncio.Task[None] | None:
        """The one fetch that everybody waits for, or None where the last is too recent."""
        if self._fetching is None or self._fetching.done():
            if self._clock() - self._tried_at < REFETCH_SECONDS:
                return None
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX), _client() as client:
                url = self._jwks_url or await _discover(client, self._issuer)
                self._keys = MappingProxyType(read_key_set(await _document(client, url)))
        except (KeySourceError, TimeoutError) as error:
            self._trouble = str(error) or f"the OpenID provider did not answer within {FETCH_SECONDS_MAX:g} s"
            log.warning("keys of the OpenID provider not fetched: %s", self._trouble)
        else:
            self._fetched_at = self._clock()
            self._trouble = ""


def read_key_set(document: Mapping[str, Any]) -> dict[str, PublicKey]:
    """
    The keys of a JWK set that we can check tokens with, by id; others are left out, as RFC 7517, 5 wants.

    Raises KeySourceError where none is left.
    """
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeySourceError("the OpenID provider sent no JWK set")
    found = [key for entry in entries[:KEYS_MAX] if isinstance(entry, dict) and (key := _public_key(entry))]
    if not found:
        raise KeySourceError("the OpenID provider's JWK set holds no RSA or P-256 key for signatures")
    return {key.kid: key for key in found}


def thumbprint(x: str, y: str) -> str:
    """RFC 7638, of a P-256 key by its coordinates in base64url."""
    members = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
    return urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).decode().rstrip("=")


def _public_key(entry: Mapping[str, Any]) -> PublicKey | None:
    """None for a key that is not for us: encryption, another curve, symmetric, too short, or broken."""
    kid = entry.get("kid")
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(entry.get("kty")))
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_CHARS_MAX or algorithm is None:
        return None
    if entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    if algorithm == "ES256" and entry.get("crv") != "P-256":
        return None
    # Only the public members: a set that leaks its private keys must not make us hold them.
    members = {name: entry.get(name) for name in ("kty", "crv", "x", "y", "n", "e") if name in entry}
    try:
        key = jwk.construct(members, algorithm)
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if algorithm == "RS256" and key.prepared_key.key_size < RSA_BITS_MIN:
        return None
    return PublicKey(kid, algorithm, key)


def _require_safe(url: str) -> None:
    """Keys over plain HTTP could be anybody's. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("ADLOOM_ISSUER and ADLOOM_JWKS_URL: use an https:// address.")


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(follow_redirects=False, timeout=FETCH_SECONDS_MAX)


async def _discover(client: httpx.AsyncClient, issuer: str) -> str:
    """Where the keys are, by OpenID Connect Discovery 1.0, section 4."""
    document = await _document(client, issuer.rstrip("/") + DISCOVERY_PATH)
    if document.get("issuer") != issuer:
        raise KeySourceError("the discovery document is of another issuer than ADLOOM_ISSUER says")
    url = document.get("jwks_uri")
    if not isinstance(url, str):
        raise KeySourceError("the discovery document names no jwks_uri")
    try:
        _require_safe(url)
    except ValueError:
        raise KeySourceError("the discovery document's jwks_uri is not an https:// address") from None
    return url


async def _document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """A JSON object of bounded size. Raises KeySourceError, whose message holds no address."""
    try:
        async with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
            if answer.status_code != httpx.codes.OK:
                raise KeySourceError(f"the OpenID provider answered {answer.status_code}")
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise KeySourceError(f"the OpenID provider sent more than {DOCUMENT_BYTES_MAX:,} bytes")
        document = loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise KeySourceError(f"the OpenID provider cannot be reached ({type(error).__name__})") from error
    except Problem as error:
        raise KeySourceError("the OpenID provider sent no JSON") from error
    if not isinstance(document, dict):
        raise KeySourceError("the OpenID provider sent no JSON object")
    return document
