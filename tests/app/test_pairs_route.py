"""Training pairs over HTTP: kept once, judged row by row, and never more than the service can look at."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import pairs_route
from app.identity import CREATIVES_WRITE
from app.main import create_app
from app.pairs_route import BYTES_MAX, CSV_EXAMPLE, JSON_LINES_EXAMPLE, WAITING_MAX
from app.problem import ProblemKind
from app.settings import Settings
from model.pair import pair_from_dict
from model.store import pair_sets
from model.store.pair_sets import PairSetRow
from tests.app.memory_client import RIVAL, bearer, gate_before, parts_of, remembering
from tests.app.service_client import WAIT_SECONDS_MAX, ServiceWriter, add_client, embedded
from tests.app.service_client import bearer as signed
from tests.model.sent_pairs import curated, row, sheet

pytestmark = pytest.mark.anyio

ROUTERS = [pairs_route.router]
LINES = {"Content-Type": "application/x-ndjson"}
CSV = {"Content-Type": "text/csv"}
KEY = {"Idempotency-Key": "autumn"}
NOBODY = f"/v1/pairs/ps_{'0' * 32}"


def lines(*places: int) -> str:
    """A file of good pairs."""
    return "".join(f"{json.dumps(row(place))}\n" for place in places)


async def send(client: httpx.AsyncClient, body: str | bytes, **headers: str) -> httpx.Response:
    return await client.post("/v1/pairs", content=body, headers=LINES | headers)


def kept(client: httpx.AsyncClient, set_id: str) -> PairSetRow:
    """The set's row."""
    with parts_of(client).database.connect() as connection:
        row = pair_sets.find(connection, set_id)
    assert row is not None
    return row


def use(client: httpx.AsyncClient, set_id: str) -> bool:
    """As the builder of a dataset does."""
    at = kept(client, set_id).created_at
    with parts_of(client).database.begin() as connection:
        return pair_sets.use(connection, set_id, "d" * 64, learnt=1, why="", at=at)


def is_checking(client: httpx.AsyncClient) -> bool:
    """A file is being read."""
    transport: Any = client._transport
    turn = getattr(transport.app.state, "pairs_turn", None)
    return turn is not None and turn.locked()


async def test_good_rows_are_kept_as_a_set_and_the_answer_tells_of_the_others(tmp_path: Path) -> None:
    bad = {**row(2), "voice": "loud"}
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await send(client, lines(0, 1) + json.dumps(bad))
        made = answer.json()
        found = (await client.get(answer.headers["location"])).json()
        listed = (await client.get("/v1/pairs")).json()
        key = kept(client, made["id"]).object_key
        pairs = [json.loads(line) for line in parts_of(client).objects.open_lines(key)]

    assert answer.status_code == 202
    assert (made["state"], made["accepted"], made["refused"]) == ("waiting", 2, 1)
    assert made["faults"] == [{"line": 3, "reason": "voice is none of plain, playful, premium"}]
    assert {name: found[name] for name in made} == made
    assert (found["asked_by"], found["dataset_digest"], found["used_at"], found["why"]) == ("shop", "", None, "")
    assert listed == {"sets": [{name: value for name, value in found.items() if name != "faults"}]}
    assert [pair_from_dict(pair).words for pair in pairs] == [pair_from_dict(row(place)).words for place in (0, 1)]


async def test_the_same_file_is_the_same_set_with_a_key_and_without_whoever_sends_it(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answers = [await send(client, lines(0), **headers) for headers in ({}, KEY, KEY, RIVAL)]
        asked_by = (await client.get(answers[0].headers["location"])).json()["asked_by"]
        listed = (await client.get("/v1/pairs")).json()["sets"]
        other = await send(client, lines(1), **KEY)

    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.content for answer in answers}) == 1
    assert (len(listed), asked_by) == (1, "shop")
    assert other.json()["type"] == ProblemKind.KEY_REUSED.type


async def test_the_same_file_sent_twice_at_once_is_one_set(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answers = await asyncio.gather(*(send(client, lines(0, 1)) for _ in range(4)))
        listed = (await client.get("/v1/pairs")).json()["sets"]

    assert {answer.status_code for answer in answers} <= {202, 503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503)
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == len(listed) == 1


async def test_a_sheet_of_the_same_pairs_is_refused_while_they_wait(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        first = (await send(client, lines(0))).json()["id"]
        repeated = await send(client, sheet([row(0)]), **CSV)
        more = await send(client, sheet([row(0), row(1)]), **CSV)

    assert repeated.status_code == 422
    assert repeated.json()["errors"] == [
        {"pointer": "#", "detail": f"line 2: is in the set {first} already, which waits"}
    ]
    assert (more.json()["accepted"], more.json()["refused"]) == (1, 1)


@pytest.mark.parametrize(
    ("media_type", "body"), [("text/csv", CSV_EXAMPLE), (LINES["Content-Type"], JSON_LINES_EXAMPLE)]
)
async def test_the_documented_examples_are_taken(tmp_path: Path, media_type: str, body: str) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await send(client, body, **{"Content-Type": media_type})

    assert (answer.status_code, answer.json()["accepted"], answer.json()["faults"]) == (202, 1, [])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"{}\n{}\n", "No row is a pair"),
        (b"title,description\nPan,Iron\n", "lacks the column channel"),
        (b"title,channel,headline\n", "No row is a pair"),
        (b"- title: Pan\n", "YAML"),
        (b"\x1f\x8b\x08\x00", "compressed"),
        (b"title,channel\nK\xe4nne,x\n", "UTF-8"),
        (b"{}\n" * 5_001, "more than 5,000 rows"),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_a_file_that_is_none_is_422_keeps_nothing_and_gives_no_path_away(
    tmp_path: Path, body: bytes, says: str
) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await send(client, body, **CSV)
        listed = (await client.get("/v1/pairs")).json()["sets"]
        stored = parts_of(client).objects.list("pairs")

    assert (answer.status_code, answer.json()["type"]) == (422, ProblemKind.INVALID_REQUEST.type)
    assert says in answer.json()["detail"]
    assert not any(leak in answer.text for leak in ("/tmp", "adloom-pairs", "Traceback", "model."))
    assert (listed, stored) == ([], [])


async def test_a_workbook_is_refused_by_its_first_bytes_however_large_it_would_unfold(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"\0" * 50_000_000)
    async with remembering(tmp_path, ROUTERS) as client:
        disguised = await send(client, packed.getvalue(), **CSV)
        named = await send(client, packed.getvalue(), **{"Content-Type": "application/vnd.ms-excel"})

    assert (disguised.status_code, named.status_code) == (422, 415)
    assert "save it as CSV" in disguised.json()["detail"]
    assert "save a workbook as CSV" in named.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "application/json"}, {"Content-Type": "text/csv; charset=latin-1"}, {"Content-Encoding": "gzip"},
     {"Content-Type": ""}],
    ids=str,
)  # fmt: skip
async def test_another_form_or_a_compressed_body_is_415(tmp_path: Path, headers: dict[str, str]) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await send(client, lines(0), **headers)

    assert (answer.status_code, answer.json()["type"]) == (415, ProblemKind.UNSUPPORTED_MEDIA_TYPE.type)


@pytest.mark.slow
async def test_a_body_over_eight_megabytes_is_413_and_one_of_eight_is_read(tmp_path: Path) -> None:
    app = create_app(Settings(**embedded(tmp_path)), writer=ServiceWriter())
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        add_client(app.state.parts)
        headers = signed(app.state.parts) | LINES
        good = lines(0).encode()
        fits = good + b"\n" * (BYTES_MAX - len(good))
        taken = await client.post("/v1/pairs", content=fits, headers=headers)
        refused = await client.post("/v1/pairs", content=fits + b"\n", headers=headers)

    assert (taken.status_code, refused.status_code) == (202, 413)
    assert refused.json()["type"] == ProblemKind.BODY_TOO_LARGE.type


async def test_so_many_sets_wait_and_one_more_is_409_until_one_is_taken_back(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = [(await send(client, lines(place))).json()["id"] for place in range(WAITING_MAX)]
        refused = await send(client, lines(WAITING_MAX))
        again = await send(client, lines(0))
        back = await client.delete(f"/v1/pairs/{made[0]}")
        taken = await send(client, lines(WAITING_MAX))

    assert (refused.status_code, refused.json()["type"]) == (409, ProblemKind.CONFLICT.type)
    assert f"{WAITING_MAX} sets wait already" in refused.json()["detail"]
    assert (again.status_code, again.json()["id"]) == (202, made[0])
    assert (back.status_code, back.json()["state"], back.json()["why"]) == (200, "dismissed", "taken back by shop")
    assert taken.status_code == 202


async def test_a_set_that_was_taken_back_is_taken_in_again_with_its_file(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        first = (await send(client, lines(0))).json()
        gone = [await client.delete(f"/v1/pairs/{first['id']}") for _ in range(2)]
        revived = await send(client, lines(0))

    assert [answer.json()["state"] for answer in gone] == ["dismissed"] * 2
    assert revived.json() == first


async def test_a_set_that_was_used_and_taken_back_does_not_wait_again(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        set_id = (await send(client, lines(0))).json()["id"]
        use(client, set_id)
        used = (await client.get(f"/v1/pairs/{set_id}")).json()
        gone = (await client.delete(f"/v1/pairs/{set_id}")).json()
        again = (await send(client, lines(0))).json()

    assert (used["state"], used["dataset_digest"], used["learnt"]) == ("used", "d" * 64, 1)
    assert (gone["state"], again["state"]) == ("dismissed", "used")


async def test_a_set_that_was_taken_back_while_a_dataset_took_it_in_names_that_dataset(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        set_id = (await send(client, lines(0))).json()["id"]
        await client.delete(f"/v1/pairs/{set_id}")
        use(client, set_id)
        gone = (await client.get(f"/v1/pairs/{set_id}")).json()
        again = (await send(client, lines(0))).json()

    assert (gone["state"], gone["why"]) == ("dismissed", "taken back by shop")
    assert (gone["dataset_digest"], gone["learnt"]) == ("d" * 64, 1)
    assert gone["used_at"]
    assert again["state"] == "used"


@pytest.mark.parametrize("loss", ["gone", "changed"])
@pytest.mark.parametrize("state", ["waiting", "used", "dismissed", "used and dismissed"])
async def test_a_set_whose_pairs_are_lost_is_mended_by_its_file(tmp_path: Path, state: str, loss: str) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        first = (await send(client, lines(0, 1))).json()
        if "used" in state:
            use(client, first["id"])
        if "dismissed" in state:
            await client.delete(f"/v1/pairs/{first['id']}")
        objects, then = parts_of(client).objects, kept(client, first["id"])
        pairs = objects.get(then.object_key)
        if loss == "gone":
            objects.remove(then.object_key)
        else:
            objects.put(then.object_key, b"{}\n")
        other = await send(client, lines(2))
        again = await send(client, lines(0, 1))
        now = kept(client, first["id"])
        mended = objects.get(now.object_key)

    assert (other.status_code, again.status_code) == (202, 202)
    assert mended == pairs
    assert now == replace(then, state="used" if "used" in state else "waiting", why="")
    assert again.json() == first | {"state": now.state}


async def test_a_file_that_is_judged_otherwise_by_now_is_mended_as_what_it_is_worth_now(tmp_path: Path) -> None:
    body = lines(0, 1)
    set_id = "ps_" + hashlib.sha256(f".jsonl{body}".encode()).hexdigest()[:32]
    async with remembering(tmp_path, ROUTERS) as client:
        fresh = kept(client, (await send(client, body)).json()["id"])
        parts_of(client).objects.remove(fresh.object_key)
        fault = {"line": 3, "reason": "as rules were then"}
        old = replace(fresh, content_digest="e" * 64, accepted=9, refused=3, held_out=4, faults=[fault])
        with parts_of(client).database.begin() as connection:
            pair_sets.renew(connection, old)
        answer = await send(client, body)
        now = kept(client, set_id)

    assert (answer.json()["accepted"], answer.json()["refused"], answer.json()["faults"]) == (2, 0, [])
    assert now == fresh


async def test_taking_sets_in_again_lets_no_more_wait_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_route, "WAITING_MAX", 2)
    async with remembering(tmp_path, ROUTERS) as client:
        first = [(await send(client, lines(place))).json()["id"] for place in (0, 1)]
        use(client, first[1])
        for set_id in first:
            await client.delete(f"/v1/pairs/{set_id}")
        waiting = [(await send(client, lines(place))).json()["id"] for place in (2, 3)]
        refused = await send(client, lines(0))
        was_used = await send(client, lines(1))
        parts_of(client).objects.remove(kept(client, waiting[0]).object_key)
        mended = await send(client, lines(2))
        states = [kept(client, set_id).state for set_id in (*first, *waiting)]

    assert (refused.status_code, refused.json()["type"]) == (409, ProblemKind.CONFLICT.type)
    assert "2 sets wait already" in refused.json()["detail"]
    assert (was_used.json()["state"], mended.json()["state"]) == ("used", "waiting")
    assert states == ["dismissed", "used", "waiting", "waiting"]


@pytest.mark.parametrize("is_new", [True, False])
async def test_sets_that_came_to_wait_while_a_file_was_checked_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    real = pairs_route.read_pair_file
    async with remembering(tmp_path, ROUTERS) as client:
        first = kept(client, (await send(client, lines(0))).json()["id"])
        await client.delete(f"/v1/pairs/{first.id}")

        def overtaken(*given: Any) -> Any:
            with parts_of(client).database.begin() as connection:
                for place in range(WAITING_MAX):
                    pair_sets.insert(connection, replace(first, id=f"ps_{place:032}"))
            return real(*given)

        monkeypatch.setattr(pairs_route, "read_pair_file", overtaken)
        refused = await send(client, lines(1) if is_new else lines(0))
        state = kept(client, first.id).state

    assert (refused.status_code, state) == (409, "dismissed")


async def test_a_set_that_is_taken_in_again_may_not_repeat_what_waits_by_now(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        wholly, partly = [(await send(client, body)).json()["id"] for body in (lines(0), lines(1, 2))]
        for set_id in (wholly, partly):
            await client.delete(f"/v1/pairs/{set_id}")
        waits = (await send(client, sheet([row(0), row(1)]), **CSV)).json()["id"]
        repeated = await send(client, lines(0))
        revived = await send(client, lines(1, 2))
        state, now = kept(client, wholly).state, kept(client, partly)
        pairs = list(parts_of(client).objects.open_lines(now.object_key))

    why = f"is in the set {waits} already, which waits"
    assert repeated.json()["errors"] == [{"pointer": "#", "detail": f"line 1: {why}"}]
    assert state == "dismissed"
    assert revived.json()["faults"] == [{"line": 1, "reason": why}]
    assert (now.state, now.accepted, now.refused, len(pairs)) == ("waiting", 1, 1, 1)


async def test_sets_are_listed_newest_first_and_not_more_than_asked_for(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = [(await send(client, lines(place))).json()["id"] for place in range(3)]
        two = (await client.get("/v1/pairs", params={"limit": 2})).json()["sets"]
        wrong = [await client.get("/v1/pairs", params={"limit": limit}) for limit in (0, 101, "x")]
        most = await client.get("/v1/pairs", params={"limit": 100})

    assert [each["id"] for each in two] == made[:0:-1]
    assert [answer.status_code for answer in (*wrong, most)] == [422, 422, 422, 200]


async def test_only_those_who_may_train_send_and_look(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        writer = bearer("shop", CREATIVES_WRITE)
        refused = [
            await send(client, lines(0), **writer),
            await client.get("/v1/pairs", headers=writer),
            await client.get(NOBODY, headers=writer),
            await client.delete(NOBODY, headers=writer),
        ]
        unknown = [await client.get(NOBODY), await client.delete(NOBODY)]

    assert [answer.status_code for answer in refused] == [403] * 4
    assert {answer.json()["type"] for answer in unknown} == {ProblemKind.PAIR_SET_NOT_FOUND.type}


async def test_an_object_store_that_cannot_be_written_is_503_and_no_set_is_kept(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        (tmp_path / "objects").write_text("a file stands where the folder was")
        refused = await send(client, lines(0))
        listed = (await client.get("/v1/pairs")).json()["sets"]
        (tmp_path / "objects").unlink()
        taken = await send(client, lines(0))

    assert (refused.status_code, refused.json()["type"]) == (503, ProblemKind.STORE_DOWN.type)
    assert (listed, taken.status_code) == ([], 202)
    assert str(tmp_path) not in refused.text


async def test_hostile_rows_are_said_back_as_data_and_cost_only_themselves(tmp_path: Path) -> None:
    hostile = [
        {**row(1), "product": {"title": "<script>alert(1)</script>"}},
        {**row(1), "id": "'; DROP TABLE pair_sets; --"},
        {**row(1), "family": "{{7*7}}\u202e"},
        {**row(1), "copy": {"headlines": ["=cmd|' /C calc'!A0"], "bodies": ["Hi"]}},
        {**row(1), "channel": {"$ne": 1}},
    ]
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await send(client, lines(0) + "".join(f"{json.dumps(each)}\n" for each in hostile))
        after = await client.get("/v1/pairs")

    assert (answer.json()["accepted"], answer.json()["refused"]) == (1, len(hostile))
    assert answer.headers["content-type"] == "application/json"
    assert len(after.json()["sets"]) == 1


@pytest.mark.slow
async def test_a_large_file_does_not_keep_others_waiting_and_a_second_is_told_when_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(("title", "description", "channel", "headline", "body", "call to action", "hashtags"))
    for place in range(1_500):
        description = f"Raw cast iron, {place + 10} cm wide, two pouring lips. " * 3
        words = (f"Iron pan, {place + 10} cm", f"A raw iron pan, {place + 10} cm wide, with two pouring lips.")
        writer.writerow((f"Iron pan {place}", description, "instagram", *words, "See the pan", "#iron #pan #kitchen"))
    begun, gate = gate_before(monkeypatch, pairs_route, "_read")
    async with remembering(tmp_path, ROUTERS) as client:
        upload: Any = asyncio.create_task(send(client, stream.getvalue(), **CSV))
        assert await asyncio.to_thread(begun.wait, WAIT_SECONDS_MAX)
        other = await client.get(NOBODY)
        was_checking, second = is_checking(client), await send(client, lines(0))
        gate.set()
        answer = await upload

    assert answer.json()["accepted"] + answer.json()["refused"] == 1_500
    assert was_checking
    assert other.status_code == 404
    assert (second.status_code, second.json()["type"]) == (503, ProblemKind.OVERLOADED.type)


async def test_every_curated_channel_can_be_sent(tmp_path: Path) -> None:
    body = "\n".join(curated(1, channel)[0] for channel in ("google_rsa", "instagram", "x", "linkedin", "pinterest"))
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await send(client, body)

    assert (answer.json()["accepted"], answer.json()["faults"]) == (5, [])
