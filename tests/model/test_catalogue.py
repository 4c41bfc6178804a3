"""Files become products and row errors, and every row is accounted for."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.catalogue import Catalogue, CatalogueError, RowError, iter_rows, read_catalogue
from model.product import Product
from model.rows import ROW_CHARS_MAX, WHOLE_BYTES_MAX

Write = Callable[..., Path]
REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("ADLOOM_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")

SHOPIFY = """\
Handle,Title,Body (HTML),Vendor,Type,Option1 Name,Option1 Value,Option2 Name,Option2 Value,\
Variant SKU,Variant Price,Image Src
tee,Loch tee,<p>Soft <b>cotton</b></p>,Loch,Shirts,Size,S,Color,fog,T-S,24.90,
tee,,,,,,M,,fog,T-M,24.90,https://x.example/tee.jpg
tee,,,,,,L,,ink,T-L,26.90,https://x.example/ink.jpg
mug,Loch mug,"<ul><li>300 ml</li><li>Stoneware</li></ul>",Loch,Mugs,Title,Default Title,,,M-1,12,https://x.example/mug.jpg
mug,,,,,,,,,,,https://x.example/side.jpg
bad,!!!,,Loch,Mugs,Title,Default Title,,,B-1,12,
bad,,,,,,,,,,,https://x.example/bad.jpg
lost,,,,,,,,,,,https://x.example/lost.jpg
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str | bytes, name: str = "shop.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def is_accounted_for(catalogue: Catalogue) -> bool:
    return len(catalogue.products) + len(catalogue.rejected) + catalogue.merged == catalogue.rows


def titles(catalogue: Catalogue) -> list[str]:
    return [product.title for product in catalogue.products]


# CSV


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_is_read_with_any_separator_line_end_and_with_or_without_bom(
    write: Write, separator: str, start: str, end: str
) -> None:
    rows = [["Name", "Price", "Description"], ["Bowl", "9,90 €", "Blue; round,\tdeep"], ["Cup", "5", 'A "small" cup']]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)

    catalogue = read_catalogue(write(start + text.getvalue()))

    assert [(p.title, p.price, p.description) for p in catalogue.products] == [
        ("Bowl", "9,90 €", "Blue; round, deep"),
        ("Cup", "5", 'A "small" cup'),
    ]
    assert (catalogue.rows, catalogue.rejected) == (2, ())


def test_the_separator_note_of_excel_is_obeyed_and_is_no_header(write: Write) -> None:
    catalogue = read_catalogue(write("sep=;\r\nname;price, EUR, gross\r\nBowl;5\r\n"))

    assert titles(catalogue) == ["Bowl"]
    assert catalogue.rows == 1


def test_a_bad_row_is_rejected_with_line_column_and_reason_and_the_rest_go_on(write: Write) -> None:
    text = 'Name,Price\nBowl,5\n,6\n"two\nlines",7\nCup\nJug,-1\n\nCup,8,9\nCup,8,\nPlate,10\n'

    catalogue = read_catalogue(write(text))

    assert titles(catalogue) == ["Bowl", "two lines", "Cup", "Plate"]
    assert catalogue.rejected == (
        RowError(3, "Name", "is missing or empty; every product needs a title"),
        RowError(6, "", "has 1 fields where the header has 2"),
        RowError(7, "Price", "is negative: -1"),
        RowError(9, "", "has 3 fields where the header has 2"),
    )
    assert catalogue.rows == 8


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('"Cup,6', "quote"),
        ('Cup,"6', "quote"),
        ('"Cup" large,6', "has a quote in the wrong place"),
    ],
)
@pytest.mark.parametrize("after", ["Jug,7\nPlate,8\n", '"Jug",7\n"Plate","8"\n'])
def test_an_open_quote_costs_its_own_line_and_no_other(write: Write, bad: str, reason: str, after: str) -> None:
    catalogue = read_catalogue(write(f"name,price\nBowl,5\n{bad}\n{after}"))

    assert titles(catalogue) == ["Bowl", "Jug", "Plate"]
    assert [(error.line, reason in error.reason) for error in catalogue.rejected] == [(3, True)]
    assert catalogue.rows == 4


def test_an_open_quote_before_a_long_rest_costs_its_own_line(write: Write) -> None:
    rows = 2 * ROW_CHARS_MAX // 1_000
    rest = "".join(f"Bowl number {number},{'x' * 1_000}\n" for number in range(rows))

    catalogue = read_catalogue(write(f'name,description\n"Cup,6\n{rest}'))

    assert catalogue.rejected == (RowError(2, "", "opens a quote that is never closed"),)
    assert len(catalogue.products) == rows == catalogue.rows - 1


def test_a_file_of_open_quotes_is_read_once_and_not_once_for_each_line(write: Write) -> None:
    """Each of these lines leaves a quote open, whether or not the line before did."""
    started = time.process_time()
    catalogue = read_catalogue(write("name,price\n" + 'a","""\n' * 60_000))

    assert catalogue.products == ()
    assert len(catalogue.rejected) == catalogue.rows >= 59_000
    assert time.process_time() - started < 20


@pytest.mark.parametrize("lines", [2, 60, 5_000])
def test_a_quoted_cell_may_run_over_many_lines(write: Write, lines: int) -> None:
    catalogue = read_catalogue(write('name,description\nBowl,"' + "x\n" * lines + '"\nCup,small\n'))

    assert titles(catalogue) == ["Bowl", "Cup"]


def test_a_quote_inside_an_unquoted_field_is_a_letter_like_any_other(write: Write) -> None:
    assert titles(read_catalogue(write('name,price\n19" monitor,5\nBowl,6\n'))) == ['19" monitor', "Bowl"]


@pytest.mark.parametrize("description", ["x" * 2**20, "x\n" * 2**19, "<p>" * (2**20 // 3), "<a " * (2**20 // 3)])
def test_a_description_of_a_megabyte_is_one_rejected_row(write: Write, description: str) -> None:
    started = time.process_time()
    catalogue = read_catalogue(write(f'name,description\nBowl,"{description}"\nCup,small\n'))

    assert titles(catalogue)[-1] == "Cup"
    assert catalogue.rows == 2
    assert {(error.line, error.column) for error in catalogue.rejected} <= {(2, "description")}
    assert time.process_time() - started < 5


def test_a_line_beyond_the_limit_is_one_rejected_row(write: Write) -> None:
    text = f"name,description\nBowl,{'x' * 2 * ROW_CHARS_MAX}\nCup,small\n"

    catalogue = read_catalogue(write(text))

    assert catalogue.rejected == (RowError(2, "", f"is longer than {ROW_CHARS_MAX:,} characters"),)
    assert titles(catalogue) == ["Cup"]


def test_a_second_use_of_a_sku_is_rejected_with_the_line_of_the_first(write: Write) -> None:
    numbers = [*range(3_000), 7, 2_999]
    catalogue = read_catalogue(write("sku,name\n" + "".join(f"B-{number},Bowl\n" for number in numbers)))

    assert len(catalogue.products) == 3_000
    assert catalogue.rejected == (
        RowError(3_002, "sku", "B-7 stands already in line 9"),
        RowError(3_003, "sku", "B-2999 stands already in line 3001"),
    )


def test_a_rejected_row_does_not_use_its_sku_up(write: Write) -> None:
    catalogue = read_catalogue(write("sku,name\nB-1,!!!\nB-1,Bowl\n"))

    assert titles(catalogue) == ["Bowl"]
    assert [error.line for error in catalogue.rejected] == [2]


def test_bytes_that_are_not_utf8_cost_their_own_row_in_a_file_that_is_utf8_otherwise(write: Write) -> None:
    catalogue = read_catalogue(write("name\nBöwl\n".encode() + "Küp\n".encode("latin-1") + "Jüg\n".encode()))

    assert titles(catalogue) == ["Böwl", "Jüg"]
    assert catalogue.rejected == (RowError(3, "", "holds bytes that are not UTF-8; save the file as UTF-8"),)


def test_rows_of_a_shopify_product_become_one_product(write: Write) -> None:
    catalogue = read_catalogue(write(SHOPIFY))
    tee, mug = catalogue.products

    assert (tee.sku, tee.description, tee.category, tee.brand) == ("tee", "Soft cotton", "Shirts", "Loch")
    assert (tee.price, tee.image) == ("24.90", "https://x.example/tee.jpg")
    assert tee.attributes == (("Size", "S, M, L"), ("Color", "fog, ink"))
    assert (mug.description, mug.attributes) == ("300 ml. Stoneware", ())
    assert mug.image == "https://x.example/mug.jpg"


def test_every_row_of_a_shopify_export_is_accounted_for(write: Write) -> None:
    catalogue = read_catalogue(write(SHOPIFY))

    assert (catalogue.rows, len(catalogue.products), catalogue.merged) == (8, 2, 3)
    assert [(error.line, error.column) for error in catalogue.rejected] == [(7, "Title"), (8, ""), (9, "Title")]
    assert "line 7" in catalogue.rejected[1].reason


def test_more_variants_than_an_attribute_holds_keep_the_first_ones(write: Write) -> None:
    rows = "".join(f"tee,,Size,size {number:04}\n" for number in range(1, 2_000))

    catalogue = read_catalogue(write(f"Handle,Title,Option1 Name,Option1 Value\ntee,Tee,Size,size 0000\n{rows}"))
    ((_, sizes),) = catalogue.products[0].attributes

    assert catalogue.merged == 1_999
    assert sizes.startswith("size 0000, size 0001")
    assert 480 < len(sizes) <= 500


# JSON, JSON Lines, YAML


@pytest.mark.parametrize("suffix", [".json", ".txt", ""])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_json_is_read_as_a_list_or_under_products(
    write: Write, suffix: str, indent: int | None, is_wrapped: bool
) -> None:
    rows = [{"title": "Bowl", "price": 5.5}, ["Cup"], {"title": ["Jug"]}, {"title": "Plate", "price": float("nan")}]
    text = json.dumps({"count": 4, "products": rows} if is_wrapped else rows, indent=indent)

    catalogue = read_catalogue(write(text, f"shop{suffix}"))

    assert [(p.title, p.price) for p in catalogue.products] == [("Bowl", "5.5")]
    assert [(error.line, error.column) for error in catalogue.rejected] == [(2, ""), (3, "title"), (4, "price")]


def test_numbers_in_json_stay_as_written(write: Write) -> None:
    catalogue = read_catalogue(write('[{"title": "Bowl", "price": 10.00, "sku": 1234567890123456789012345}]', "a.json"))

    assert (catalogue.products[0].price, catalogue.products[0].sku) == ("10.00", "1234567890123456789012345")


@pytest.mark.parametrize("cut", [1, 20, 60, 75])
def test_truncated_json_is_refused_whole_with_the_place(write: Write, cut: int) -> None:
    text = json.dumps([{"title": "Bowl", "description": "Blue"}, {"title": "Cup", "description": "Small"}])[:cut]

    with pytest.raises(
        CatalogueError, match=r"shop\.json .* at character \d+ \(line 1, column \d+\); nothing was read"
    ):
        read_catalogue(write(text, "shop.json"))


@pytest.mark.parametrize("bad", ["{", "nonsense", '{"title": "Cup"', "[1]", '"Cup"', "[" * 5_000])
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_line_of_json_lines_is_one_rejected_row(write: Write, bad: str, place: int) -> None:
    lines = ['{"title": "Bowl"}', '{"title": "Jug"}']
    lines.insert(place, bad)
    lines.insert(2, "")

    catalogue = read_catalogue(write("\n".join(lines), "shop.jsonl"))

    assert titles(catalogue) == ["Bowl", "Jug"]
    assert [error.line for error in catalogue.rejected] == [place + 1]


def test_json_lines_are_told_by_their_content(write: Write) -> None:
    assert titles(read_catalogue(write('{"title": "Bowl"}\n{"title": "Cup"}\n', "shop.json"))) == ["Bowl", "Cup"]


def test_a_json_array_is_told_by_its_content(write: Write) -> None:
    assert titles(read_catalogue(write('[{"title": "Bowl"},\n{"title": "Cup"}]', "shop.jsonl"))) == ["Bowl", "Cup"]
    assert titles(read_catalogue(write('{\n"products": [{"title": "Bowl"}]}', "shop.csv"))) == ["Bowl"]


YAML = """\
# our shop
- id: 00123
  name: On
  price: 10.00
  released: 2024-01-01
- name: ~
- &base
  name: Cup
  material: oak
- <<: *base
  name: Jug
  size: null
- plain text
"""


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_yaml_scalars_stay_as_written_and_rows_have_their_line(write: Write, is_wrapped: bool) -> None:
    catalogue = read_catalogue(write(f"products:\n{YAML}" if is_wrapped else YAML, "shop.yaml"))
    first, cup, jug = catalogue.products

    assert (first.sku, first.title, first.price) == ("00123", "On", "10.00")
    assert (cup.attributes, jug.title, jug.attributes) == ((("Material", "oak"),), "Jug", (("Material", "oak"),))
    assert [error.line for error in catalogue.rejected] == [6 + is_wrapped, 13 + is_wrapped]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- name: [Bowl\n- x", "not valid YAML"),
        ("- name: Bowl\n  tags: " + "[" * 60 + "]" * 60, "more than 50 levels"),
        ("- name: Bowl\n  tags: " + "[" * 200_000 + "]" * 200_000, "more than 50 levels"),
        ("- &a {name: Bowl}\n" + "- *a\n" * 1_001, "more than 1,000 aliases"),
        ("- !!python/object/apply:os.system [ls]\n", "uses the tag"),
        ("name: Bowl", "holds no products"),
        ("--- a\n--- b\n", "not valid YAML"),
    ],
)
def test_yaml_that_is_broken_or_hostile_is_refused(write: Write, text: str, reason: str) -> None:
    with pytest.raises(CatalogueError, match=reason):
        read_catalogue(write(text, "shop.yaml"))


def test_yaml_within_the_limits_is_read(write: Write) -> None:
    text = "- name: Bowl\n  tags: " + "[" * 48 + "]" * 48 + "\n- &a {name: Cup}\n" + "- *a\n" * 1_000

    catalogue = read_catalogue(write(text, "shop.yaml"))

    assert titles(catalogue) == ["Bowl", "Cup"]
    assert len(catalogue.rejected) == 1_000


# The file as a whole


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("shop.csv", b"", "is empty"),
        ("shop.json", b" \n ", "is empty"),
        ("shop.csv", b"\xef\xbb\xbf", "is empty"),
        ("shop.csv", "name,price\nBowl,5\n".encode("utf-16"), "UTF-16"),
        ("shop.csv", "name,price\nBowl,5\n".encode("utf-16-le"), "UTF-16"),
        ("shop.csv", "name,price\nBöwl,5\n".encode("latin-1"), r"line 2\), perhaps Latin-1"),
        ("shop.json", '[{"title": "Bö"}]'.encode("latin-1"), "perhaps Latin-1"),
        ("shop.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "is binary"),
        ("shop.csv", gzip.compress(b"name\nBowl\n", mtime=0), "is compressed"),
        ("shop.csv", b"PK\x03\x04rest", "Excel"),
        ("shop.xml", b"<products/>", "is XML or HTML"),
        ("shop.csv", b"sku,price\nB-1,5\n", "has no title column; it has: sku, price"),
        ("shop.json", b'[{"sku": "B-1"}, {"price": 5}]', "has no title column; it has: sku, price"),
        ("shop.yaml", b"- sku: B-1\n", "has no title column; it has: sku"),
        ("shop.json", b"5", "holds no products"),
        ("shop.json", b"[" * 100_000, "nested too deeply"),
        ("shop.csv", b'"name,price\nBowl,5\n', "has no readable header line"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name_and_the_reason(
    write: Write, name: str, content: bytes, reason: str
) -> None:
    path = write(content, name)

    for read in (read_catalogue, iter_rows):
        with pytest.raises(CatalogueError, match=reason) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="does not exist"):
        read_catalogue(tmp_path / "none.csv")
    with pytest.raises(CatalogueError, match="is a folder"):
        read_catalogue(tmp_path)


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_a_file_beyond_the_size_that_is_read_whole_is_refused(write: Write, kind: str) -> None:
    path = write('[{"title": "Bowl"}]' + " " * 70_000, f"shop.{kind}")
    os.truncate(path, WHOLE_BYTES_MAX[kind] + 1)

    with pytest.raises(CatalogueError, match="use CSV or JSON Lines"):
        read_catalogue(path)


def test_a_header_without_rows_is_a_catalogue_without_products(write: Write) -> None:
    assert read_catalogue(write("name,price\n")) == Catalogue((), (), 0)


def test_a_mapping_chooses_the_columns(write: Write) -> None:
    path = write("Artikel,Glasur\nBowl,matt\n")

    (product,) = read_catalogue(path, {"artikel": "title", "Glasur": "attribute"}).products

    assert (product.title, product.attributes) == ("Bowl", (("Glasur", "matt"),))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"Artikl": "title"}, "no column 'Artikl'.*it has: Artikel"),
        ({"Artikel": "name"}, "it can be one of sku, title"),
    ],
)
def test_a_mapping_that_names_nothing_is_refused(write: Write, columns: dict[str, str], reason: str) -> None:
    with pytest.raises(CatalogueError, match=reason):
        read_catalogue(write("Artikel\nBowl\n"), columns)


# Every row is accounted for

CELLS = st.text(max_size=30) | st.sampled_from(["", "Bowl", "tee", '"', 'a "b', "x\ny", "-1", "\r", "5"])


@settings(max_examples=150, deadline=None)
@given(
    header=st.lists(
        st.sampled_from(["handle", "sku", "price", "size", "note", "option1 name", "option1 value"]), unique=True
    ),
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=8), max_size=12),
    separator=st.sampled_from(",;\t"),
)
def test_every_row_that_a_writer_wrote_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, header: list[str], rows: list[list[str]], separator: str
) -> None:
    """Against the rows that were written. "sep=" makes sure of the separator, which a handful of rows may not tell."""
    path = tmp_path_factory.mktemp("rows") / "shop.csv"
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as stream:
        stream.write(f"sep={separator}\n")
        csv.writer(stream, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([["title", *header], *rows])
    if any("\x00" in cell for row in rows for cell in row):
        with pytest.raises(CatalogueError, match="is binary"):
            read_catalogue(path)
        return
    catalogue = read_catalogue(path)

    assert catalogue.rows == len(rows)
    assert is_accounted_for(catalogue)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from('ab,;\t"\n\r \u00e9'), max_size=200))
def test_any_text_below_a_header_is_accounted_for_and_no_line_is_lost(
    tmp_path_factory: pytest.TempPathFactory, body: str
) -> None:
    path = tmp_path_factory.mktemp("rows") / "shop.csv"
    path.write_bytes(f"title,note\n{body}\nlast line,is read\n".encode())

    catalogue = read_catalogue(path)

    assert is_accounted_for(catalogue)
    assert len(list(iter_rows(path))) == len(catalogue.products) + len(catalogue.rejected)
    assert any(error.line > 1 for error in catalogue.rejected) or "last line" in titles(catalogue)


@pytest.mark.parametrize(
    ("file", "rows"), [("retail-demo-store/products.yaml", 2_465), ("dummyjson/products.json", 194)]
)
def test_every_row_of_a_real_catalogue_becomes_a_product(file: str, rows: int) -> None:
    path = SHARED_DATA / "catalogue" / file
    if not path.exists():
        pytest.skip(f"real catalogue not here: {file}; set ADLOOM_SHARED_DATA to the folder that holds catalogue/")

    catalogue = read_catalogue(path)

    assert (catalogue.rows, len(catalogue.products), catalogue.rejected) == (rows, rows, ())
    assert len({product.sku for product in catalogue.products}) == rows
    assert all(product.description and product.category and product.price for product in catalogue.products)


def test_streaming_takes_little_memory(write: Write) -> None:
    """20,000 rows of 500 characters are 10 MB of text; what is held is a hash and a line for each."""
    path = write("sku,name,description\n" + "".join(f"B-{n},Bowl,{'x' * 480}\n" for n in range(20_000)))
    tracemalloc.start()
    count = sum(isinstance(row, Product) for row in iter_rows(path))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 20_000
    assert peak_bytes < 4_000_000
