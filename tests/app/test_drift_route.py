"""What was said of windows of traffic, over HTTP: the latest first, in figures, and as a page while it lasts."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from app import drift_route
from app.drift_route import PAGE_POLICY
from app.identity import CREATIVES_READ
from app.listing import LIST_DEFAULT, LIST_MAX
from app.problem import ProblemKind
from model.store import drift_reports
from tests.app.drift_rows import PAGE, column, drift_report, keep_report
from tests.app.memory_client import bearer, parts_of, remembering

pytestmark = pytest.mark.anyio

ROUTERS = [drift_route.router]
UNKNOWN = f"/v1/drift/dr_{'0' * 32}"
LARGE_BYTES = 12 * 1024 * 1024


async def test_a_report_tells_its_verdict_its_validity_and_every_feature(tmp_path: Path) -> None:
    far = column("description_chars", verdict="drift", distance=1.4, floor=0.28, limit=0.1)
    columns = {**drift_report().columns, "measured": [far, column("channel", verdict="too_few", distance=None)]}
    async with remembering(tmp_path, ROUTERS) as client:
        report_id = keep_report(parts_of(client), drift_report(columns=columns, verdict="drift", share=0.5, hurts=True))
        answer = await client.get(f"/v1/drift/{report_id}")
    told = answer.json()

    assert answer.status_code == 200
    assert (told["verdict"], told["share"], told["hurts"], told["has_page"]) == ("drift", 0.5, True, True)
    assert told["validity"] == {"current": 0.89, "reference": 0.952, "margin": 0.03}
    assert told["features"] == [
        {
            "name": "description_chars",
            "method": "wasserstein",
            "distance": 1.4,
            "threshold": 0.28,
            "drifted": True,
        },
        {"name": "channel", "method": "wasserstein", "distance": None, "threshold": 0.2, "drifted": False},
    ]


@pytest.mark.parametrize("columns", [{}, {"measured": [], "validity": {}, "bundles": {}}, {"validity": None}])
async def test_a_report_that_says_less_is_told_as_far_as_it_goes(tmp_path: Path, columns: dict[str, object]) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        report_id = keep_report(parts_of(client), drift_report(columns=columns, report_key=""))
        told = (await client.get(f"/v1/drift/{report_id}")).json()

    assert told["validity"] == {"current": None, "reference": None, "margin": None}
    assert (told["features"], told["has_page"]) == ([], False)


async def test_reports_come_latest_window_first_and_by_mode_if_one_is_named(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        for number in (2, 1, 3):
            keep_report(parts_of(client), drift_report(number, mode="batch" if number == 2 else "online"))
        found = {
            query: [report["window_end"] for report in (await client.get(f"/v1/drift{query}")).json()["reports"]]
            for query in ("", "?mode=online", "?mode=batch")
        }
    ends = {number: f"2026-01-15T{12 + number}:00:00Z" for number in (1, 2, 3)}

    assert found[""] == [ends[3], ends[2], ends[1]]
    assert found["?mode=online"] == [ends[3], ends[1]]
    assert found["?mode=batch"] == [ends[2]]


async def test_thirty_come_unless_another_number_is_asked_for(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        with parts_of(client).database.begin() as connection:
            for number in range(LIST_MAX + 1):
                drift_reports.insert(connection, drift_report(number + 1))
        counts = [
            len((await client.get("/v1/drift", params=query)).json()["reports"])
            for query in ({}, {"limit": 1}, {"limit": LIST_MAX})
        ]

    assert counts == [LIST_DEFAULT, 1, LIST_MAX]


@pytest.mark.parametrize("query", ["limit=0", f"limit={LIST_MAX + 1}", "mode=hourly", "limit=many"])
async def test_a_list_that_cannot_be_is_refused(tmp_path: Path, query: str) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get(f"/v1/drift?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_where_nobody_ever_looked_the_list_is_empty(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get("/v1/drift")

    assert (answer.status_code, answer.json()) == (200, {"reports": []})


async def test_the_page_comes_as_it_was_kept_in_a_sandbox_and_for_this_reader_alone(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        report_id = keep_report(parts_of(client), drift_report())
        answer = await client.get(f"/v1/drift/{report_id}/page")

    assert (answer.status_code, answer.content) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-length"] == str(len(PAGE))
    assert answer.headers["content-security-policy"] == PAGE_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")


async def test_who_has_the_page_gets_304_and_who_has_another_gets_it(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        address = f"/v1/drift/{keep_report(parts_of(client), drift_report())}/page"
        etag = (await client.get(address)).headers["etag"]
        answers = [await client.get(address, headers={"If-None-Match": tag}) for tag in (etag, f"W/{etag}", '"other"')]

    assert [answer.status_code for answer in answers] == [304, 304, 200]
    assert [len(answer.content) for answer in answers] == [0, 0, len(PAGE)]
    assert answers[0].headers["content-security-policy"] == PAGE_POLICY


async def test_a_page_that_is_gone_is_a_problem_that_says_where_the_figures_are(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        parts = parts_of(client)
        lost, expired = keep_report(parts, drift_report(1)), keep_report(parts, drift_report(2, report_key=""))
        parts.objects.remove(drift_report(1).page_key)
        answers = [await client.get(f"/v1/drift/{each}/page") for each in (lost, expired)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert {answer.json()["type"] for answer in answers} == {ProblemKind.DRIFT_PAGE_NOT_FOUND.type}
    assert f"GET /v1/drift/{expired}" in answers[1].json()["detail"]


async def test_a_window_with_too_few_rows_has_no_page_and_says_why(tmp_path: Path) -> None:
    few = {**drift_report().columns, "page_bytes": 0}
    async with remembering(tmp_path, ROUTERS) as client:
        report_id = keep_report(parts_of(client), drift_report(verdict="too_few", columns=few))
        told = await client.get(f"/v1/drift/{report_id}")
        answer = await client.get(f"/v1/drift/{report_id}/page")

    assert told.json()["has_page"] is False
    assert (answer.status_code, "Too few rows" in answer.json()["detail"]) == (404, True)


async def test_a_report_that_never_was_is_a_problem_of_its_own(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answers = [await client.get(address) for address in (UNKNOWN, f"{UNKNOWN}/page")]

    assert {answer.json()["type"] for answer in answers} == {ProblemKind.DRIFT_REPORT_NOT_FOUND.type}


@pytest.mark.parametrize("report_id", ["rt_" + "0" * 32, "dr_..", "dr_" + "0" * 33, "dr_%2e%2e%2freference.json"])
async def test_what_is_no_id_reaches_no_key_of_the_store(tmp_path: Path, report_id: str) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get(f"/v1/drift/{report_id}/page")

    assert answer.status_code in (404, 422)


async def test_only_those_who_look_after_models_see_drift(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        reader = bearer("shop", CREATIVES_READ)
        answers = [await client.get(each, headers=reader) for each in ("/v1/drift", UNKNOWN, f"{UNKNOWN}/page")]

    assert [answer.status_code for answer in answers] == [403, 403, 403]


async def test_an_object_store_that_is_down_is_503_for_the_page_and_nothing_for_the_figures(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        report_id = keep_report(parts_of(client), drift_report())
        folder = tmp_path / "objects" / "drift" / "reports"
        (folder / f"{report_id}.html").unlink()
        (folder / f"{report_id}.html").symlink_to(f"{report_id}.html")  # a loop cannot be read, by root neither
        page = await client.get(f"/v1/drift/{report_id}/page")
        told = await client.get(f"/v1/drift/{report_id}")

    assert (page.status_code, told.status_code) == (503, 200)
    assert str(tmp_path) not in page.text


async def test_pages_are_read_in_parts_however_many_are_sent_at_once(tmp_path: Path) -> None:
    """Whole pages would be 12 MB each."""
    async with remembering(tmp_path, ROUTERS) as client:
        report = drift_report()
        keep_report(parts_of(client), report, b"x" * LARGE_BYTES)
        size_bytes, chunks = parts_of(client).objects.open_chunks(report.page_key)
        tracemalloc.start()
        read = sum(map(len, chunks))
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        answers = await asyncio.gather(*(client.get(f"/v1/drift/{report.id}/page") for _ in range(4)))

    assert size_bytes == read == LARGE_BYTES
    assert peak_bytes < LARGE_BYTES / 3
    assert [len(answer.content) for answer in answers] == [LARGE_BYTES] * 4
