"""A file becomes a snapshot once, its bad rows a quarantine, and a broken export a verdict that keeps the last one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from model.product import product_from_dict
from model.store.objects import ObjectMissingError
from pipelines.ingest.paged_api import SourceAnswerError
from pipelines.ingest.run import Options, ingest
from tests.pipelines.ingest_parts import (
    IN_TURN,
    as_csv,
    catalogue,
    file_source,
    newest_ingest,
    newest_snapshot,
    state_of,
    stores_at,
)
from tests.real_parts import s3_server


@pytest.fixture
def stores(tmp_path):
    made = stores_at(tmp_path)
    yield made
    made.database.dispose()


@pytest.fixture
def export(tmp_path):
    """The file of the source; write to it."""
    return tmp_path / "products.csv"


@pytest.fixture
def run(stores, export):
    def running(content=None, **options):
        if content is not None:
            export.write_text(content if isinstance(content, str) else as_csv(content), encoding="utf-8")
        return ingest(file_source(export), stores, replace(IN_TURN, **options))

    return running


def adds_up(result):
    return result.rows == result.accepted + result.rejected + result.merged


def test_a_good_file_is_kept_under_the_digest_of_its_lines(run, stores):
    result = run(catalogue(10))
    snapshot = newest_snapshot(stores)
    content = stores.objects.get(snapshot.object_key)

    assert (result.outcome, result.rows, result.accepted, result.rejected) == ("kept", 10, 10, 0)
    assert result.snapshot == snapshot.digest == hashlib.sha256(content).hexdigest()
    assert (snapshot.client, snapshot.rows, snapshot.rejected) == ("client", 10, 0)
    products = [product_from_dict(json.loads(line)) for line in content.splitlines()]
    assert [product.sku for product in products] == [f"A-{number}" for number in range(10)]
    assert (
        content
        == "".join(
            f"{json.dumps(product.as_dict(), sort_keys=True, ensure_ascii=False)}\n" for product in products
        ).encode()
    )


def test_the_same_file_again_makes_nothing_new(run, stores):
    first = run(catalogue(10))
    objects = state_of(stores)["objects"]
    second = run()
    after_two = state_of(stores)
    third = run()

    assert (second.outcome, third.outcome) == ("unchanged", "unchanged")
    assert second.snapshot == first.snapshot
    assert after_two["objects"] == objects
    assert state_of(stores) == after_two
    assert [row["state"] for row in after_two["ingests"]].count("unchanged") == 1


def test_another_file_with_the_same_products_is_unchanged(run, stores):
    first = run(catalogue(10))
    second = run(as_csv(catalogue(10)) + "\n\n")

    assert (second.outcome, second.snapshot) == ("unchanged", first.snapshot)
    assert len(state_of(stores)["snapshots"]) == 1


def test_a_snapshot_that_comes_back_is_the_newest_again(run, stores):
    first = run(catalogue(10))
    run(catalogue(11))
    third = run(catalogue(10))

    assert third.outcome == "kept"
    assert newest_snapshot(stores).digest == first.snapshot
    assert len(state_of(stores)["snapshots"]) == 2


def test_bad_rows_go_to_quarantine_with_line_and_reason(run, stores):
    rows = catalogue(10)
    rows[2]["title"] = ""
    rows[7]["price"] = "cheap"
    result = run(as_csv(rows))
    lines = [json.loads(line) for line in stores.objects.get(result.quarantine).splitlines()]

    assert (result.outcome, result.accepted, result.rejected) == ("kept", 8, 2)
    assert adds_up(result)
    assert [(line["line"], line["column"]) for line in lines] == [(4, "title"), (9, "price")]
    assert lines[1]["reason"].startswith("is not a price: cheap")
    assert "A-7" in lines[1]["raw"]
    assert result.quarantine == f"quarantine/{result.ingest}.jsonl"


def test_a_row_of_any_length_leaves_a_bounded_text_in_quarantine(run, stores):
    rows = catalogue(10)
    rows[3]["description"] = "x" * 100_000
    result = run(rows)
    (line,) = stores.objects.get(result.quarantine).splitlines()

    assert len(json.loads(line)["raw"]) == 500


def test_bytes_that_are_no_utf8_are_quarantined_and_the_rest_is_kept(run, stores, export):
    export.write_bytes(
        as_csv(catalogue(10)).encode().replace(b"lamp no 4", b"l\xe4mp no 4") + "Ü".encode() + b",Lamp \xc3\xbc\n"
    )
    result = run()

    assert (result.outcome, result.accepted, result.rejected) == ("kept", 9, 2)
    assert b"\\udce4" in stores.objects.get(result.quarantine)


@pytest.mark.parametrize(("bad", "outcome"), [(20, "kept"), (21, "refused"), (30, "refused")])
def test_more_than_a_fifth_of_bad_rows_stops_it_and_keeps_the_last_good_snapshot(run, stores, bad, outcome):
    good = run(catalogue(100))
    rows = catalogue(100, category="Home")
    for row in rows[:bad]:
        row["title"] = ""
    result = run(rows)

    assert result.outcome == outcome
    assert (result.rows, result.rejected) == (100, bad)
    assert adds_up(result)
    assert (result.snapshot == good.snapshot) == (outcome == "refused")
    assert (newest_snapshot(stores).digest == good.snapshot) == (outcome == "refused")
    if outcome == "refused":
        assert result.why.startswith(f"{bad} of 100 rows are bad, {bad}%, and at most 20% may be")
        assert newest_ingest(stores).why == result.why
        assert json.loads(stores.objects.get(result.quality))["why"] == result.why
        assert len(stores.objects.get(result.quarantine).splitlines()) == bad


def test_a_refused_file_given_again_is_refused_again_and_leaves_one_row(run, stores):
    run(catalogue(10))
    bad = as_csv(catalogue(10, title=""))
    first = run(bad)
    after_one = state_of(stores)
    second = run()

    assert first == second
    assert state_of(stores) == after_one


@pytest.mark.parametrize(("left", "outcome"), [(50, "kept"), (49, "refused")])
def test_a_catalogue_that_shrinks_by_more_than_half_is_refused(run, stores, left, outcome):
    run(catalogue(100))
    result = run(catalogue(left))

    assert result.outcome == outcome
    if outcome == "refused":
        assert "49 products are left of 100" in result.why
        assert run(is_accepted=True).outcome == "kept"


@pytest.mark.parametrize("is_renamed", [False, True])
def test_columns_that_vanished_are_named(run, stores, is_renamed):
    run(catalogue(10))
    changed = {"colour": None, "price": None} | ({"Preis": "12 EUR", "Farbe": "fog"} if is_renamed else {})
    result = run(catalogue(10, **changed))

    assert result.outcome == "refused"
    assert result.why.startswith("attribute Colour and price are empty in every product")
    assert newest_snapshot(stores).rows == 10


def test_a_lost_column_of_skus_is_noticed_although_every_product_has_one(run):
    run(catalogue(10))

    assert "sku is empty in every product" in run(catalogue(10, sku=None)).why


@pytest.mark.parametrize(("filled", "outcome"), [(4, "kept"), (5, "refused")])
def test_a_column_that_held_next_to_nothing_may_go(run, filled, outcome):
    rows = catalogue(100, brand="")
    for row in rows[:filled]:
        row["brand"] = "Loch"
    run(rows)

    assert run(catalogue(100, brand="", description="New.")).outcome == outcome


def test_a_truncated_file_costs_its_last_row_or_is_refused(run, stores, export):
    whole = as_csv(catalogue(100))
    run(whole)
    shorter = run(whole[: len(whole) - 30])

    assert (shorter.outcome, shorter.accepted, shorter.rejected) == ("kept", 99, 1)
    assert run(whole[: len(whole) // 3]).outcome == "refused"
    assert newest_snapshot(stores).digest == shorter.snapshot


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "the catalogue is empty"),
        ("sku,price\nA,1\n", "the catalogue has no title column"),
        ("sku,title\n", "no row is a product"),
        ("<html></html>", "is XML or HTML"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused_without_its_path(run, stores, tmp_path, content, why):
    good = run(catalogue(10))
    result = run(content)

    assert result.outcome == "refused"
    assert why in result.why
    assert str(tmp_path) not in result.why
    assert (result.snapshot, result.products) == (good.snapshot, 10)


def test_a_first_catalogue_that_is_refused_leaves_no_snapshot(run, stores):
    result = run("sku,title\n")

    assert (result.outcome, result.snapshot) == ("refused", "")
    assert state_of(stores)["snapshots"] == state_of(stores)["cursors"] == []


def test_a_file_that_is_not_there_is_an_error_and_the_last_snapshot_stays(run, stores, export):
    run(catalogue(10))
    before = state_of(stores)
    export.unlink()

    with pytest.raises(FileNotFoundError):
        run()
    assert state_of(stores) == before


def test_rows_that_went_into_the_product_above_add_up(run):
    rows = "Handle,Title,Option1 Name,Option1 Value\ntee,Tee,Size,S\ntee,,,M\ntee,,,L\nmug,Mug,,\nbad,!!!,,\n"
    result = run(rows)

    assert (result.rows, result.accepted, result.merged, result.rejected) == (5, 2, 2, 1)


def test_a_sku_that_stands_twice_counts_once_in_the_figures(run, stores):
    rows = catalogue(10)
    rows[9]["sku"] = "A-0"
    result = run(rows)
    report = json.loads(stores.objects.get(result.quality))

    assert (result.accepted, result.rejected) == (9, 1)
    assert report["products"] == report["filled"]["title"] == sum(report["title_chars"].values()) == 9
    assert report["reasons"] == {"sku: stands already in another row": 1}
    assert json.loads(stores.objects.get(result.quarantine))["reason"] == "A-0 stands already in line 2"


def test_the_mapping_of_the_table_is_used_and_a_changed_one_reads_the_file_again(stores, export):
    export.write_text("Artikel,title\nLampe,Lamp\n", encoding="utf-8")
    first = ingest(file_source(export), stores, IN_TURN)
    second = ingest(file_source(export, columns=(("Artikel", "sku"),)), stores, IN_TURN)

    assert (first.outcome, second.outcome) == ("kept", "kept")
    assert first.snapshot != second.snapshot


def test_of_a_folder_the_last_export_by_name_is_taken(stores, tmp_path):
    folder = tmp_path / "exports"
    folder.mkdir()
    with pytest.raises(SourceAnswerError, match="there is no export in its folder"):
        ingest(file_source(folder), stores, IN_TURN)
    (folder / "2026-01-02.csv").write_text(as_csv(catalogue(2)), encoding="utf-8")
    (folder / "2026-01-10.csv").write_text(as_csv(catalogue(3)), encoding="utf-8")
    (folder / "readme.md").write_text("zzz", encoding="utf-8")

    assert ingest(file_source(folder), stores, IN_TURN).accepted == 3


def test_an_object_of_s3_is_a_file_too(stores, monkeypatch):
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        bucket = server.new_bucket()
        server.client.put_object(Bucket=bucket, Key="in/products.csv", Body=as_csv(catalogue(5)).encode())
        source = replace(file_source("x"), url=f"s3://{bucket}/in/products.csv")
        results = [ingest(source, stores, Options(workers=1)) for _ in range(2)]
        with pytest.raises(SourceAnswerError, match="no object with this key"):
            ingest(replace(source, url=f"s3://{bucket}/in/none.csv"), stores, IN_TURN)

    assert [result.outcome for result in results] == ["kept", "unchanged"]
    assert results[0].accepted == 5


def test_nothing_is_left_in_the_working_folder(run, stores):
    run(catalogue(10))

    assert [path.name for path in stores.work.rglob("*")] == ["shop.lock"]


def test_a_snapshot_without_bad_rows_has_no_quarantine(run, stores):
    result = run(catalogue(3))

    assert result.quarantine == ""
    with pytest.raises(ObjectMissingError):
        stores.objects.get(f"quarantine/{result.ingest}.jsonl")
