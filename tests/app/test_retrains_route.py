"""A retrain that a person asks for: kept once, one at a time, and told of until it has ended."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import retrains_route
from app.identity import CREATIVES_WRITE, MODELS_ADMIN
from app.problem import ProblemKind
from app.retrains_route import REASON_CHARS_MAX, TASK
from model.store import retrains
from tests.app.memory_client import RIVAL, bearer, parts_of, remembering

pytestmark = pytest.mark.anyio

ROUTERS = [retrains_route.router]


async def ask(client: httpx.AsyncClient, reason: str = "A new season.", **headers: str) -> httpx.Response:
    return await client.post("/v1/retrains", json={"reason": reason}, headers=headers)


def end(client: httpx.AsyncClient, retrain_id: str, **facts: Any) -> None:
    """As the pipelines do it."""
    with parts_of(client).database.begin() as connection:
        assert retrains.finish(connection, retrain_id, "promoted", at=datetime.now(UTC), **facts)


async def test_what_was_asked_for_waits_and_says_who_asked_and_why(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = await ask(client)
        found = await client.get(made.headers["location"])
    row = found.json()

    assert (made.status_code, found.status_code) == (202, 200)
    assert made.json() == {"id": row["id"], "state": "waiting"}
    assert (row["trigger"], row["cause"], row["asked_by"]) == ("manual", {"reason": "A new season."}, "shop")
    assert (row["version"], row["helped"], row["started_at"], row["ended_at"]) == ("", None, None, None)


async def test_while_one_is_open_the_next_is_409_and_names_it_and_after_its_end_202(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        first = (await ask(client)).json()["id"]
        refused = await ask(client, "Again.", **RIVAL)
        end(client, first, version="8", why="better by 0.02")
        second = await ask(client, "Again.")
        ended = (await client.get(f"/v1/retrains/{first}")).json()

    assert refused.status_code == 409
    assert refused.json()["type"] == ProblemKind.RETRAIN_OPEN.type
    assert first in refused.json()["detail"]
    assert second.status_code == 202
    assert (ended["state"], ended["version"], ended["why"]) == ("promoted", "8", "better by 0.02")


@pytest.mark.parametrize(
    ("reason", "status"), [("", 422), ("x", 202), ("x" * REASON_CHARS_MAX, 202), ("x" * (REASON_CHARS_MAX + 1), 422)]
)
async def test_a_reason_has_its_length(tmp_path: Path, reason: str, status: int) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await ask(client, reason)

    assert answer.status_code == status


async def test_only_those_who_may_train_ask_and_look(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        writer = bearer("shop", CREATIVES_WRITE)
        refused = [await ask(client, **writer), await client.get(f"/v1/retrains/rt_{'0' * 32}", headers=writer)]
        unknown = await client.get(f"/v1/retrains/rt_{'0' * 32}", headers=bearer("shop", MODELS_ADMIN))

    assert [answer.status_code for answer in refused] == [403, 403]
    assert unknown.json()["type"] == ProblemKind.RETRAIN_NOT_FOUND.type


def test_the_pipelines_call_the_task_the_same() -> None:
    from pipelines.settings import TASK as THEIRS

    assert TASK == THEIRS
