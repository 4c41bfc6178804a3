"""Versions, cards, samples and history, as they were last told to the service; empty where nobody has."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import versions_route
from app.identity import CREATIVES_WRITE, MODELS_ADMIN
from app.listing import LIST_DEFAULT, LIST_MAX
from app.problem import ProblemKind
from app.versions_route import SAMPLE_EXAMPLE
from tests.app.memory_client import bearer, parts_of, remembering
from tests.app.version_rows import ledger_line, tell, version_row

pytestmark = pytest.mark.anyio

ROUTERS = [versions_route.router]
PATHS = ("/v1/models/versions", "/v1/models/versions/1", "/v1/models/history")


async def test_where_nobody_has_told_lists_are_empty_and_a_version_is_not_found(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        versions, one, history = [await client.get(path) for path in PATHS]

    assert versions.json() == {"published_at": None, "versions": []}
    assert history.json() == {"entries": []}
    assert (one.status_code, one.json()["type"]) == (404, ProblemKind.VERSION_NOT_FOUND.type)


async def test_a_list_tells_facts_and_one_version_its_card_and_samples_too(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        tell(parts_of(client), [version_row(1, gate=None), version_row(2, aliases=["candidate"])], [])
        listed = (await client.get("/v1/models/versions")).json()
        one = (await client.get("/v1/models/versions/2")).json()
    newest, oldest = listed["versions"]

    assert listed["published_at"] == "2026-01-15T11:20:00Z"
    assert (newest["version"], newest["aliases"], oldest["version"]) == ("2", ["candidate"], "1")
    assert newest["scores"] == {"validity": {"mean": 0.97, "low": 0.96, "high": None}}
    assert (newest["gate"], oldest["gate"]) == ({"passed": False, "reasons": ["No better."]}, None)
    assert one == newest | {"card": "# Card\n", "samples": [SAMPLE_EXAMPLE]}
    assert "card" not in newest


async def test_history_is_the_ledger_the_newest_line_first(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        tell(parts_of(client), [], [ledger_line(1), ledger_line(2)])
        entries = (await client.get("/v1/models/history")).json()["entries"]

    assert [entry["time"] for entry in entries] == ["2026-01-15T11:22:00Z", "2026-01-15T11:21:00Z"]
    assert {name: value for name, value in entries[0].items() if name != "time"} == {
        "who": "Ada", "action": "promote", "state": "done", "from": "", "to": "1", "why": "better", "note": "a note",
    }  # fmt: skip


@pytest.mark.parametrize(("query", "count"), [("", LIST_DEFAULT), (f"?limit={LIST_MAX}", LIST_MAX), ("?limit=1", 1)])
async def test_lists_are_as_long_as_asked(tmp_path: Path, query: str, count: int) -> None:
    numbers = range(1, LIST_MAX + 2)
    async with remembering(tmp_path, ROUTERS) as client:
        tell(
            parts_of(client),
            [version_row(number, card="", samples=[]) for number in numbers],
            [ledger_line(number) for number in numbers],
        )
        versions = (await client.get(f"/v1/models/versions{query}")).json()["versions"]
        entries = (await client.get(f"/v1/models/history{query}")).json()["entries"]

    assert [len(versions), len(entries)] == [count, count]
    assert versions[0]["version"] == str(LIST_MAX + 1)


@pytest.mark.parametrize(
    "address",
    [
        "versions?limit=0", f"versions?limit={LIST_MAX + 1}", "history?limit=x", "versions/0", "versions/01",
        "versions/-1", "versions/1234567890", "versions/champion",
    ],
)  # fmt: skip
async def test_what_is_no_number_is_refused(tmp_path: Path, address: str) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get(f"/v1/models/{address}")

    assert (answer.status_code, answer.json()["type"]) == (422, ProblemKind.INVALID_REQUEST.type)


async def test_only_those_who_look_after_the_model_see_it(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        tell(parts_of(client), [version_row(1)], [ledger_line(1)])
        refused = [await client.get(path, headers=bearer("shop", CREATIVES_WRITE)) for path in PATHS]
        allowed = [await client.get(path, headers=bearer("ops", MODELS_ADMIN)) for path in PATHS]

    assert [answer.status_code for answer in refused] == [403] * 3
    assert [answer.status_code for answer in allowed] == [200] * 3
