"""
JSON Web Tokens: issued by this service for its own clients, and verified, its own or those of an OpenID provider.

Knows no HTTP. What a token says is looked at only after its signature, and its header only to find the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jose import jws, jwt
from jose.backends.cryptography_backend import CryptographyECKey
from jose.exceptions import JOSEError

from app.identity import SCOPES, BrokenTokenError, Caller
from app.keys import KeySource, PublicKey, thumbprint
from app.problem import Problem
from app.strict_json import loads
from model.store.clients import Client

TOKEN_BYTES_MAX = 8 * 1024
"""The header limit of most servers; ours are about 500 bytes, those of providers 1 to 3 kB."""
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""RFC 7515 compact form; readers that skip other characters would take one token in many spellings."""
TOKEN_TYPES = ("jwt", "at+jwt", "application/at+jwt", "application/jwt")
CLIENT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~@|:+=-]{0,127}")
"""Of every client, providers' too: safe in a header, a log line, a key of Redis and a query."""
VERIFIED_MAX = 10_000
CLIENTS_MAX = 10_000
"""Kept in memory, about 1 kB each."""
SECONDS_MAX = 2**40
"""Far beyond any date that a calendar takes."""

FindClient = Callable[[str], Client | None]
"""Asks the database, so it blocks; may raise StoreDownError."""


class IssuerKeyError(RuntimeError):
    """The local issuer's key cannot be read or made; the message says what to do."""


class Issuer:
    """
    The local issuer: one P-256 key, tokens signed with ES256.

    Its name is made of the key, so that tokens of one installation mean nothing to another.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, *, audience: str, token_seconds: int) -> None:
        public = CryptographyECKey(key.public_key(), "ES256")
        members = {name: str(value) for name, value in public.to_dict().items()}
        self.kid = thumbprint(members["x"], members["y"])
        self.name = f"urn:adloom:{self.kid}"
        self.token_seconds = token_seconds
        self.public_key = PublicKey(self.kid, "ES256", public)
        self._members = members
        self._key = CryptographyECKey(key, "ES256")
        self._audience = audience

    def issue(self, client: str, scopes: Iterable[str], *, now: float | None = None) -> str:
        """A token of `client` for the time being (`now`: seconds since 1970)."""
        now = time.time() if now is None else now
        claims = {
            "iss": self.name,
            "sub": client,
            "client_id": client,
            "aud": self._audience,
            # To the microsecond (RFC 7519 allows it): a token of the second in which a secret was changed is
            # either older or newer than that, and must not count as both.
            "iat": round(now, 6),
            "nbf": int(now),
            "exp": int(now) + self.token_seconds,
            "jti": secrets.token_hex(16),
            "scope": " ".join(sorted(scopes)),
        }
        return str(jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self.kid}))

    def key_set(self) -> dict[str, Any]:
        """The JWK set that others check our tokens with; public members only."""
        return {"keys": [{**self._members, "kid": self.kid, "use": "sig"}]}


@dataclass(frozen=True, slots=True)
class _Verified:
    client: str
    scopes: frozenset[str]
    issued_at: float
    expires_at: float
    kid: str


class Tokens:
    """
    Verifies tokens of one issuer and remembers those that it has verified, and for a moment whom it looked up.

    `is_local`: tokens are of our own clients, who need a row that is not revoked, and get no scope beyond it. With
    a provider a client without a row is fine, and a row can only refuse or bring limits.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str,
        audience: str,
        find_client: FindClient,
        is_local: bool,
        skew_seconds: float = 30,
        client_cache_seconds: float = 2.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._find_client = find_client
        self._is_local = is_local
        self._skew_seconds = skew_seconds
        self._client_cache_seconds = client_cache_seconds
        self._clock = clock
        self._verified: dict[bytes, _Verified] = {}
        self._clients: dict[str, tuple[float, Client | None]] = {}
        self._reading: dict[str, asyncio.Task[Client | None]] = {}

    async def caller(self, token: str) -> Caller:
        """Raises BrokenTokenError, StoreDownError, or NoKeysError."""
        if len(token) > TOKEN_BYTES_MAX:
            raise BrokenTokenError("longer than a token is")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        verified = self._verified.get(digest)
        if verified is None or self._keys.known(verified.kid) is None:
            verified = await self._verify(token)
            self._remember(digest, verified)
        if verified.expires_at + self._skew_seconds <= self._clock():
            self._verified.pop(digest, None)
            raise BrokenTokenError("expired")
        return self._caller(verified, await self._client(verified.client))

    def _caller(self, verified: _Verified, row: Client | None) -> Caller:
        if row is None:
            if self._is_local:
                raise BrokenTokenError("of a client that is not there")
            return Caller(verified.client, verified.scopes)
        if row.revoked_at is not None:
            raise BrokenTokenError("of a revoked client")
        if not self._is_local:
            return Caller(verified.client, verified.scopes, row.limits)
        if verified.issued_at < row.secret_at.timestamp():
            raise BrokenTokenError("of an older secret")
        return Caller(verified.client, verified.scopes & row.scopes, row.limits)

    async def _client(self, name: str) -> Client | None:
        """The row, read at most every `client_cache_seconds`, by one thread for all who wait for it."""
        read_at, row = self._clients.get(name, (float("-inf"), None))
        if time.monotonic() - read_at < self._client_cache_seconds:
            return row
        reading = self._reading.get(name)
        if reading is None:
            reading = asyncio.create_task(self._read(name))
            self._reading[name] = reading
            reading.add_done_callback(lambda done: self._read_done(name, done))
        return await asyncio.shield(reading)

    def _read_done(self, name: str, done: asyncio.Task[Client | None]) -> None:
        self._reading.pop(name, None)
        if not done.cancelled():
            done.exception()  # looked at, or asyncio complains where everybody who waited has left

    async def _read(self, name: str) -> Client | None:
        started_at = time.monotonic()
        row = await asyncio.to_thread(self._find_client, name)
        if len(self._clients) >= CLIENTS_MAX:
            self._clients.clear()
        self._clients[name] = (started_at, row)
        return row

    async def _verify(self, token: str) -> _Verified:
        """Everything but whether it has expired, which is asked of remembered tokens too."""
        if not TOKEN_PATTERN.fullmatch(token):
            raise BrokenTokenError("not three parts in base64url")
        try:
            header = _object(_decoded(token.partition(".")[0]))
            kid = _acceptable_kid(header)
            key = await self._keys.find(kid)
            if key is None or header.get("alg") != key.algorithm:
                raise BrokenTokenError("no such key, or not its algorithm")
            claims = _object(jws.verify(token, key.key, [key.algorithm]))
        except (JOSEError, ValueError) as error:
            raise BrokenTokenError("not signed by a key of the issuer") from error
        return self._checked(claims, kid)

    def _checked(self, claims: Mapping[str, Any], kid: str) -> _Verified:
        now, skew = self._clock(), self._skew_seconds
        if claims.get("iss") != self._issuer:
            raise BrokenTokenError("of another issuer")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise BrokenTokenError("meant for somebody else")
        issued_at, expires_at = _seconds(claims, "iat"), _seconds(claims, "exp")
        not_before = _seconds(claims, "nbf") if "nbf" in claims or self._is_local else issued_at
        if max(issued_at, not_before) > now + skew:
            raise BrokenTokenError("not valid yet")
        return _Verified(_client_of(claims), _scopes_of(claims), issued_at, expires_at, kid)

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        """Where memory is full, what has expired goes, and else the older half."""
        if len(self._verified) >= VERIFIED_MAX:
            now = self._clock() - self._skew_seconds
            kept = [(key, each) for key, each in self._verified.items() if each.expires_at > now]
            self._verified = dict(kept[-VERIFIED_MAX // 2 :])
        self._verified[digest] = verified


def open_issuer(path: Path, *, audience: str, token_seconds: int) -> Issuer:
    """The issuer whose key is in `path`; made where there is none, for this user's eyes only. Raises IssuerKeyError."""
    try:
        if not path.exists():
            _make_key(path)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise IssuerKeyError(f"the issuer's key cannot be used: {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise IssuerKeyError(f"{path} is no private key in PEM form without a password: make a new one.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IssuerKeyError(f"{path} holds another kind of key: ES256 needs one on the curve P-256.")
    return Issuer(key, audience=audience, token_seconds=token_seconds)


def _make_key(path: Path) -> None:
    """Whole or not at all, and where two processes make one, the first counts for both."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:  # made with mode 0600
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return


def _decoded(segment: str) -> bytes:
    """Raises ValueError."""
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _object(text: bytes) -> dict[str, Any]:
    """JSON that every reader takes alike. Raises BrokenTokenError."""
    try:
        value = loads(text)
    except Problem as error:
        raise BrokenTokenError("not JSON") from error
    if not isinstance(value, dict):
        raise BrokenTokenError("not a JSON object")
    return value


def _acceptable_kid(header: Mapping[str, Any]) -> str:
    """Where a header names a key by address (jku, x5u) or brings one (jwk, x5c), that is not even looked at."""
    if "crit" in header:
        raise BrokenTokenError("asks for an extension, and we have none")  # RFC 7515, 4.1.11
    if str(header.get("typ", "JWT")).lower() not in TOKEN_TYPES:
        raise BrokenTokenError("another kind of token")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise BrokenTokenError("names no key")
    return kid


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    """A NumericDate of RFC 7519; true is a number in Python and not in JSON."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= SECONDS_MAX:
        raise BrokenTokenError(f"its {name} is no time")
    return float(value)


def _client_of(claims: Mapping[str, Any]) -> str:
    """client_id (RFC 9068), else azp (OpenID Connect), else sub."""
    name = next((claims[claim] for claim in ("client_id", "azp", "sub") if claim in claims), None)
    if not isinstance(name, str) or not CLIENT_PATTERN.fullmatch(name):
        raise BrokenTokenError("names no client")
    return name


def _scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """`scope` as text (RFC 9068) or `scp` as a list; scopes that are not ours are dropped."""
    scope, listed = claims.get("scope", ""), claims.get("scp", [])
    if not isinstance(scope, str) or not isinstance(listed, list | str):
        raise BrokenTokenError("its scopes are neither text nor a list")
    names = scope.split() or (listed.split() if isinstance(listed, str) else listed)
    if not all(isinstance(name, str) for name in names):
        raise BrokenTokenError("a scope is no text")
    return frozenset(names) & SCOPES.keys()
