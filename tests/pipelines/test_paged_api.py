"""A paged API becomes a file of items, or an error that says what is wrong with it: never half a catalogue."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipelines.ingest import paged_api
from pipelines.ingest.paged_api import Patience, SourceAnswerError, SourceDownError, fetch_pages
from pipelines.ingest.sources import PageSize, Source, UpdatedSince
from tests.pipelines.shop_api import Answer, shop_api
from tests.real_parts import free_port

ITEMS = [{"sku": f"A-{number}", "title": f"Lamp {number}", "price": 10.50 + number} for number in range(5)]
QUICK = Patience(attempts=3, backoff_seconds=0.01, retry_after_seconds_max=2, timeout_seconds=5)


@pytest.fixture
def api():
    with shop_api() as running:
        running.items = list(ITEMS)
        yield running


def source_at(api, **keys):
    table = {"items": ("data", "products"), "next": ("paging", "next")} | keys
    return Source("shop", "client", "api", f"{api.address}/products", **table)


def fetched(api, tmp_path, *, source=None, **options):
    target = tmp_path / "items.jsonl"
    pages = fetch_pages(source or source_at(api), target, **({"patience": QUICK} | options))
    return pages, [json.loads(line) for line in target.read_bytes().splitlines()]


def page(items, following=None):
    return {"data": {"products": items}, "paging": {"next": following}}


@pytest.mark.parametrize("uses_link", [False, True])
def test_every_page_is_read_in_order(api, tmp_path, uses_link):
    api.uses_link = uses_link
    following = ("link",) if uses_link else ("paging", "next")
    pages, items = fetched(api, tmp_path, source=source_at(api, next=following))

    assert [item["sku"] for item in items] == ["A-0", "A-1", "A-2", "A-3", "A-4"]
    assert pages.items == 5
    assert api.paths() == ["/products", "/products?page=2", "/products?page=3"]


def test_numbers_are_kept_as_they_are_written(api, tmp_path):
    api.answers = [Answer(body=b'{"data": {"products": [{"sku": 7, "price": 10.50}]}}')]

    assert fetched(api, tmp_path)[1] == [{"sku": "7", "price": "10.50"}]


def test_a_page_may_be_the_list_itself_and_the_only_one(api, tmp_path):
    api.answers = [Answer(body=ITEMS)]

    assert fetched(api, tmp_path, source=source_at(api, items=(), next=()))[0].items == 5


def test_a_token_of_the_next_page_goes_into_its_parameter(api, tmp_path):
    api.answers = [Answer(body=page(ITEMS[:1], "t/2&x")), Answer(body=page(ITEMS[1:2]))]
    fetched(api, tmp_path, source=source_at(api, next_parameter="after", page_size=PageSize("limit", 1)))

    assert api.paths() == ["/products?limit=1", "/products?limit=1&after=t%2F2%26x"]


def test_the_bearer_token_goes_with_every_page(api, tmp_path):
    fetched(api, tmp_path, token="s3cret")

    assert {headers["Authorization"] for _, headers in api.seen} == {"Bearer s3cret"}


def test_what_has_not_changed_is_not_read_again(api, tmp_path):
    api.etag = '"v1"'
    first, _ = fetched(api, tmp_path)
    second, items = fetched(api, tmp_path, etag=first.etag)
    api.etag = '"v2"'
    third, _ = fetched(api, tmp_path, etag=first.etag)

    assert (first.is_unchanged, second.is_unchanged, third.is_unchanged) == (False, True, False)
    assert items == []
    assert third.etag == '"v2"'


@pytest.mark.parametrize(
    ("values", "asked", "highest"),
    [
        (["2026-01-02T00:00:00Z", "2026-01-10T00:00:00Z"], "2026-01-01T00:00:00Z", "2026-01-10T00:00:00Z"),
        ([9, 10], "8", "10"),
        ([None, None], "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_the_cursor_is_the_highest_value_that_was_seen(api, tmp_path, values, asked, highest):
    api.answers = [Answer(body=page([{"sku": "A", "updated_at": value} for value in values]))]
    source = source_at(api, updated_since=UpdatedSince("updated_since", "updated_at"))
    pages, _ = fetched(api, tmp_path, source=source, since=asked)

    assert pages.since == highest
    assert f"updated_since={asked}".replace(":", "%3A") in api.paths()[0].replace(":", "%3A")


@pytest.mark.parametrize("trouble", [Answer(500, {}), Answer(503, {}), Answer(200, page(ITEMS), length=100_000)])
def test_a_failure_or_a_broken_connection_is_tried_again(api, tmp_path, trouble):
    api.answers = [trouble, trouble]
    pages, items = fetched(api, tmp_path)

    assert pages.items == len(items) == 5
    assert len(api.seen) == 2 + 3


def test_after_its_last_attempt_a_source_is_down(api, tmp_path):
    api.answers = [Answer(500, {}) for _ in range(3)]

    with pytest.raises(SourceDownError, match="page 1 of source shop: answers 500, 3 times"):
        fetched(api, tmp_path)
    assert len(api.seen) == 3


def test_a_source_that_nobody_serves_is_down(tmp_path):
    source = Source("shop", "client", "api", f"http://127.0.0.1:{free_port()}/products")

    with pytest.raises(SourceDownError, match=r"cannot be reached \(ConnectError\), 3 times"):
        fetch_pages(source, tmp_path / "items", patience=QUICK)


def test_retry_after_is_waited_out(api, tmp_path):
    api.answers = [Answer(429, {}, {"Retry-After": "1"})]
    start = time.monotonic()
    pages, _ = fetched(api, tmp_path)

    assert pages.items == 5
    assert time.monotonic() - start >= 1


def test_retry_after_may_be_a_date(api, tmp_path):
    api.answers = [
        Answer(429, {}, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    ]

    with pytest.raises(SourceDownError, match=r"asks to be left alone for 3[56]\d\d s"):
        fetched(api, tmp_path)


@pytest.mark.parametrize(("seconds", "is_waited"), [("0", True), ("nonsense", True), ("3", False)])
def test_retry_after_has_a_longest(api, tmp_path, seconds, is_waited):
    api.answers = [Answer(429, {}, {"Retry-After": seconds})]
    if is_waited:
        assert fetched(api, tmp_path)[0].items == 5
    else:
        with pytest.raises(SourceDownError, match="left alone for 3 s: run it again"):
            fetched(api, tmp_path)


def test_too_many_requests_are_not_tried_for_ever(api, tmp_path):
    api.answers = [Answer(429, {}, {"Retry-After": "0"}) for _ in range(3)]

    with pytest.raises(SourceDownError, match="429, too many requests, 3 times"):
        fetched(api, tmp_path)


def test_a_page_that_leads_back_is_an_error(api, tmp_path):
    api.answers = [Answer(body=page(ITEMS[:1], "/products?page=2")), Answer(body=page(ITEMS[1:2], "/products"))]

    with pytest.raises(SourceAnswerError, match="page 3 of source shop leads back to one that was read"):
        fetched(api, tmp_path)


def test_a_page_that_comes_again_under_another_address_is_an_error(api, tmp_path):
    api.answers = [Answer(body=page(ITEMS[:1], f"/products?page={number}")) for number in (2, 3)]

    with pytest.raises(SourceAnswerError, match="does not turn its pages"):
        fetched(api, tmp_path)


def test_pages_without_end_are_an_error(api, tmp_path, monkeypatch):
    monkeypatch.setattr(paged_api, "PAGES_MAX", 3)
    api.items = [{"sku": f"A-{number}"} for number in range(100)]

    with pytest.raises(SourceAnswerError, match="more than 3 pages"):
        fetched(api, tmp_path)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(body=b'{"data": '), "not valid JSON: Expecting value at character 10"),
        (Answer(body=b"[" * 100_000), "nested too deeply|not valid JSON"),
        (Answer(body=b'{"a": "\xff"}'), "is not UTF-8"),
        (Answer(body=b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}), "is text/html and not JSON"),
        (Answer(body={"data": {"products": {}}}), "no list of items at data.products"),
        (Answer(body=[]), "no list of items at data.products"),
        (Answer(body=page([], {"a": 1})), "names a next page that is no text"),
        (Answer(body=page([], "http://elsewhere.example/")), "leads to another server"),
        (Answer(body=page([], "//elsewhere.example/")), "leads to another server"),
        (Answer(body=page([], "file:///etc/passwd")), "leads to another server"),
        (Answer(body=page([], "http://[")), "no address|another server"),
        (Answer(401, {}), "refused with 401: check the variable"),
        (Answer(302, {}, {"Location": "/elsewhere"}), r"has moved \(302\)"),
        (Answer(404, {}), "answered with 404"),
        (Answer(body=b"no gzip", headers={"Content-Encoding": "gzip"}), "not packed as it says"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_should_not_be_is_an_error_at_once(api, tmp_path, answer, what):
    api.answers = [answer]

    with pytest.raises(SourceAnswerError, match=what):
        fetched(api, tmp_path)
    assert len(api.seen) <= 2


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_page_has_a_largest_size_also_when_it_is_packed(api, tmp_path, monkeypatch, is_packed):
    body = json.dumps(page([{"sku": "A", "title": "x" * 50_000}])).encode()
    packed = Answer(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    answer = packed if is_packed else Answer(body=body)
    api.answers = [answer, answer]
    monkeypatch.setattr(paged_api, "BODY_BYTES_MAX", len(body))

    assert fetched(api, tmp_path)[0].items == 1
    monkeypatch.setattr(paged_api, "BODY_BYTES_MAX", len(body) - 1)
    with pytest.raises(SourceAnswerError, match="ask for smaller pages"):
        fetched(api, tmp_path)


def test_no_error_repeats_the_token_or_the_address(api, tmp_path):
    api.answers = [Answer(403, {})]

    with pytest.raises(SourceAnswerError) as raised:
        fetched(api, tmp_path, token="s3cret")
    assert "s3cret" not in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)
