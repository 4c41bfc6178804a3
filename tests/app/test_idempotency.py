"""A key makes a request happen once: replays, duplicates that wait, other processes, failures and lapsed claims."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Request, Response, Security
from sqlalchemy import Connection

from app.idempotency import CLAIM_TIMEOUTS, KEPT_HOURS, TAKES_KEY, keep_answer, once
from app.identity import CREATIVES_WRITE, Caller, identify
from app.parts import PartsOfApp
from app.problem import Problem, ProblemKind
from model.store import clients, idempotency
from tests.app.memory_client import RIVAL, parts_of, remembering

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "order-42"}
WAIT_SECONDS_MAX = 60.0


class Things:
    """A resource to make; `outcome` says how the next ones end, `gate` holds them until it is set."""

    def __init__(self) -> None:
        self.made = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.outcome: Callable[[int], Awaitable[Response]] = self.succeed
        self.router = APIRouter()
        self.router.add_api_route(
            "/things/{name}", self.make, methods=["POST"], dependencies=[TAKES_KEY], response_model=None
        )

    async def succeed(self, number: int) -> Response:
        return Response(f"thing {number} ✓", 201, {"Location": f"/things/{number}"}, "text/plain")

    async def make(
        self,
        request: Request,
        parts: PartsOfApp,
        caller: Annotated[Caller, Security(identify, scopes=[CREATIVES_WRITE])],
    ) -> Response:
        async def work() -> Response:
            self.made += 1
            number = self.made
            self.begun.set()
            await asyncio.wait_for(self.gate.wait(), WAIT_SECONDS_MAX)
            return await self.outcome(number)

        return await once(request, parts, caller, "makeThing", await request.body(), work)


def seen(answer: httpx.Response) -> tuple[int, bytes, str, str]:
    """All that a client keeps of an answer."""
    return answer.status_code, answer.content, answer.headers["content-type"], answer.headers["location"]


def problem_type(answer: httpx.Response) -> str:
    name: str = answer.json()["type"].removeprefix("urn:adloom:problem:")
    return name


async def test_the_same_key_and_body_give_the_first_answer_byte_for_byte_and_no_work(tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        first = await client.post("/things/a", content=b"body", headers=KEY)
        again = await client.post("/things/a", content=b"body", headers=KEY)

    assert things.made == 1
    assert seen(first) == seen(again) == (201, "thing 1 ✓".encode(), "text/plain; charset=utf-8", "/things/1")
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


async def test_without_a_key_every_request_is_worked_on(tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        answers = [await client.post("/things/a", content=b"body") for _ in range(2)]

    assert [answer.text for answer in answers] == ["thing 1 ✓", "thing 2 ✓"]


@pytest.mark.parametrize(
    ("path", "body", "media_type"),
    [("/things/a", b"other", "text/a"), ("/things/b", b"body", "text/a"), ("/things/a?x=1", b"body", "text/a"),
     ("/things/a", b"body", "text/b")],
)  # fmt: skip
async def test_the_same_key_for_another_request_is_422(path: str, body: bytes, media_type: str, tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        await client.post("/things/a", content=b"body", headers={**KEY, "Content-Type": "text/a"})
        other = await client.post(path, content=body, headers={**KEY, "Content-Type": media_type})

    assert (other.status_code, problem_type(other)) == (422, "idempotency-key-reused")
    assert things.made == 1


async def test_keys_of_two_clients_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        mine = await client.post("/things/a", content=b"body", headers=KEY)
        theirs = await client.post("/things/a", content=b"other", headers=KEY | RIVAL)

    assert [mine.text, theirs.text] == ["thing 1 ✓", "thing 2 ✓"]


async def test_duplicates_at_the_same_time_wait_and_the_work_is_done_once(tmp_path: Path) -> None:
    things = Things()
    things.gate.clear()
    async with remembering(tmp_path, [things.router]) as client:
        sent = [asyncio.create_task(client.post("/things/a", content=b"body", headers=KEY)) for _ in range(10)]
        await asyncio.wait_for(things.begun.wait(), WAIT_SECONDS_MAX)
        other = await client.post("/things/a", content=b"other", headers=KEY)
        things.gate.set()
        answers = await asyncio.gather(*sent)

    assert things.made == 1
    assert {seen(answer) for answer in answers} == {seen(answers[0])}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 9
    assert problem_type(other) == "idempotency-key-reused"


async def test_a_duplicate_that_has_waited_for_the_timeout_is_409(tmp_path: Path) -> None:
    things = Things()
    things.gate.clear()
    async with remembering(tmp_path, [things.router], request_timeout_seconds=0.1) as client:
        first = asyncio.create_task(client.post("/things/a", content=b"body", headers=KEY))
        await asyncio.wait_for(things.begun.wait(), WAIT_SECONDS_MAX)
        late = await client.post("/things/a", content=b"body", headers=KEY)
        things.gate.set()
        answer = await first

    assert (late.status_code, problem_type(late)) == (409, "idempotency-key-in-use")
    assert late.headers["retry-after"] == "2"
    assert answer.status_code == 201


async def test_a_duplicate_in_another_process_is_409_while_the_first_works_and_then_its_answer(tmp_path: Path) -> None:
    things = Things()
    things.gate.clear()
    async with remembering(tmp_path, [things.router]) as client, remembering(tmp_path, [things.router]) as replica:
        first = asyncio.create_task(client.post("/things/a", content=b"body", headers=KEY))
        await asyncio.wait_for(things.begun.wait(), WAIT_SECONDS_MAX)
        busy = await replica.post("/things/a", content=b"body", headers=KEY)
        other = await replica.post("/things/a", content=b"other", headers=KEY)
        things.gate.set()
        answer = await first
        again = await replica.post("/things/a", content=b"body", headers=KEY)

    assert (busy.status_code, problem_type(busy), busy.headers["retry-after"]) == (409, "idempotency-key-in-use", "2")
    assert problem_type(other) == "idempotency-key-reused"
    assert seen(again) == seen(answer)
    assert things.made == 1


@pytest.mark.parametrize(("age_factor", "status"), [(0.9, 409), (1.1, 201)])
async def test_the_claim_of_a_process_that_died_lapses_after_two_timeouts(
    age_factor: float, status: int, tmp_path: Path
) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router], request_timeout_seconds=60) as client:
        await client.post("/things/a", content=b"body", headers=KEY)
        age = timedelta(seconds=age_factor * CLAIM_TIMEOUTS * 60)
        await parts_of(client).writes.run(lambda connection: _reopen(connection, datetime.now(UTC) - age))
        answer = await client.post("/things/a", content=b"body", headers=KEY)

    assert answer.status_code == status
    assert things.made == (2 if status == 201 else 1)


def _reopen(connection: Connection, at: datetime) -> None:
    """As a process leaves a claim that was killed at work."""
    table = idempotency.idempotency
    connection.execute(table.update().values(state="working", status=0, answer="", created_at=at))


@pytest.mark.parametrize(("age_hours", "made"), [(KEPT_HOURS - 1, 1), (KEPT_HOURS + 1, 2)])
async def test_an_answer_is_kept_for_a_day(age_hours: int, made: int, tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        await client.post("/things/a", content=b"body", headers=KEY)
        made_at = datetime.now(UTC) - timedelta(hours=age_hours)
        table = idempotency.idempotency
        aged = table.update().values(created_at=made_at)
        await parts_of(client).writes.run(lambda connection: connection.execute(aged))
    async with remembering(tmp_path, [things.router]) as restarted:
        answer = await restarted.post("/things/a", content=b"body", headers=KEY)

    assert answer.status_code == 201
    assert things.made == made


async def refuse(_number: int) -> Response:
    raise Problem(ProblemKind.CONFLICT, "Not now: try again.")


async def break_down(_number: int) -> Response:
    raise RuntimeError("broken")


async def leave(_number: int) -> Response:
    return Response(status_code=499)


@pytest.mark.parametrize(("outcome", "status"), [(refuse, 409), (break_down, 500), (leave, 499)])
async def test_a_failure_leaves_the_key_free(outcome: Any, status: int, tmp_path: Path) -> None:
    things = Things()
    things.outcome = outcome
    async with remembering(tmp_path, [things.router]) as client:
        failed = await client.post("/things/a", content=b"body", headers=KEY)
        things.outcome = things.succeed
        corrected = await client.post("/things/a", content=b"corrected", headers=KEY)

    assert failed.status_code == status
    assert (corrected.status_code, corrected.text) == (201, "thing 2 ✓")


async def test_where_the_first_fails_one_of_those_who_wait_does_the_work(tmp_path: Path) -> None:
    things = Things()
    things.gate.clear()
    things.outcome = lambda number: refuse(number) if number == 1 else things.succeed(number)
    async with remembering(tmp_path, [things.router]) as client:
        sent = [asyncio.create_task(client.post("/things/a", content=b"body", headers=KEY)) for _ in range(5)]
        await asyncio.wait_for(things.begun.wait(), WAIT_SECONDS_MAX)
        things.gate.set()
        answers = await asyncio.gather(*sent)

    assert things.made == 2
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [409]


async def test_a_request_that_is_cancelled_leaves_the_key_free(tmp_path: Path) -> None:
    things = Things()
    things.gate.clear()
    async with remembering(tmp_path, [things.router]) as client:
        sent = asyncio.create_task(client.post("/things/a", content=b"body", headers=KEY))
        await asyncio.wait_for(things.begun.wait(), WAIT_SECONDS_MAX)
        sent.cancel()
        await asyncio.wait([sent])
        things.gate.set()
        answer = await client.post("/things/a", content=b"body", headers=KEY)

    assert (answer.status_code, answer.text) == (201, "thing 2 ✓")


async def test_where_the_store_is_down_the_request_is_503_and_no_work_is_begun(tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        parts_of(client).writes.close()
        answers = [await client.post("/things/a", content=b"body", headers=KEY) for _ in range(2)]

    assert [problem_type(answer) for answer in answers] == ["store-unavailable"] * 2
    assert things.made == 0


@pytest.mark.parametrize(
    "key", ["", "two words", "é", "tab\there", "a" * 256], ids=["empty", "space", "letter", "tab", "long"]
)
async def test_a_malformed_key_is_422(key: str, tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        answer = await client.post("/things/a", headers={b"Idempotency-Key": key.encode("latin-1")})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"
    assert things.made == 0


async def test_two_keys_in_one_request_are_422(tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), *client.headers.items()]
        answer = await client.send(httpx.Request("POST", "http://t/things/a", headers=two))

    assert answer.status_code == 422
    assert things.made == 0


async def test_a_quoted_key_and_a_bare_one_are_the_same_and_the_longest_is_taken(tmp_path: Path) -> None:
    things = Things()
    async with remembering(tmp_path, [things.router]) as client:
        for key in ("k" * 253, f'"{"k" * 253}"', "k" * 255):
            await client.post("/things/a", headers={"Idempotency-Key": key})

    assert things.made == 2


async def test_an_answer_kept_with_the_work_exists_only_where_the_work_does(tmp_path: Path) -> None:
    router = APIRouter()
    broken_works = True

    @router.post("/clients")
    async def make(
        request: Request, parts: PartsOfApp, caller: Annotated[Caller, Security(identify, scopes=[CREATIVES_WRITE])]
    ) -> Response:
        def keep(connection: Connection) -> Response:
            now = datetime.now(UTC)
            clients.insert(connection, clients.Client("new", "hash", frozenset(), {}, now, now))
            answer = Response("made", 201)
            keep_answer(request, connection, answer)
            if broken_works:
                raise RuntimeError("after both were written")
            return answer

        return await once(request, parts, caller, "makeClient", b"", lambda: parts.writes.run(keep))

    async with remembering(tmp_path, [router]) as client:
        broken = await client.post("/clients", headers=KEY)
        with parts_of(client).database.connect() as connection:
            left = clients.find(connection, "new")
        broken_works = False
        made = await client.post("/clients", headers=KEY)
        again = await client.post("/clients", headers=KEY)

    assert broken.status_code == 500
    assert left is None
    assert [made.status_code, again.status_code, again.text] == [201, 201, "made"]
    assert again.headers["idempotent-replayed"] == "true"
