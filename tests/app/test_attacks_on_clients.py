"""Stolen, old and misplaced tokens, scopes that were not given, and names that are no names."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware

from app import problem
from app.client_command import create_client, rotate_client
from app.identity import CREATIVES_READ
from app.request_log import JsonFormatter, RequestLog
from tests.app.forged_tokens import OUT_OF_REACH, assert_refused, claims_of, signed
from tests.app.guarded_service import EVERYTHING, THING, Guarded, guarded, things_router

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """One for all who do not change its clients, with limits that no attack here reaches."""
    async with guarded(tmp_path_factory.mktemp("attacked"), default="10000/minute", operations=OUT_OF_REACH) as started:
        yield started


@pytest.fixture
async def own_service(tmp_path: Path) -> AsyncIterator[Guarded]:
    """One for a test alone."""
    async with guarded(tmp_path, operations=OUT_OF_REACH) as started:
        yield started


@pytest.mark.parametrize(
    "given", ["Bearer", "Bearer ", "bearer x", "Basic c2hvcDp4", "Token x", "", " ", "Bearer a b c"]
)
async def test_an_authorization_header_that_is_no_bearer_token_is_refused(service: Guarded, given: str) -> None:
    assert_refused(await service.http.get("/v1/things/1", headers={"Authorization": given}))


async def test_two_authorization_headers_are_refused_even_where_both_are_good(service: Guarded) -> None:
    good = service.bearer()["Authorization"]
    answer = await service.http.get("/v1/things/1", headers=[("Authorization", good), ("Authorization", good)])

    assert_refused(answer)


@pytest.mark.parametrize("place", ["access_token", "token", "authorization"])
async def test_a_token_in_the_address_is_not_taken(service: Guarded, place: str) -> None:
    answer = await service.http.get(f"/v1/things/1?{place}={service.issuer.issue('shop', EVERYTHING)}")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="adloom"'


async def test_a_token_in_a_cookie_or_a_form_is_not_taken(service: Guarded) -> None:
    token = service.issuer.issue("shop", EVERYTHING)
    in_cookie = await service.http.get("/v1/things/1", headers={"Cookie": f"access_token={token}"})
    in_form = await service.http.post("/v1/things", data={"access_token": token})

    assert (in_cookie.status_code, in_form.status_code) == (401, 401)


async def test_the_tokens_of_a_revoked_client_are_refused_also_those_that_were_taken_before(
    own_service: Guarded,
) -> None:
    headers = own_service.bearer()
    before = await own_service.http.get("/v1/things/1", headers=headers)
    own_service.change("shop")

    assert before.status_code == 200
    assert_refused(await own_service.http.get("/v1/things/1", headers=headers))
    assert_refused(await own_service.http.get("/v1/things/1", headers=own_service.bearer()))


async def test_tokens_of_an_older_secret_are_refused_and_those_of_the_new_one_taken(own_service: Guarded) -> None:
    old = own_service.bearer()
    rotate_client(own_service.database, "shop")

    assert_refused(await own_service.http.get("/v1/things/1", headers=old))
    assert (await own_service.http.get("/v1/things/1", headers=own_service.bearer())).status_code == 200


async def test_a_token_without_the_scope_is_403_and_names_it(service: Guarded) -> None:
    answer = await service.http.post("/v1/things", json=THING, headers=service.bearer(scopes=[CREATIVES_READ]))

    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:adloom:problem:forbidden"
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="adloom", error="insufficient_scope", scope="creatives:write"'
    )


async def test_a_route_that_was_added_without_its_gate_still_asks_who_calls(service: Guarded) -> None:
    app = FastAPI(middleware=[Middleware(RequestLog)])
    app.state.parts = service.app.state.parts
    problem.install(app)
    app.include_router(things_router())
    senders = ({}, service.bearer(scopes=[]), service.bearer())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        answers = [await http.get("/v1/things/1", headers=headers) for headers in senders]

    assert [answer.status_code for answer in answers] == [401, 403, 200]


@pytest.mark.parametrize("scope", ["", "creatives:*", "*", "CREATIVES:WRITE", "creatives:write2", "creatives"])
async def test_a_scope_counts_only_as_it_is_written(service: Guarded, scope: str) -> None:
    token = signed(service, claims_of(service, scope=scope))
    answer = await service.http.post("/v1/things", json=THING, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 403


async def test_a_token_gives_no_scope_that_its_client_does_not_have(service: Guarded) -> None:
    create_client(service.database, "reader", [CREATIVES_READ])
    headers = service.bearer(client="reader", scopes=EVERYTHING)

    assert (await service.http.get("/v1/things/1", headers=headers)).status_code == 200
    assert (await service.http.post("/v1/things", json=THING, headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "name",
    [
        "shop\r\nSet-Cookie: a=b",
        "shop%0d%0aX: y",
        "' OR '1'='1' --",
        "../../etc/passwd",
        "shop\x00",
        "ＳＨＯＰ",
        "é" * 500,
    ],
)
async def test_an_odd_client_name_is_an_unknown_client(service: Guarded, name: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": service.secret}
    answer = await service.http.post("/v1/token", data=form)

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert not any(character in str(answer.headers) for character in ("Set-Cookie", "\r", "\n"))
    assert name not in answer.text


def take_away(folder: Path) -> None:
    """The database, and leave what cannot be one in its place."""
    for file in folder.glob("adloom.db*"):
        file.unlink()
    (folder / "adloom.db").mkdir()


async def test_without_the_database_nobody_can_tell_and_the_answer_is_503_and_no_refusal(
    own_service: Guarded, tmp_path: Path
) -> None:
    own_service.database.dispose()
    take_away(tmp_path)
    opened = await own_service.http.get("/v1/things/1", headers=own_service.bearer())
    form = {"grant_type": "client_credentials", "client_id": "shop", "client_secret": own_service.secret}
    issued = await own_service.http.post("/v1/token", data=form)

    for answer in (opened, issued):
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:adloom:problem:store-unavailable"
        assert str(tmp_path) not in answer.text


async def test_the_log_says_why_a_token_was_refused_and_holds_nothing_of_it(
    own_service: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    token = signed(own_service, claims_of(own_service, aud="hunter2"))
    answer = await own_service.http.get("/v1/things/1", headers={"Authorization": f"Bearer {token}"})
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    (why,) = [line for line in lines if line["message"] == "token refused"]

    assert (why["reason"], why["request_id"]) == ("meant for somebody else", answer.json()["request_id"])
    assert not any(secret in json.dumps(lines) for secret in (token, token.split(".")[1], "hunter2"))
    assert "somebody" not in answer.text


async def test_an_unknown_client_takes_as_long_as_a_wrong_secret(service: Guarded) -> None:
    async def seconds(name: str) -> float:
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": "ads_wrong"}
        started = time.process_time()  # of all threads; waiting for a busy machine is not in it
        answer = await service.http.post("/v1/token", data=form)
        assert answer.status_code == 401
        return time.process_time() - started

    pairs = [(await seconds("shop"), await seconds("nobody")) for _ in range(9)]
    known, unknown = (min(each) for each in zip(*pairs, strict=True))

    # The hash takes 15 ms; without one for unknown clients the ratio would be below a tenth.
    assert 0.5 < unknown / known < 2.0
