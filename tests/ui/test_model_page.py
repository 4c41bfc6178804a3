"""What the page Model asks of the API, and what it shows where a part of that cannot be had."""

from __future__ import annotations

import httpx
import pytest

from app.ui.guard import PAIRS_BYTES_MAX
from tests.ui.model_rows import publish
from tests.ui.page_client import PAGE, visitor

pytestmark = pytest.mark.anyio
BROKEN = {"type": "urn:adloom:overloaded", "detail": "Too much at once: try again in 5 s."}


class Breaking(httpx.AsyncBaseTransport):
    """The real service, but for the addresses that begin in one of these ways."""

    def __init__(self, real, beginnings, answer):
        self.real, self.beginnings, self.answer = real, beginnings, answer
        self.asked = []

    async def handle_async_request(self, request):
        self.asked.append(request.url.raw_path.decode())
        if request.url.path.startswith(self.beginnings):
            return self.answer(request)
        return await self.real.handle_async_request(request)


def breaking(one, *beginnings, answer=lambda _: httpx.Response(503, json=BROKEN)):
    client = one.page.state.http
    client._transport = Breaking(client._transport, beginnings, answer)
    return client._transport


@pytest.mark.parametrize(
    ("path", "still_there"),
    [
        ("/v1/models/versions", ("In service", "Version 7 became champion", "No file of pairs")),
        ("/v1/models/history", ("In service", "Version 7 beside version 8", "No file of pairs")),
        ("/v1/pairs", ("In service", "Version 7 beside version 8", "Version 7 became champion")),
        ("/v1/retrains", ("In service", "Version 7 became champion", "No file of pairs")),
        ("/v1/rollbacks", ("In service", "Version 7 became champion", "None has ended yet")),
    ],
)
async def test_a_part_that_cannot_be_had_says_why_and_leaves_the_others(path, still_there):
    async with visitor() as one:
        publish(one.service)
        breaking(one, path)
        answer = await one.http.get("/model", headers=PAGE)

    assert answer.status_code == 200
    assert "Too much at once: try again in 5 s." in answer.text
    assert [text for text in still_there if text not in answer.text] == []


async def test_an_answer_in_a_form_that_nobody_knows_is_said_and_no_error():
    async with visitor() as one:
        breaking(one, "/v1/models/", "/v1/pairs", "/v1/r", answer=lambda _: httpx.Response(200, text="<html>"))
        answer = await one.http.get("/model", headers=PAGE)

    assert answer.status_code == 200
    assert "does not understand" in answer.text
    assert "In service" in answer.text


async def test_a_version_that_disappears_in_between_leaves_the_other_one():
    async with visitor() as one:
        publish(one.service)
        breaking(one, "/v1/models/versions/8", answer=lambda _: httpx.Response(404, json={"detail": "Gone."}))
        answer = await one.http.get("/model", headers=PAGE)

    assert answer.status_code == 200
    assert "The gate let it pass" in answer.text
    assert "The gate refused it" not in answer.text


async def test_without_the_scope_nothing_is_asked_that_would_be_refused():
    async with visitor(scopes=("creatives:read",)) as one:
        publish(one.service)
        spy = breaking(one)
        answer = await one.http.get("/model?left=7&right=8", headers=PAGE)

    assert [path for path in spy.asked if not path.startswith("/v1/token")] == ["/v1/models"]
    assert "Version 7" not in answer.text


@pytest.mark.parametrize("asked", ["../../../metrics", "7/../../history", "8%2Fcard", "-1", "0", "7 ", "9" * 400])
async def test_only_a_version_of_the_list_reaches_the_service(asked):
    async with visitor() as one:
        publish(one.service)
        spy = breaking(one)
        answer = await one.http.get("/model", params={"left": asked}, headers=PAGE)

    versions = {path for path in spy.asked if path.startswith("/v1/models/versions/")}
    assert versions == {"/v1/models/versions/7", "/v1/models/versions/8"}
    assert answer.status_code == 200
    assert "9" * 30 not in answer.text


@pytest.mark.parametrize(
    "path", ["/api/pairs/ps_..%2F..%2Fclients", "/api/rollbacks/rb_x", "/api/rollbacks/..%2Fretrains"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_only_ids_of_sets_and_rollbacks_reach_the_service(path, method):
    async with visitor() as one:
        answer = await one.http.request(method, path, headers=one.csrf())

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:adloom:ui:not-found"


@pytest.mark.parametrize(("more", "status"), [(0, 422), (1, 413)])
async def test_pairs_at_the_bound_are_read_and_one_byte_more_is_not(more, status):
    async with visitor() as one:
        headers = {**one.csrf(), "Content-Type": "text/csv"}
        answer = await one.http.post("/api/pairs", content=b"x" * (PAIRS_BYTES_MAX + more), headers=headers)

    assert answer.status_code == status
    assert ("At most 8 MB" in answer.text) == (status == 413)


@pytest.mark.parametrize("kind", ["application/zip", "application/json", "", "text/csv; charset=utf-16"])
async def test_pairs_of_another_kind_are_refused_with_what_to_send(kind):
    async with visitor() as one:
        answer = await one.http.post("/api/pairs", content=b"title\n", headers={**one.csrf(), "Content-Type": kind})

    assert answer.status_code == 415
    assert ".jsonl or .csv" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pairs"),
        ("DELETE", f"/api/pairs/ps_{'0' * 32}"),
        ("POST", "/api/rollbacks"),
        ("DELETE", f"/api/rollbacks/rb_{'0' * 32}"),
    ],
)
async def test_a_change_of_the_model_needs_the_token_of_the_page_and_the_same_origin(method, path):
    async with visitor() as one:
        stale = await one.http.request(method, path, headers={"Content-Type": "text/csv"})
        foreign = await one.http.request(method, path, headers={**one.csrf(), "Sec-Fetch-Site": "cross-site"})

    assert (stale.status_code, foreign.status_code) == (403, 403)
    assert stale.json()["type"] == "urn:adloom:ui:stale-page"
    assert foreign.json()["type"] == "urn:adloom:ui:foreign-origin"
