"""Tokens: what ours hold, when they begin and end, and what is remembered of them and of clients."""

from __future__ import annotations

import asyncio
import hashlib
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jose import jwt

import app.tokens
from app.identity import CREATIVES_READ, CREATIVES_WRITE, FEEDBACK_WRITE, BrokenTokenError, Caller
from app.keys import FixedKeys, read_key_set
from app.tokens import Issuer, IssuerKeyError, Tokens, open_issuer
from model.store.clients import Client

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.25
SKEW_SECONDS = 30
KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = Issuer(KEY, audience="adloom", token_seconds=900)
SHOP = Client(
    name="shop",
    secret_hash="",
    scopes=frozenset({CREATIVES_READ, CREATIVES_WRITE}),
    limits={"writeCreatives": "60/minute"},
    created_at=datetime.fromtimestamp(NOW - 100, UTC),
    secret_at=datetime.fromtimestamp(NOW - 100, UTC),
)


@dataclass
class Rows:
    """The clients that there are, and who was asked for."""

    rows: dict[str, Client] = field(default_factory=lambda: {"shop": SHOP})
    reads: list[str] = field(default_factory=list)
    before_read: Callable[[], Any] = lambda: None

    def find(self, name: str) -> Client | None:
        self.reads.append(name)
        self.before_read()
        return self.rows.get(name)


class Clock:
    """Seconds since 1970 that pass when the test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def tokens_of(
    rows: Rows, clock: Clock | None = None, *, is_local: bool = True, client_cache_seconds: float = 0.0
) -> Tokens:
    return Tokens(
        FixedKeys(ISSUER.public_key),
        issuer=ISSUER.name,
        audience="adloom",
        find_client=rows.find,
        is_local=is_local,
        skew_seconds=SKEW_SECONDS,
        client_cache_seconds=client_cache_seconds,
        clock=clock or Clock(),
    )


def signed(**changes: Any) -> str:
    """A token as a provider would sign it, with `changes`; None takes a claim away."""
    claims = {"iss": ISSUER.name, "aud": "adloom", "iat": NOW, "exp": NOW + 900, "sub": "u", "scope": CREATIVES_READ}
    chosen = {name: value for name, value in (claims | changes).items() if value is not None}
    return str(jwt.encode(chosen, KEY, "ES256", headers={"kid": ISSUER.kid}))


async def is_taken(tokens: Tokens, token: str) -> bool:
    try:
        await tokens.caller(token)
    except BrokenTokenError:
        return False
    return True


async def test_a_token_of_the_issuer_is_taken_for_its_client_with_what_both_allow() -> None:
    token = ISSUER.issue("shop", [CREATIVES_READ, FEEDBACK_WRITE], now=NOW)
    caller = await tokens_of(Rows()).caller(token)

    assert caller == Caller("shop", frozenset({CREATIVES_READ}))
    assert caller.limits == {"writeCreatives": "60/minute"}


def test_a_token_holds_the_claims_that_it_should_and_no_two_are_alike() -> None:
    first, second = (ISSUER.issue("shop", [CREATIVES_WRITE, CREATIVES_READ], now=NOW) for _ in range(2))
    claims = jwt.get_unverified_claims(first)
    own = claims.pop("jti")

    assert jwt.get_unverified_header(first) == {"alg": "ES256", "typ": "JWT", "kid": ISSUER.kid}
    assert claims == {
        "iss": f"urn:adloom:{ISSUER.kid}",
        "sub": "shop",
        "client_id": "shop",
        "aud": "adloom",
        "iat": NOW,
        "nbf": int(NOW),
        "exp": int(NOW) + 900,
        "scope": "creatives:read creatives:write",
    }
    assert own != jwt.get_unverified_claims(second)["jti"]


def test_the_key_set_is_public_and_checks_the_issuers_tokens() -> None:
    key_set = ISSUER.key_set()
    (entry,) = key_set["keys"]
    key = read_key_set(key_set)[ISSUER.kid]

    assert set(entry) == {"kty", "crv", "x", "y", "alg", "kid", "use"}
    assert jwt.decode(ISSUER.issue("shop", []), key.key, ["ES256"], audience="adloom")["sub"] == "shop"


@pytest.mark.parametrize(("seconds", "taken"), [(900 + SKEW_SECONDS - 1, True), (900 + SKEW_SECONDS, False)])
@pytest.mark.parametrize("is_remembered", [False, True])
async def test_a_token_ends_with_its_time_and_the_skew(seconds: int, taken: bool, is_remembered: bool) -> None:
    clock = Clock()
    tokens = tokens_of(Rows(), clock)
    token = ISSUER.issue("shop", [], now=NOW)
    if is_remembered:
        assert await is_taken(tokens, token)
    clock.now = int(NOW) + seconds

    assert await is_taken(tokens, token) is taken


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize(("seconds", "taken"), [(SKEW_SECONDS, True), (SKEW_SECONDS + 1, False)])
async def test_a_token_begins_with_its_time_less_the_skew(claim: str, seconds: int, taken: bool) -> None:
    assert await is_taken(tokens_of(Rows(), is_local=False), signed(**{claim: NOW + seconds})) is taken


@pytest.mark.parametrize(
    ("changes", "client"),
    [
        ({"client_id": "a", "azp": "b", "sub": "c"}, "a"),
        ({"azp": "b", "sub": "c"}, "b"),
        ({"sub": "auth0|c"}, "auth0|c"),
        ({"sub": "d9b2d63d-a233-4123-847a-7090f5a1e3b2"}, "d9b2d63d-a233-4123-847a-7090f5a1e3b2"),
        ({"sub": "s" * 128}, "s" * 128),
        ({"sub": "s" * 129}, ""),
        ({"sub": "a b"}, ""),
        ({"sub": None}, ""),
    ],
)
async def test_a_provider_names_the_client_in_the_first_of_three_claims(changes: dict[str, Any], client: str) -> None:
    tokens = tokens_of(Rows({}), is_local=False)
    if client:
        assert (await tokens.caller(signed(**changes))).client == client
    else:
        assert not await is_taken(tokens, signed(**changes))


@pytest.mark.parametrize(
    ("changes", "scopes"),
    [
        ({"scope": "openid creatives:read creatives:write"}, {CREATIVES_READ, CREATIVES_WRITE}),
        ({"scope": None, "scp": ["creatives:read", "email"]}, {CREATIVES_READ}),
        ({"scope": None, "scp": "creatives:read email"}, {CREATIVES_READ}),
        ({"scope": "", "scp": ["creatives:write"]}, {CREATIVES_WRITE}),
        ({"scope": None}, set()),
    ],
)
async def test_a_provider_names_the_scopes_as_text_or_as_a_list(changes: dict[str, Any], scopes: set[str]) -> None:
    assert (await tokens_of(Rows({}), is_local=False).caller(signed(**changes))).scopes == scopes


@pytest.mark.parametrize("aud", ["adloom", ["adloom"], ["other", "adloom"]])
async def test_an_audience_may_be_one_or_a_list(aud: Any) -> None:
    assert await is_taken(tokens_of(Rows({}), is_local=False), signed(aud=aud))


async def test_a_client_without_a_row_is_fine_for_a_provider_and_refused_for_ours() -> None:
    token = signed(client_id="nobody", nbf=NOW)

    assert await is_taken(tokens_of(Rows({}), is_local=False), token)
    assert not await is_taken(tokens_of(Rows({}), is_local=True), token)


async def test_a_row_brings_limits_to_a_providers_client_and_takes_no_scope_from_it() -> None:
    caller = await tokens_of(Rows(), is_local=False).caller(signed(client_id="shop", scope=FEEDBACK_WRITE))

    assert (caller.scopes, caller.limits) == ({FEEDBACK_WRITE}, SHOP.limits)


@pytest.mark.parametrize("is_local", [False, True])
async def test_a_revoked_client_is_refused_whoever_issued_its_token(is_local: bool) -> None:
    rows = Rows()
    tokens = tokens_of(rows, is_local=is_local)
    token = signed(client_id="shop", nbf=NOW)
    before = await is_taken(tokens, token)
    rows.rows["shop"] = replace(SHOP, revoked_at=datetime.fromtimestamp(NOW, UTC))

    assert before
    assert not await is_taken(tokens, token)


@pytest.mark.parametrize(("seconds", "taken"), [(-0.001, False), (0.0, True), (0.001, True)])
async def test_a_token_older_than_its_clients_secret_is_refused_to_the_millisecond(seconds: float, taken: bool) -> None:
    rows = Rows({"shop": replace(SHOP, secret_at=datetime.fromtimestamp(NOW, UTC))})

    assert await is_taken(tokens_of(rows), ISSUER.issue("shop", [], now=NOW + seconds)) is taken


async def test_a_row_is_read_once_within_the_time_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr(app.tokens.time, "monotonic", lambda: now)
    rows = Rows()
    tokens = tokens_of(rows, client_cache_seconds=2.0)
    counts = []
    for step_seconds in (0.0, 1.99, 0.01, 1.0):
        now += step_seconds
        await tokens.caller(ISSUER.issue("shop", [], now=NOW))
        counts.append(len(rows.reads))

    assert counts == [1, 1, 2, 2]


async def test_many_who_want_the_same_row_at_once_read_it_once() -> None:
    gate = threading.Event()
    rows = Rows(before_read=lambda: gate.wait(60))
    tokens = tokens_of(rows, client_cache_seconds=2.0)
    token = ISSUER.issue("shop", [], now=NOW)
    waiting = [asyncio.create_task(tokens.caller(token)) for _ in range(50)]
    await asyncio.sleep(0)
    gate.set()
    callers = await asyncio.gather(*waiting)

    assert {caller.client for caller in callers} == {"shop"}
    assert rows.reads == ["shop"]


async def test_a_database_that_fails_is_asked_again_and_its_error_passes_through() -> None:
    rows = Rows()
    tokens = tokens_of(rows, client_cache_seconds=2.0)
    token = ISSUER.issue("shop", [], now=NOW)

    def fail() -> None:
        raise TimeoutError("the database is away")

    rows.before_read = fail
    with pytest.raises(TimeoutError, match="away"):
        await tokens.caller(token)
    rows.before_read = lambda: None

    assert await is_taken(tokens, token)


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.tokens, "VERIFIED_MAX", 20)
    monkeypatch.setattr(app.tokens, "CLIENTS_MAX", 20)
    tokens = tokens_of(Rows({}), is_local=False, client_cache_seconds=60)
    issued = [signed(sub=f"c{number}") for number in range(50)]
    for token in issued:
        await tokens.caller(token)

    assert 0 < len(tokens._verified) <= 20
    assert 0 < len(tokens._clients) <= 20
    assert hashlib.sha256(issued[-1].encode()).digest() in tokens._verified


async def test_a_broken_token_is_not_remembered() -> None:
    tokens = tokens_of(Rows())
    for number in range(5):
        assert not await is_taken(tokens, f"a.b.{number}")

    assert tokens._verified == {}


def test_the_key_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "service" / "issuer.pem"
    first = open_issuer(path, audience="adloom", token_seconds=900)
    again = open_issuer(path, audience="adloom", token_seconds=900)
    other = open_issuer(tmp_path / "other.pem", audience="adloom", token_seconds=900)

    assert first.kid == again.kid != other.kid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["issuer.pem"]


def test_processes_that_make_the_key_at_once_agree_on_it(tmp_path: Path) -> None:
    path = tmp_path / "issuer.pem"
    barrier = threading.Barrier(8)
    kids: list[str] = []

    def open_it() -> None:
        barrier.wait(60)
        kids.append(open_issuer(path, audience="adloom", token_seconds=900).kid)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(kids) == 8
    assert len(set(kids)) == 1


def pem(key: Any, password: bytes = b"") -> bytes:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    return text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no private key in PEM form"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in PEM form"),
        (pem(KEY, b"secret"), "without a password"),
        (pem(rsa.generate_private_key(65537, 2048)), "another kind of key"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "another kind of key"),
    ],
)
def test_a_key_file_that_is_not_ours_stops_the_start_and_stays(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "issuer.pem"
    path.write_bytes(content)

    with pytest.raises(IssuerKeyError, match=says):
        open_issuer(path, audience="adloom", token_seconds=900)
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_key_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(IssuerKeyError, match="cannot be used"):
        open_issuer(tmp_path, audience="adloom", token_seconds=900)
