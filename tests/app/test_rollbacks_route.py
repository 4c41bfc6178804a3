"""A rollback that a person asks for: kept once, one at a time, told of to its end, taken back before it began."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import rollbacks_route
from app.identity import CREATIVES_WRITE, MODELS_ADMIN
from app.problem import ProblemKind
from app.rollbacks_route import REASON_CHARS_MAX, TASK
from model.store import rollbacks
from tests.app.memory_client import RIVAL, bearer, parts_of, remembering

pytestmark = pytest.mark.anyio

ROUTERS = [rollbacks_route.router]
UNKNOWN = f"/v1/rollbacks/rb_{'0' * 32}"


async def ask(client: httpx.AsyncClient, reason: str = "Odd ads.", to: Any = "7", **headers: str) -> httpx.Response:
    return await client.post("/v1/rollbacks", json={"to": to, "reason": reason}, headers=headers)


def begin(client: httpx.AsyncClient) -> None:
    """As the pipelines do it."""
    now = datetime.now(UTC)
    with parts_of(client).database.begin() as connection:
        until = now + timedelta(minutes=1)
        assert rollbacks.claim(connection, TASK, "a carrier", now=now, until=until, environment="prod")


def end(client: httpx.AsyncClient, rollback_id: str, state: rollbacks.Ended = "done", **facts: str) -> None:
    with parts_of(client).database.begin() as connection:
        ended = {"at": datetime.now(UTC), "why": "all say 7"}
        assert rollbacks.finish(connection, rollback_id, "a carrier", state, **ended, **facts)


async def test_what_was_asked_for_waits_and_says_who_asked_and_why(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = await ask(client)
        found = await client.get(made.headers["location"])
    row = found.json()

    assert (made.status_code, found.status_code) == (202, 200)
    assert made.json() == {"id": row["id"], "state": "waiting"}
    assert row.pop("created_at")
    assert row == {
        "id": row["id"], "state": "waiting", "from": "", "to": "7", "reason": "Odd ads.", "asked_by": "shop",
        "environment": "", "why": "", "started_at": None, "ended_at": None,
    }  # fmt: skip


@pytest.mark.parametrize("sent", [{"reason": "Odd ads."}, {"reason": "Odd ads.", "to": None}])
async def test_without_a_version_it_is_the_champion_before(tmp_path: Path, sent: dict[str, Any]) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = await client.post("/v1/rollbacks", json=sent)
        row = (await client.get(made.headers["location"])).json()

    assert (made.status_code, row["to"]) == (202, "")


async def test_how_far_it_is_and_how_it_ended_are_told(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = (await ask(client)).json()["id"]
        begin(client)
        running = (await client.get(f"/v1/rollbacks/{made}")).json()
        end(client, made, source="8")
        done = (await client.get(f"/v1/rollbacks/{made}")).json()

    assert (running["state"], running["environment"], running["ended_at"]) == ("running", "prod", None)
    assert running["started_at"] is not None
    assert (done["state"], done["from"], done["to"], done["why"]) == ("done", "8", "7", "all say 7")
    assert done["ended_at"] is not None


@pytest.mark.parametrize("is_running", [False, True])
async def test_while_one_is_open_the_next_is_409_and_names_it(tmp_path: Path, is_running: bool) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        first = (await ask(client)).json()["id"]
        if is_running:
            begin(client)
        refused = await ask(client, "Again.", **RIVAL)
        begin(client) if not is_running else None
        end(client, first)
        second = await ask(client, "Again.")

    assert refused.status_code == 409
    assert refused.json()["type"] == ProblemKind.ROLLBACK_OPEN.type
    assert f"{first} has ended, which is {'running' if is_running else 'waiting'}" in refused.json()["detail"]
    assert second.status_code == 202


async def test_one_that_waits_is_taken_back_twice_alike_and_makes_room(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = (await ask(client)).json()["id"]
        first = await client.delete(f"/v1/rollbacks/{made}", headers=RIVAL)
        second = await client.delete(f"/v1/rollbacks/{made}")
        following = await ask(client, "Another.")

    assert (first.status_code, first.json()["state"]) == (200, "withdrawn")
    assert second.json() == first.json()
    assert first.json()["ended_at"] is not None
    assert following.status_code == 202


@pytest.mark.parametrize("has_ended", [False, True])
async def test_one_that_has_begun_is_not_taken_back(tmp_path: Path, has_ended: bool) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = (await ask(client)).json()["id"]
        begin(client)
        if has_ended:
            end(client, made)
        refused = await client.delete(f"/v1/rollbacks/{made}")
        row = (await client.get(f"/v1/rollbacks/{made}")).json()

    assert (refused.status_code, refused.json()["type"]) == (409, ProblemKind.ROLLBACK_BEGUN.type)
    assert row["state"] == ("done" if has_ended else "running")


@pytest.mark.parametrize(
    ("to", "status"),
    [
        *((good, 202) for good in ("1", "999999999")),
        *((bad, 422) for bad in ("1000000000", "0", "07", "-1", "v7", "7\n", "7 or 8", "", 7, "٧", ["7"])),
    ],
)
async def test_what_is_no_version_number_is_refused(tmp_path: Path, to: Any, status: int) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await ask(client, to=to)

    assert answer.status_code == status
    assert status == 202 or answer.json()["errors"][0]["pointer"] == "#/to"


@pytest.mark.parametrize(
    ("reason", "status"), [("", 422), ("x", 202), ("x" * REASON_CHARS_MAX, 202), ("x" * (REASON_CHARS_MAX + 1), 422)]
)
async def test_a_reason_has_its_length(tmp_path: Path, reason: str, status: int) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await ask(client, reason)

    assert answer.status_code == status


async def test_only_owners_of_the_model_ask_look_and_take_back(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        writer, admin = bearer("shop", CREATIVES_WRITE), bearer("shop", MODELS_ADMIN)
        refused = [
            await ask(client, **writer),
            await client.get(UNKNOWN, headers=writer),
            await client.delete(UNKNOWN, headers=writer),
        ]
        unknown = [await client.get(UNKNOWN, headers=admin), await client.delete(UNKNOWN, headers=admin)]

    assert [answer.status_code for answer in refused] == [403, 403, 403]
    assert {answer.json()["type"] for answer in unknown} == {ProblemKind.ROLLBACK_NOT_FOUND.type}


async def test_who_asked_and_who_took_back_stand_in_the_log_without_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "adloom.rollbacks")
    async with remembering(tmp_path, ROUTERS) as client:
        made = (await ask(client, "A secret reason.")).json()["id"]
        await ask(client, "A second.")
        await client.delete(f"/v1/rollbacks/{made}", headers=RIVAL)
        await client.delete(f"/v1/rollbacks/{made}")
    lines = [(record.getMessage(), record.fields) for record in caplog.records if record.name == "adloom.rollbacks"]

    assert lines == [
        ("rollback asked for", {"rollback": made, "client": "shop", "to": "7"}),
        ("rollback withdrawn", {"rollback": made, "client": "rival", "to": "7"}),
    ]
