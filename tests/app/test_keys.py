"""The keys of an OpenID provider: a real HTTP server that rotates them, fails, lies, and comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk, jwt

from app.identity import CREATIVES_READ, CREATIVES_WRITE
from app.keys import (
    DISCOVERY_PATH,
    FRESH_SECONDS,
    KID_CHARS_MAX,
    REFETCH_SECONDS,
    FixedKeys,
    KeySourceError,
    NoKeysError,
    RemoteKeys,
    read_key_set,
    thumbprint,
)
from app.tokens import Issuer
from tests.app.guarded_service import AUDIENCE, guarded

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Provider:
    """An OpenID provider on this machine; `asked` are the paths that it was asked for."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    discovery: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> bytes:
        self.asked.append(path)
        self.gate.wait(60)
        if self.body is not None:
            return self.body
        return json.dumps(self.discovery if path == DISCOVERY_PATH else {"keys": self.keys}).encode()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """With one key, "first", and a true discovery document; waited for however busy this machine is."""
    monkeypatch.setattr("app.keys.FETCH_SECONDS_MAX", 60.0)
    provider = Provider()
    provider.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = provider.answer(self.path)
            self.send_response(provider.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_port}"
        provider.keys = [public_jwk(EC_KEY, "first")]
        provider.discovery = {"issuer": provider.url, "jwks_uri": f"{provider.url}/keys"}
        yield provider
        provider.gate.set()
        server.shutdown()
        thread.join()


EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def public_jwk(key: Any, key_id: str, /, **changes: Any) -> dict[str, Any]:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    members = jwk.construct(key.public_key(), algorithm).to_dict()
    text = {name: value.decode() if isinstance(value, bytes) else value for name, value in members.items()}
    entry = text | {"kid": key_id, "use": "sig"} | changes
    return {name: value for name, value in entry.items() if value is not None}


async def test_the_keys_are_found_through_discovery_and_fetched_when_first_needed(provider: Provider) -> None:
    keys = RemoteKeys(provider.url)
    before = list(provider.asked)
    key = await keys.find("first")
    again = await keys.find("first")

    assert before == []
    assert key is not None
    assert (key.kid, key.algorithm) == ("first", "ES256")
    assert again is key is keys.known("first")
    assert provider.asked == [DISCOVERY_PATH, "/keys"]


async def test_a_given_address_of_the_keys_needs_no_discovery(provider: Provider) -> None:
    await RemoteKeys("https://issuer.example", jwks_url=f"{provider.url}/keys").find("first")

    assert provider.asked == ["/keys"]


async def test_an_unknown_key_id_is_asked_for_once_and_not_again_within_ten_seconds(provider: Provider) -> None:
    clock = Clock()
    keys = RemoteKeys(provider.url, jwks_url=f"{provider.url}/keys", clock=clock)
    await keys.find("first")
    provider.keys.append(public_jwk(RSA_KEY, "second"))
    clock.now += REFETCH_SECONDS - 0.1
    too_soon = await keys.find("second")
    clock.now += 0.1
    found = await keys.find("second")
    for number in range(20):
        assert await keys.find(f"unknown {number}") is None

    assert too_soon is None
    assert found is not None
    assert found.algorithm == "RS256"
    assert len(provider.asked) == 2


async def test_those_who_come_while_the_keys_are_fetched_wait_for_the_same_answer(provider: Provider) -> None:
    provider.gate.clear()
    keys = RemoteKeys(provider.url, jwks_url=f"{provider.url}/keys")
    found: list[str] = []

    async def find() -> None:
        key = await keys.find("first")
        found.append(key.kid if key else "")

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(find)
        with anyio.fail_after(60):
            while not provider.asked:
                await anyio.sleep(0.005)
        provider.gate.set()

    assert found == ["first"] * 20
    assert provider.asked == ["/keys"]


async def test_a_key_that_the_provider_has_dropped_ends_when_the_keys_are_no_longer_fresh(provider: Provider) -> None:
    clock = Clock()
    keys = RemoteKeys(provider.url, jwks_url=f"{provider.url}/keys", clock=clock)
    await keys.find("first")
    provider.keys = [public_jwk(RSA_KEY, "second")]
    clock.now += FRESH_SECONDS
    still_fresh = await keys.find("first")
    clock.now += 0.1
    await keys.find("first")  # begins the fetch, and does not wait for it
    with anyio.fail_after(60):
        while keys.known("first"):
            await anyio.sleep(0.005)

    assert still_fresh is not None
    assert keys.known("second") is not None


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b""), (404, b"{}"), (302, b""), (200, b"no json"), (200, b"[]"), (200, b'{"keys": []}'),
     (200, b'{"keys": 7}'), (200, b" " * 600_000), (200, b'{"keys": [1, "a", null, {}]}')],
)  # fmt: skip
async def test_while_the_provider_fails_the_old_keys_stay_and_it_is_asked_again(
    provider: Provider, status: int, body: bytes
) -> None:
    clock = Clock()
    keys = RemoteKeys(provider.url, jwks_url=f"{provider.url}/keys", clock=clock)
    await keys.find("first")
    provider.status, provider.body = status, body
    clock.now += REFETCH_SECONDS
    while_down = await keys.find("second"), await keys.find("first")
    trouble = keys.trouble()
    provider.status, provider.body = 200, None
    provider.keys.append(public_jwk(RSA_KEY, "second"))
    clock.now += REFETCH_SECONDS
    found = await keys.find("second")

    assert while_down[0] is None
    assert while_down[1] is not None
    assert "OpenID provider" in trouble
    assert provider.url not in trouble
    assert found is not None
    assert keys.trouble() == ""
    assert set(provider.asked) == {"/keys"}  # no redirect is followed


async def test_where_no_key_was_ever_had_nobody_can_judge() -> None:
    keys = RemoteKeys("http://127.0.0.1:1")

    with pytest.raises(NoKeysError, match="cannot be reached"):
        await keys.find("first")


@pytest.mark.parametrize(
    "changes",
    [{"issuer": "https://other.example"}, {"issuer": None}, {"jwks_uri": "http://keys.example/"}, {"jwks_uri": None},
     {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": 7}],
    ids=str,
)  # fmt: skip
async def test_a_discovery_document_that_is_not_the_issuers_or_leads_astray_is_not_followed(
    provider: Provider, changes: dict[str, Any]
) -> None:
    provider.discovery |= changes
    keys = RemoteKeys(provider.url)

    with pytest.raises(NoKeysError, match="discovery document"):
        await keys.find("first")
    assert provider.asked == [DISCOVERY_PATH]


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "http://127.0.0.1.example", "ftp://127.0.0.1", "issuer.example", "https://", "//h"]
)
def test_an_issuer_without_https_stops_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        RemoteKeys(url)
    with pytest.raises(ValueError, match="https://"):
        RemoteKeys("https://issuer.example", jwks_url=url)


@pytest.mark.parametrize("url", ["https://issuer.example/realms/a", "http://127.0.0.1:8080", "http://localhost"])
def test_an_issuer_with_https_or_on_this_machine_is_taken(url: str) -> None:
    assert RemoteKeys(url, jwks_url=url).known("first") is None


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"},
        public_jwk(EC_KEY, "a", use="enc"),
        public_jwk(EC_KEY, "a", alg="ES384"),
        public_jwk(EC_KEY, "a", alg="none"),
        public_jwk(EC_KEY, "a", kty="RSA"),
        public_jwk(EC_KEY, "a", x="AAAA"),
        public_jwk(EC_KEY, "a", x=None),
        public_jwk(EC_KEY, "a", kid=None),
        public_jwk(EC_KEY, "a", kid=7),
        public_jwk(EC_KEY, "a" * (KID_CHARS_MAX + 1)),
        public_jwk(RSA_KEY, "a", alg="RS512"),
        public_jwk(RSA_KEY, "a", n="!"),
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "kid": "a"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"},
    ],
    ids=lambda entry: " ".join(f"{name}={value}"[:12] for name, value in entry.items() if name not in ("x", "y", "n")),
)
def test_a_key_that_is_not_for_us_is_left_out_and_the_others_stay(entry: dict[str, Any]) -> None:
    good = public_jwk(RSA_KEY, "good")

    assert list(read_key_set({"keys": [entry, good]})) == ["good"]
    with pytest.raises(KeySourceError, match="no RSA or P-256 key"):
        read_key_set({"keys": [entry]})


def test_an_rsa_key_needs_2048_bits() -> None:
    short = rsa.generate_private_key(65537, 1024)

    assert list(read_key_set({"keys": [public_jwk(RSA_KEY, "long"), public_jwk(short, "short")]})) == ["long"]


def test_private_members_of_a_set_that_leaks_them_are_dropped() -> None:
    private = {**public_jwk(EC_KEY, "a"), "d": "AAAA"}
    key = read_key_set({"keys": [private]})["a"].key

    assert not hasattr(key.prepared_key, "private_numbers")


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    # Of the key in RFC 7517, appendix A.1; the digest is SHA-256 over its four members in order.
    x, y = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"

    assert thumbprint(x, y) == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"


def external_token(provider: Provider, key: Any, kid: str, **claims: Any) -> dict[str, str]:
    body = {"iss": provider.url, "aud": AUDIENCE, "iat": NOW, "exp": 4102444800, **claims}
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    token = jwt.encode(body, jwk.construct(key, algorithm), algorithm, headers={"kid": kid})
    return {"Authorization": f"Bearer {token}"}


NOW = 1_700_000_000


async def test_tokens_of_a_provider_are_taken_through_a_rotation_of_its_keys(
    provider: Provider, tmp_path: Path
) -> None:
    clock = Clock()
    scope = f"openid {CREATIVES_READ} {CREATIVES_WRITE}"
    async with guarded(tmp_path, keys=RemoteKeys(provider.url, clock=clock), provider=provider.url) as service:
        old = external_token(provider, EC_KEY, "first", azp="partner", sub="u", scope=scope)
        first = await service.http.get("/v1/things/1", headers=old)
        provider.keys = [public_jwk(RSA_KEY, "second")]
        clock.now += REFETCH_SECONDS
        new = external_token(provider, RSA_KEY, "second", sub="auth0|7", scp=[CREATIVES_READ])
        second = await service.http.get("/v1/things/1", headers=new)
        dropped = await service.http.get("/v1/things/1", headers=old)
        without_scope = await service.http.post("/v1/things", json={"name": "a"}, headers=new)

    assert (first.status_code, first.json()["client"]) == (200, "partner")
    assert (second.status_code, second.json()["client"]) == (200, "auth0|7")
    assert dropped.status_code == 401
    assert without_scope.status_code == 403


async def test_tokens_alone_see_to_it_that_a_dropped_key_ends(provider: Provider, tmp_path: Path) -> None:
    clock = Clock()
    keys = RemoteKeys(provider.url, clock=clock)
    async with guarded(tmp_path, keys=keys, provider=provider.url) as service:
        statuses = []
        for number, seconds in enumerate((0.0, FRESH_SECONDS + 1, 0.0)):
            clock.now += seconds
            headers = external_token(provider, EC_KEY, "first", sub=f"u{number}", scope=CREATIVES_READ)
            statuses.append((await service.http.get("/v1/things/1", headers=headers)).status_code)
            provider.keys = [public_jwk(RSA_KEY, "second")]
            with anyio.fail_after(60):
                while number and keys.known("first"):
                    await anyio.sleep(0.005)

    assert statuses == [200, 200, 401]


@pytest.mark.parametrize("name", ["RS256", "ES256"])
async def test_a_key_of_the_provider_is_used_with_its_own_algorithm_alone(
    provider: Provider, tmp_path: Path, name: str
) -> None:
    provider.keys = [public_jwk(EC_KEY, "ec"), public_jwk(RSA_KEY, "rsa")]
    signer, kid = (RSA_KEY, "ec") if name == "RS256" else (EC_KEY, "rsa")
    async with guarded(tmp_path, keys=RemoteKeys(provider.url), provider=provider.url) as service:
        good = external_token(provider, RSA_KEY, "rsa", sub="a", scope=CREATIVES_READ)
        crossed = external_token(provider, signer, kid, sub="a", scope=CREATIVES_READ)
        answers = [await service.http.get("/v1/things/1", headers=headers) for headers in (good, crossed)]

    assert [answer.status_code for answer in answers] == [200, 401]


async def test_a_revoked_row_refuses_the_tokens_of_a_provider_too(provider: Provider, tmp_path: Path) -> None:
    async with guarded(tmp_path, keys=RemoteKeys(provider.url), provider=provider.url) as service:
        headers = external_token(provider, EC_KEY, "first", client_id="shop", scope=CREATIVES_READ)
        before = await service.http.get("/v1/things/1", headers=headers)
        service.change("shop")
        after = await service.http.get("/v1/things/1", headers=headers)

    assert (before.status_code, after.status_code) == (200, 401)


async def test_a_provider_that_was_never_there_is_503_and_no_refusal(tmp_path: Path) -> None:
    issuer = "http://127.0.0.1:1"
    async with guarded(tmp_path, keys=RemoteKeys(issuer), provider=issuer) as service:
        answer = await service.http.get("/v1/things/1", headers=service.bearer())

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "provider does not answer" in answer.json()["detail"]
    assert issuer not in answer.text


async def test_our_own_keys_are_known_without_asking() -> None:
    issuer = Issuer(EC_KEY, audience=AUDIENCE, token_seconds=900)
    keys = FixedKeys(issuer.public_key)

    assert keys.known(issuer.kid) is await keys.find(issuer.kid) is issuer.public_key
    assert await keys.find("other") is None
