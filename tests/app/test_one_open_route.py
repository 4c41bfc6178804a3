"""What a person asks the pipelines for, a retrain or a rollback: one at a time, the same once, and all are listed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from app import retrains_route, rollbacks_route
from app.identity import CREATIVES_WRITE
from app.problem import ProblemKind
from model.store.tables import retrains, rollbacks
from tests.app.memory_client import RIVAL, bearer, parts_of, remembering

KEY = {"Idempotency-Key": "autumn"}

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        ("router", "path", "sent", "kind"),
        [
            pytest.param(retrains_route.router, "/v1/retrains", {}, ProblemKind.RETRAIN_OPEN, id="retrain"),
            pytest.param(
                rollbacks_route.router, "/v1/rollbacks", {"to": "7"}, ProblemKind.ROLLBACK_OPEN, id="rollback"
            ),
        ],
    ),
]


async def ask(
    client: httpx.AsyncClient, path: str, sent: dict[str, Any], reason: str, **headers: str
) -> httpx.Response:
    return await client.post(path, json={**sent, "reason": reason}, headers=headers)


async def test_of_many_who_ask_at_once_one_is_served(
    tmp_path: Path, router: APIRouter, path: str, sent: dict[str, Any], kind: ProblemKind
) -> None:
    async with remembering(tmp_path, [router]) as client:
        answers = await asyncio.gather(*(ask(client, path, sent, f"Reason {number}.") for number in range(8)))
    made = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    refused = [answer.json() for answer in answers if answer.status_code == 409]

    assert (len(made), len(refused)) == (1, 7)
    assert all(made[0] in answer["detail"] and answer["type"] == kind.type for answer in refused)


async def test_the_same_key_gives_the_first_answer_although_that_one_is_open(
    tmp_path: Path, router: APIRouter, path: str, sent: dict[str, Any], kind: ProblemKind
) -> None:
    async with remembering(tmp_path, [router]) as client:
        first, second = [await ask(client, path, sent, "It is autumn.", **KEY) for _ in range(2)]
        other = await ask(client, path, sent, "Another reason.", **KEY)
        rival = await ask(client, path, sent, "It is autumn.", **KEY, **RIVAL)

    assert (first.status_code, second.status_code, other.status_code) == (202, 202, 422)
    assert second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"
    # Another client's key is another one: it meets the first request itself.
    assert (rival.status_code, rival.json()["type"]) == (409, kind.type)


async def test_those_of_everybody_are_listed_the_newest_first(
    tmp_path: Path, router: APIRouter, path: str, sent: dict[str, Any], kind: ProblemKind
) -> None:
    async with remembering(tmp_path, [router]) as client:
        none = (await client.get(path)).json()
        made = []
        for headers in ({}, RIVAL, {}):
            made.append((await ask(client, path, sent, "It is autumn.", **headers)).json()["id"])
            with parts_of(client).database.begin() as connection:
                for table in (retrains, rollbacks):
                    connection.execute(table.update().values(state="failed", ended_at=datetime.now(UTC)))
        listed = (await client.get(path)).json()
        one = (await client.get(path, params={"limit": 1})).json()
        each = (await client.get(f"{path}/{made[1]}")).json()
        wrong = [(await client.get(path, params={"limit": limit})).status_code for limit in (0, 101, "x")]
        refused = await client.get(path, headers=bearer("shop", CREATIVES_WRITE))
    name = path.rpartition("/")[2]

    assert none == {name: []}
    assert [row["id"] for row in listed[name]] == made[::-1]
    assert [row["id"] for row in one[name]] == made[-1:]
    assert listed[name][1] == each
    assert wrong == [422] * 3
    assert (refused.status_code, refused.json()["type"]) == (403, ProblemKind.FORBIDDEN.type)
