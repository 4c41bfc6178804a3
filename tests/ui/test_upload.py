"""What the page itself reads of an uploaded file, and what it sends again of it."""

from __future__ import annotations

import csv
import io
import json
from importlib.resources import files

import pytest

from app.ui import upload
from app.ui.sample import FILE, sample_upload
from app.ui.upload import NAMES, UploadError, media_type_of, open_upload, read_rows
from model.catalogue import read_catalogue
from model.columns import NAMES as SERVICE_NAMES

CSV = b"\xef\xbb\xbfsku;Titel;title;price\nA-1;x;Blue bowl;19,90 EUR\n;x;;\nB-2;x;Grey vase;\n"


@pytest.mark.parametrize("field", NAMES)
def test_columns_are_known_by_the_names_that_the_service_knows(field):
    assert NAMES[field] == SERVICE_NAMES[field]


def test_every_line_of_the_sample_stands_in_the_sample_catalogue():
    catalogue = files("model").joinpath("data/catalogue.csv").read_text(encoding="utf-8")
    whole = {tuple(row) for row in csv.reader(io.StringIO(catalogue))}
    sample = [tuple(row) for row in csv.reader(io.StringIO(FILE.read_text(encoding="utf-8")))]

    assert set(sample) <= whole
    assert len(sample_upload().rows) == len(sample) - 1


def test_rows_of_a_csv_with_semicolons_and_a_byte_order_mark():
    rows = read_rows(CSV, "text/csv")

    assert [(row["sku"], row["title"], row["price"]) for row in rows] == [
        ("A-1", "Blue bowl", "19,90 EUR"),
        ("B-2", "Grey vase", ""),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_that_excel_hides_is_no_header_for_page_and_service_alike(tmp_path, delimiter, end):
    note, *lines = f"sep={delimiter}", delimiter.join(("sku", "title")), delimiter.join(("A1", "Blue bowl"))
    content = "".join(f"{line}{end}" for line in (note, *lines)).encode()
    (tmp_path / "sent.csv").write_bytes(content)
    service = [product.title for product in read_catalogue(tmp_path / "sent.csv").products]
    part = open_upload("sent.csv", content, "text/csv", {}).part({"A1"}).decode()

    assert [row["title"] for row in read_rows(content, "text/csv")] == service == ["Blue bowl"]
    assert "A1" in part
    assert "sep=" not in part


def test_rows_of_shopify_have_their_markup_taken_out():
    content = (
        b"Handle,Title,Body (HTML),Type,Variant Price\nbowl,Bowl,<p>Holds <b>0.5 l</b></p>,Kitchen,19.90\nbowl,,,,\n"
    )

    (row,) = read_rows(content, "text/csv")

    assert row["description"] == "Holds 0.5 l"
    assert (row["sku"], row["category"], row["price"]) == ("bowl", "Kitchen", "19.90")


@pytest.mark.parametrize(
    "text",
    ['[{"title": "Bowl"}]', '{"products": [{"title": "Bowl"}]}', '{"title": "Bowl"}\n{"title": ""}\n'],
)
def test_rows_of_json_in_the_forms_that_shops_export(text):
    assert [row["title"] for row in read_rows(text.encode(), "application/json")] == ["Bowl"]


@pytest.mark.parametrize(
    "line",
    [b'{"title": "Vase",', b"[" * 100_000, b'{"title": "B\xf6wl"}', b"not JSON", b"7", b"[]"],
    ids=["cut off", "deep", "Latin-1", "words", "a number", "a list"],
)
def test_a_line_of_json_that_cannot_be_read_is_left_out_and_the_others_are_there(line):
    good = [{"sku": name, "title": f"Vase {name}"} for name in ("A", "B", "C")]
    first, *rest = (json.dumps(record).encode() for record in good)
    kept = open_upload("a.jsonl", b"\n".join([first, line, *rest]), "application/x-ndjson", {})

    assert [row["sku"] for row in kept.rows] == ["A", "B", "C"]
    assert [json.loads(each) for each in kept.part({"A", "C"}).splitlines()] == [good[0], good[2]]


def test_a_line_of_json_goes_on_over_what_ends_lines_in_other_places():
    content = '{"title": "Oak\u2028vase\u0085"}\r\n{"title": "Bowl"}\r{"title": "Cup"}\n'

    assert [row["title"] for row in read_rows(content.encode(), "application/x-ndjson")] == ["Oak vase", "Bowl", "Cup"]


def test_numbers_of_json_stay_as_they_are_written_as_in_the_service():
    content = f'{{"sku": 1.10, "title": "Bowl", "price": 10.00, "code": {"9" * 5_000}}}'.encode()
    kept = open_upload("a.jsonl", content, "application/x-ndjson", {})

    assert [(row["sku"], row["price"]) for row in kept.rows] == [("1.10", "10.00")]
    assert json.loads(kept.part({"1.10"}))["price"] == "10.00"


def test_a_product_on_the_only_line_is_one_whatever_lists_it_has():
    content = b'{"title": "Bowl", "tags": [{"name": "kitchen"}]}'

    assert [row["title"] for row in read_rows(content, "application/x-ndjson")] == ["Bowl"]


def test_half_of_a_character_is_taken_out_of_a_row():
    (row,) = read_rows(b'{"title": "Bowl \\ud83e"}', "application/x-ndjson")

    assert row["title"] == "Bowl"


def test_a_long_cell_and_bytes_that_are_no_text_leave_the_other_rows():
    before = csv.field_size_limit(131_072)
    try:
        content = b"sku,title,notes\nA,Bowl," + b"x" * 200_000 + b"\nB,V\xe4se,\nC,Cup,\n"
        kept = open_upload("a.csv", content, "text/csv", {})
        part = kept.part({"A"})
    finally:
        csv.field_size_limit(before)

    assert [row["title"] for row in kept.rows] == ["Bowl", "Cup"]
    assert part == b"sku,title,notes\r\nA,Bowl," + b"x" * 200_000 + b"\r\n"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"{", b"[" * 100_000, b'"\x00', b""])
def test_a_file_that_cannot_be_read_has_no_rows(content):
    assert read_rows(content, "application/json") == ()
    assert read_rows(content, "text/csv") == ()


@pytest.mark.parametrize(
    ("name", "start"),
    [("bomb.zip", b"PK\x03\x04"), ("products.csv", b"PK\x03\x04"), ("products.csv", b"\x1f\x8b\x08"), ("a.xlsx", b"")],
)
def test_packed_files_are_refused_by_name_and_by_their_first_bytes(name, start):
    with pytest.raises(UploadError, match="packed file"):
        media_type_of(name, start)


@pytest.mark.parametrize("name", ["products", "products.pdf", "csv", ".html"])
def test_other_files_are_refused_with_what_to_drop(name):
    with pytest.raises(UploadError, match=r"\.csv, \.json or \.jsonl"):
        media_type_of(name, b"anything")


@pytest.mark.parametrize(("name", "kind"), [("a.CSV", "text/csv"), ("b.jsonl", "application/x-ndjson")])
def test_a_catalogue_is_known_by_its_ending(name, kind):
    assert media_type_of(name, b"sku,title") == kind


def test_a_part_of_a_csv_holds_the_wanted_rows_with_every_column():
    part = open_upload("a.csv", CSV, "text/csv", {}).part({"B-2"})

    assert part.decode() == "sku;Titel;title;price\r\nB-2;x;Grey vase;\r\n"


def test_a_part_of_json_holds_the_wanted_records_unchanged():
    records = [{"sku": "A", "title": "Bowl", "material": "clay"}, {"sku": "B", "title": "Vase"}]
    part = open_upload("a.json", json.dumps(records).encode(), "application/json", {}).part({"A"})

    assert json.loads(part) == records[:1]


@pytest.mark.parametrize(("content", "skus"), [(b"", {"A-1"}), (CSV, {"unknown"})])
def test_there_is_no_part_of_a_file_that_was_not_kept_or_lacks_the_products(content, skus):
    assert open_upload("a.csv", content, "text/csv", {}).part(skus) == b""


@pytest.mark.parametrize("error", [ValueError, csv.Error, RecursionError])
def test_there_is_no_part_where_it_cannot_be_made(monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(upload, "_csv_part", fails)

    assert open_upload("a.csv", CSV, "text/csv", {}).part({"A-1"}) == b""


def test_there_is_no_part_of_words_that_cannot_be_sent():
    content = b'{"sku": "A", "title": "Bowl \\ud83e"}'

    assert open_upload("a.jsonl", content, "application/x-ndjson", {}).part({"A"}) == b""


def test_no_more_rows_are_kept_than_the_bound(monkeypatch):
    monkeypatch.setattr(upload, "ROWS_MAX", 3)
    content = b"title\n" + b"Bowl\n" * 5

    assert len(read_rows(content, "text/csv")) == 3


@pytest.mark.parametrize(("chars", "rows"), [(7, 1), (8, 2)])
def test_no_more_text_is_kept_than_the_bound(monkeypatch, chars, rows):
    monkeypatch.setattr(upload, "ROWS_CHARS_MAX", chars)

    assert len(read_rows(b"title\nBowl\nVase\n", "text/csv")) == rows
