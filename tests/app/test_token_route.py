"""POST /v1/token as RFC 6749 has it, and the keys that others check our tokens with."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jose import jwt

import app.client_secrets
from app.client_command import create_client, rotate_client
from app.client_secrets import (
    SECRET_CHARS_MAX,
    SECRET_PREFIX,
    SecretCheck,
    SecretsBusyError,
    hash_secret,
    new_secret,
)
from app.identity import CREATIVES_READ
from app.keys import FixedKeys, read_key_set
from tests.app.guarded_service import AUDIENCE, Guarded, guarded

pytestmark = pytest.mark.anyio

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """One for all who do not change its clients."""
    async with guarded(tmp_path_factory.mktemp("desk"), operations={"guessSecret": "1000/minute"}) as started:
        yield started


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


async def ask(service: Guarded, **changes: str) -> httpx.Response:
    """With the right secret in the form, unless changed; an empty value takes a field away."""
    form = GRANT | {"client_id": "shop", "client_secret": service.secret} | changes
    return await service.http.post("/v1/token", data={name: value for name, value in form.items() if value})


def assert_error(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    """An error of RFC 6749, 5.2 that is a problem too."""
    document: dict[str, Any] = answer.json()

    assert (answer.status_code, document["status"], document["error"]) == (status, status, error)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert document["type"].startswith("urn:adloom:problem:")
    assert document["error_description"] == document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    assert not {'"', "\\"} & set(document["error_description"])
    return document


@pytest.mark.parametrize("way", ["form", "basic", "basic and name"])
async def test_a_secret_is_exchanged_for_a_token_that_opens_the_routes(service: Guarded, way: str) -> None:
    if way == "form":
        answer = await ask(service)
    else:
        form = GRANT | ({"client_id": "shop"} if "name" in way else {})
        answer = await service.http.post("/v1/token", data=form, headers=basic("shop", service.secret))
    token = answer.json()
    opened = await service.http.get("/v1/things/1", headers={"Authorization": f"Bearer {token['access_token']}"})

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert {name: token[name] for name in token if name != "access_token"} == {
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": "creatives:read creatives:write",
    }
    assert opened.json()["client"] == "shop"


async def test_a_token_may_be_asked_for_with_less_than_the_client_may(service: Guarded) -> None:
    answer = await ask(service, scope=CREATIVES_READ)

    assert answer.json()["scope"] == CREATIVES_READ
    assert jwt.get_unverified_claims(answer.json()["access_token"])["scope"] == CREATIVES_READ


@pytest.mark.parametrize("scope", ["models:admin", "creatives:read models:admin", "creatives:read,creatives:write"])
async def test_a_scope_beyond_the_clients_is_refused_and_told_what_it_may(service: Guarded, scope: str) -> None:
    document = assert_error(await ask(service, scope=scope), 400, "invalid_scope")

    assert "creatives:read creatives:write" in document["detail"]
    assert "models:admin" not in document["detail"]


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("shop", "ads_wrong"),
        ("nobody", "ads_wrong"),
        ("shop", "x" * (SECRET_CHARS_MAX + 1)),
        ("shop", "\u0000"),
        ("SHOP", "ads_wrong"),
    ],
)
async def test_a_wrong_secret_and_an_unknown_client_get_the_same_answer(
    service: Guarded, name: str, secret: str
) -> None:
    in_form = assert_error(await ask(service, client_id=name, client_secret=secret), 401, "invalid_client")
    answer = await service.http.post("/v1/token", data=GRANT, headers=basic(name, secret))

    assert in_form["detail"] == assert_error(answer, 401, "invalid_client")["detail"]
    assert in_form["detail"] == "The client id or its secret is wrong, or the client is revoked."
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_the_right_secret_with_something_behind_it_is_wrong(service: Guarded) -> None:
    padded = service.secret + "x" * (SECRET_CHARS_MAX - len(service.secret) + 1)

    assert_error(await ask(service, client_secret=service.secret + "x"), 401, "invalid_client")
    refused = assert_error(await ask(service, client_secret=padded), 401, "invalid_client")

    assert refused["type"] == "urn:adloom:problem:invalid-client"


async def test_a_revoked_client_gets_no_token_and_an_old_secret_none_either(tmp_path: Path) -> None:
    async with guarded(tmp_path) as service:
        create_client(service.database, "gone", [CREATIVES_READ])
        fresh = rotate_client(service.database, "shop")
        assert fresh is not None
        old, new = await ask(service), await ask(service, client_secret=fresh)
        service.change("shop")
        revoked = await ask(service, client_secret=fresh)

    assert [answer.status_code for answer in (old, new, revoked)] == [401, 200, 401]


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (b"", FORM, "invalid_request"),
        (b"grant_type=client_credentials", FORM, "invalid_request"),
        (b"grant_type=client_credentials&client_id=shop", FORM, "invalid_request"),
        (b"client_id=shop&client_secret=x", FORM, "invalid_request"),
        (b"grant_type=password&client_id=shop&client_secret=x", FORM, "unsupported_grant_type"),
        (b"grant_type=client_credentials&grant_type=client_credentials&client_id=a&client_secret=b", FORM,
         "invalid_request"),
        (b"client_id=a&client_id=b&client_secret=x&grant_type=client_credentials", FORM, "invalid_request"),
        (b"\xff\xfe", FORM, "invalid_request"),
        (b"client_id=%ff&client_secret=x&grant_type=client_credentials", FORM, "invalid_request"),
        (b"&".join(b"a%d=1" % number for number in range(50)), FORM, "invalid_request"),
        (b'{"grant_type": "client_credentials"}', {"Content-Type": "application/json"}, "invalid_request"),
        (b"grant_type=client_credentials", {}, "invalid_request"),
        (b"grant_type=client_credentials", FORM | {"Authorization": "Basic !!"}, "invalid_request"),
        (b"grant_type=client_credentials", FORM | {"Authorization": "Basic c2hvcA=="}, "invalid_request"),
        (b"grant_type=client_credentials", FORM | {"Authorization": "Basic /w=="}, "invalid_request"),
        (b"grant_type=client_credentials", FORM | {"Authorization": "Bearer abc"}, "invalid_request"),
        (b"grant_type=client_credentials&client_id=other", FORM | basic("shop", "x"), "invalid_request"),
        (b"grant_type=client_credentials&client_secret=x", FORM | basic("shop", "x"), "invalid_request"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes | str) else "",
)  # fmt: skip
async def test_a_request_of_another_form_is_told_what_to_send(
    service: Guarded, body: bytes, headers: dict[str, str], error: str
) -> None:
    document = assert_error(await service.http.post("/v1/token", content=body, headers=headers), 400, error)

    assert len(document["detail"]) > 20


async def test_a_form_past_its_size_is_413_and_not_read_to_its_end(service: Guarded) -> None:
    taken: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for number in range(50):
            taken.append(number)
            yield b"x" * 1024

    answer = await service.http.post("/v1/token", content=body(), headers=FORM)

    assert_error(answer, 413, "invalid_request")
    assert len(taken) < 12


async def test_who_guesses_is_stopped_and_the_client_elsewhere_is_not(tmp_path: Path) -> None:
    async with guarded(tmp_path, operations={"guessSecret": "2/minute"}) as service:
        guesses = [await ask(service, client_secret="ads_wrong") for _ in range(3)]
        right_here = await ask(service)
        other_name = await ask(service, client_id="nobody", client_secret="x")
        transport = httpx.ASGITransport(service.app, client=("198.51.100.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
            elsewhere = await http.post("/v1/token", data=GRANT, headers=basic("shop", service.secret))

    assert [answer.status_code for answer in guesses] == [401, 401, 429]
    assert_error(right_here, 429, "slow_down")
    assert 1 <= int(right_here.headers["retry-after"]) <= 60
    assert (other_name.status_code, elsewhere.status_code) == (401, 200)


async def test_right_secrets_are_no_guesses(tmp_path: Path) -> None:
    async with guarded(tmp_path, operations={"guessSecret": "1/minute"}) as service:
        statuses = [(await ask(service)).status_code for _ in range(3)]

    assert statuses == [200, 200, 200]


async def test_an_address_gets_so_many_tokens_and_no_more(tmp_path: Path) -> None:
    async with guarded(tmp_path, operations={"issueToken": "2/minute"}) as service:
        answers = [await ask(service) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]


async def test_secrets_are_compared_a_few_at_a_time_and_the_rest_is_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app.client_secrets, "HASHES_WAITING_MAX", 2)
    check = SecretCheck()
    outcomes = await asyncio.gather(*(check.matches(None, "x") for _ in range(5)), return_exceptions=True)
    afterwards = await check.matches(None, "x")
    check.close()

    assert outcomes[:2] == [False, False]
    assert [type(outcome) for outcome in outcomes[2:]] == [SecretsBusyError] * 3
    assert afterwards is False


async def test_where_too_many_secrets_wait_the_answer_is_503(service: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(app.client_secrets, "HASHES_WAITING_MAX", 0)
        refused = await ask(service)

    assert_error(refused, 503, "temporarily_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert (await ask(service)).status_code == 200


async def test_the_keys_are_published_for_whoever_checks_our_tokens(service: Guarded) -> None:
    answer = await service.http.get("/.well-known/jwks.json")
    token = (await ask(service)).json()["access_token"]
    key = read_key_set(answer.json())[jwt.get_unverified_header(token)["kid"]]

    assert answer.headers["cache-control"] == "public, max-age=300"
    assert "d" not in answer.json()["keys"][0]
    assert jwt.decode(token, key.key, ["ES256"], audience=AUDIENCE)["client_id"] == "shop"


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/token"), ("GET", "/.well-known/jwks.json")])
async def test_with_a_provider_it_is_said_whom_to_ask(tmp_path: Path, method: str, path: str) -> None:
    provider = "https://login.example/realms/shops"
    async with guarded(tmp_path, keys=FixedKeys(), provider=provider) as service:
        answer = await service.http.request(method, path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert provider in answer.json()["detail"]


def test_a_secret_is_256_bits_behind_a_prefix_and_its_hash_says_how_it_was_made() -> None:
    one, other = new_secret(), new_secret()
    hashed = hash_secret(one)

    assert one != other
    assert len(base64.urlsafe_b64decode(one.removeprefix(SECRET_PREFIX) + "=")) == 32
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one not in hashed
    assert hashed != hash_secret(one)


async def test_the_document_says_how_to_get_in(tmp_path: Path) -> None:
    async with guarded(tmp_path) as service:
        document = service.app.openapi()
    flow = document["components"]["securitySchemes"]["OAuth2"]["flows"]["clientCredentials"]

    assert flow["tokenUrl"] == "/v1/token"
    assert set(flow["scopes"]) == {
        "creatives:read", "creatives:write", "feedback:write", "catalogue:write", "models:admin"
    }  # fmt: skip
    assert document["paths"]["/v1/things"]["post"]["security"] == [{"OAuth2": ["creatives:write"]}]
    assert "security" not in document["paths"]["/v1/token"]["post"]
    assert "security" not in document["paths"]["/v1/open"]["get"]
