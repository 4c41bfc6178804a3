"""Changes from an API are merged into the catalogue they change; what is bad or gone is seen to."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipelines.ingest.paged_api import Patience, SourceDownError
from pipelines.ingest.run import Options, ingest
from pipelines.ingest.sources import Source, UpdatedSince
from tests.pipelines.ingest_parts import state_of, stores_at
from tests.pipelines.shop_api import Answer, shop_api

OPTIONS = Options(workers=1, patience=Patience(attempts=2, backoff_seconds=0.01))


@pytest.fixture
def stores(tmp_path):
    made = stores_at(tmp_path)
    yield made
    made.database.dispose()


@pytest.fixture
def api():
    with shop_api() as running:
        running.items = [item(number) for number in range(5)]
        yield running


@pytest.fixture
def source(api):
    return Source(
        name="shop",
        client="client",
        kind="api",
        url=f"{api.address}/products",
        items=("data", "products"),
        next=("paging", "next"),
        updated_since=UpdatedSince("updated_since", "updated_at"),
        deleted="is_deleted",
    )


def item(number, at="2026-01-01T00:00:00Z", **changed):
    return {"sku": f"A-{number}", "title": f"Lamp {number}", "price": "10 EUR", "updated_at": at} | changed


def titles(stores, result):
    lines = stores.objects.open_lines(f"catalogue/{result.snapshot}.jsonl")
    return {table["sku"]: table["title"] for table in map(json.loads, lines)}


def test_the_first_time_everything_is_read_and_then_what_changed(api, source, stores):
    first = ingest(source, stores, OPTIONS)
    api.items[1] = item(1, "2026-02-01T00:00:00Z", title="Lamp one")
    api.items.append(item(9, "2026-02-02T00:00:00Z"))
    api.items[3] = {"sku": "A-3", "is_deleted": True, "updated_at": "2026-02-03T00:00:00Z"}
    second = ingest(source, stores, OPTIONS)

    assert (first.outcome, first.rows, first.products) == ("kept", 5, 5)
    assert "updated_since=2026-01-01" in api.paths()[3]
    assert titles(stores, second) == {
        "A-0": "Lamp 0",
        "A-1": "Lamp one",
        "A-2": "Lamp 2",
        "A-4": "Lamp 4",
        "A-9": "Lamp 9",
    }
    assert (second.outcome, second.products) == ("kept", 5)
    assert second.rows == second.accepted + second.rejected + second.merged


def test_the_merged_catalogue_is_the_one_that_a_whole_reading_gives(api, source, stores, tmp_path):
    ingest(source, stores, OPTIONS)
    api.items[2] = item(2, "2026-02-01T00:00:00Z", price="99 EUR")
    merged = ingest(source, stores, OPTIONS)
    (tmp_path / "other").mkdir()
    whole = ingest(source, stores_at(tmp_path / "other"), OPTIONS)

    assert merged.snapshot == whole.snapshot


def test_nothing_new_is_unchanged(api, source, stores):
    first = ingest(source, stores, OPTIONS)
    api.answers = [Answer(body={"data": {"products": []}})]
    second = ingest(source, stores, OPTIONS)
    third = ingest(source, stores, OPTIONS)  # gives again what stands at the cursor itself

    assert [second.outcome, third.outcome] == ["unchanged", "unchanged"]
    assert {second.snapshot, third.snapshot} == {first.snapshot}


def test_a_304_is_unchanged_and_costs_one_request(api, source, stores):
    api.etag = '"v1"'
    whole = replace(source, updated_since=None, deleted="")
    ingest(whole, stores, OPTIONS)
    count = len(api.seen)
    second = ingest(whole, stores, OPTIONS)

    assert second.outcome == "unchanged"
    assert len(api.seen) == count + 1


def test_a_bad_change_goes_to_quarantine_and_the_product_stays_as_it_was(api, source, stores):
    ingest(source, stores, OPTIONS)
    api.items[0] = item(0, "2026-02-01T00:00:00Z", price="cheap")
    api.items[1] = item(1, "2026-02-01T00:00:00Z", title="Better lamp")
    result = ingest(source, stores, OPTIONS)

    assert (result.outcome, result.rejected) == ("kept", 1)
    assert titles(stores, result)["A-0"] == "Lamp 0"
    assert titles(stores, result)["A-1"] == "Better lamp"
    assert b"is not a price: cheap" in stores.objects.get(result.quarantine)


def test_the_last_word_on_a_sku_counts_and_the_earlier_ones_are_merged(api, source, stores):
    api.items = [item(0), item(0, title="Second"), item(1), {"sku": "A-1", "is_deleted": "true"}, item(2)]
    result = ingest(source, stores, OPTIONS)

    assert titles(stores, result) == {"A-0": "Second", "A-2": "Lamp 2"}
    assert (result.rows, result.accepted, result.merged, result.rejected) == (5, 3, 2, 0)


def test_a_change_without_a_sku_cannot_be_merged(api, source, stores):
    api.items += [{"title": "Nameless"}, {"is_deleted": 1}, {"sku": "A-2", "title": "Kept", "is_deleted": "false"}]
    result = ingest(source, stores, OPTIONS)
    reasons = [json.loads(line)["reason"] for line in stores.objects.get(result.quarantine).splitlines()]

    assert (result.rows, result.accepted, result.merged, result.rejected) == (8, 5, 1, 2)
    assert all(reason.startswith("is missing") for reason in reasons)


def test_changes_that_delete_more_than_half_are_refused_and_the_cursor_stays(api, source, stores):
    first = ingest(source, stores, OPTIONS)
    cursor = state_of(stores)["cursors"]
    api.items[:3] = [{"sku": f"A-{n}", "is_deleted": True, "updated_at": "2026-02-01T00:00:00Z"} for n in range(3)]
    result = ingest(source, stores, OPTIONS)

    assert (result.outcome, result.snapshot) == ("refused", first.snapshot)
    assert "2 products are left of 5" in result.why
    assert state_of(stores)["cursors"] == cursor


@pytest.mark.parametrize(
    "trouble", [Answer(500, {}), Answer(200, b"{"), Answer(200, b"<html>", {"Content-Type": "text/html"})]
)
def test_trouble_on_the_second_page_keeps_nothing_of_the_first(api, source, stores, trouble):
    first = ingest(source, stores, OPTIONS)
    before = state_of(stores)
    page = {"data": {"products": [item(7)]}, "paging": {"next": "/products?page=2"}}
    api.answers = [Answer(body=page), trouble, trouble]

    with pytest.raises(RuntimeError, match="page 2 of source shop"):
        ingest(source, stores, OPTIONS)
    assert state_of(stores) == before
    api.answers.clear()
    assert ingest(source, stores, OPTIONS).snapshot == first.snapshot


def test_a_token_comes_from_the_variable_that_the_table_names(api, source, stores):
    guarded = replace(source, token_variable="SHOP_TOKEN")
    with pytest.raises(RuntimeError, match="needs its token in the variable SHOP_TOKEN"):
        ingest(guarded, stores, OPTIONS)
    result = ingest(guarded, replace(stores, environment={"SHOP_TOKEN": "s3cret"}), OPTIONS)

    assert result.outcome == "kept"
    assert {headers["Authorization"] for _, headers in api.seen} == {"Bearer s3cret"}
    assert "s3cret" not in str(state_of(stores))


def test_a_source_that_is_down_is_an_error(source, stores, api):
    api.answers = [Answer(503, {}), Answer(503, {})]

    with pytest.raises(SourceDownError):
        ingest(source, stores, OPTIONS)
    assert state_of(stores)["ingests"] == []
