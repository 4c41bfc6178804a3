"""Rules that a readable row may still break, the figures over many, and the page that shows them."""

from __future__ import annotations

import json
import math
import re
from xml.etree import ElementTree as ET

import pytest

from model.product import Product, product_from_dict
from pipelines.ingest.intake import Intake
from pipelines.ingest.quality import (
    KINDS_MAX,
    OTHER,
    Figures,
    amount,
    broken_rules,
    figures_of,
    reason_kind,
    schema,
)
from pipelines.ingest.report import page, quality_report
from pipelines.ingest.verdict import LastKept, catalogue_verdict, filled_columns, row_verdict
from pipelines.step import EXIT_REFUSED
from pipelines.steps import validate
from tests.pipelines.ingest_parts import as_csv, catalogue


@pytest.fixture(scope="module")
def rules():
    return schema()


def lamp(**changed):
    return Product(**({"sku": "A", "title": "Oak lamp", "price": "10 EUR"} | changed))


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"title": "N/A"}, "title", "is a placeholder"),
        ({"title": "undefined"}, "title", "is a placeholder"),
        ({"title": "#REF! lamp"}, "title", "error of a spreadsheet"),
        ({"description": "Costs #N/A"}, "description", "error of a spreadsheet"),
        ({"title": "L\ufffdmp"}, "title", "letters that were lost"),
        ({"title": "LÃ¤mp"}, "title", "decoded twice"),
        ({"title": "Lampâ€™s"}, "title", "decoded twice"),
        ({"price": "0.00 EUR"}, "price", "is zero"),
        ({"image": "javascript:alert(1)"}, "image", "is no http address and no path"),
        ({"image": "https://x.example/a b.jpg"}, "image", "is no http address and no path"),
    ],
)
def test_a_broken_rule_names_field_and_reason(rules, changed, field, reason):
    found = broken_rules(rules, [lamp(), lamp(**changed), lamp()])

    assert list(found) == [1]
    assert found[1][0] == field
    assert reason in found[1][1]


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "None of your business lamp"},
        {"title": "Test tube"},
        {"title": "Château São Äpfel"},
        {"title": "Lamp #3"},
        {"price": ""},
        {"price": "0.01 EUR"},
        {"price": "0,90 €"},
        {"image": ""},
        {"image": "pictures/lamp 1.jpg"},
        {"image": "https://x.example/a.jpg?b=c"},
    ],
)
def test_what_only_looks_like_it_breaks_no_rule(rules, changed):
    assert broken_rules(rules, [lamp(**changed)]) == {}


def test_a_product_that_breaks_two_rules_is_rejected_once(rules):
    assert len(broken_rules(rules, [lamp(title="N/A", price="0")])) == 1


@pytest.mark.parametrize(
    ("price", "number"),
    [
        ("24.90", 24.9),
        ("24,90 EUR", 24.9),
        ("1.299,00 EUR", 1299),
        ("$1,299.00", 1299),
        ("1.299", 1299),
        ("1 299 kr", 1299),
        ("CHF 1'299.50", 1299.5),
        ("5.- EUR", 5),
        ("12.9900", 12.99),
        ("1,299,000.5", 1299000.5),
    ],
)
def test_the_amount_of_a_price_is_read_in_any_notation(price, number):
    assert amount(price) == number


def test_a_price_without_digits_has_no_amount():
    assert math.isnan(amount("free"))


@pytest.mark.parametrize(
    ("column", "reason", "kind"),
    [
        ("price", "is not a price: cheap; write it like 24.90", "price: is not a price"),
        ("", "has 3 fields where the header has 12", "has N fields where the header has N"),
        ("sku", "A-1, B stands already in line 7", "sku: stands already in another row"),
        ("title", "has 1,234 characters; at most 300 are allowed", "title: has N characters"),
    ],
)
def test_reasons_of_the_same_kind_are_counted_together(column, reason, kind):
    assert reason_kind(column, reason) == kind


def test_figures_of_parts_add_up_to_those_of_the_whole():
    products = [lamp(sku=f"A-{n}", title="x" * n, price=f"{n} EUR", brand="b" * (n % 3)) for n in range(1, 90)]
    sum_of_parts = Figures()
    for part in (products[:30], products[30:31], [], products[31:]):
        sum_of_parts.add(figures_of(part))

    assert sum_of_parts.as_dict() == figures_of(products).as_dict()
    sum_of_parts.subtract(products[50])
    assert sum_of_parts.as_dict() == figures_of(products[:50] + products[51:]).as_dict()


def test_categories_without_end_take_bounded_memory():
    figures = Figures()
    figures.add(figures_of([lamp(category=f"kind {n}") for n in range(KINDS_MAX + 500)]))

    assert len(figures.categories) == KINDS_MAX + 1
    assert figures.categories[OTHER] == 500


def test_a_sku_that_was_made_up_does_not_count_as_filled():
    figures = figures_of([lamp(sku="row-0123456789ab"), lamp()])

    assert (figures.filled["sku"], figures.filled["title"]) == (1, 2)


@pytest.mark.parametrize(
    ("rows", "rejected", "is_increment", "is_good"),
    [(10, 2, False, True), (10, 3, False, False), (49, 49, True, True), (50, 11, True, False), (0, 0, False, True)],
)
def test_the_share_of_bad_rows_has_a_limit(rows, rejected, is_increment, is_good):
    assert (row_verdict(rows, rejected, is_increment=is_increment) == "") == is_good


def test_a_last_catalogue_comes_back_from_its_json():
    figures = figures_of([lamp(attributes=(("Colour", "fog"),))])
    kept = json.loads(json.dumps({"accepted": 1, "filled": filled_columns(figures)}))
    last = LastKept.from_dict(kept)

    assert last.filled == {"attribute Colour": 1, "price": 1, "sku": 1, "title": 1}
    assert catalogue_verdict(figures, last) == ""
    assert "attribute Colour is empty" in catalogue_verdict(figures_of([lamp()]), last)


def report_of(products, **changed):
    counts = {"rows": len(products), "accepted": len(products), "rejected": 0, "merged": 0, "digest": "d" * 64}
    return quality_report("shop", Intake(**(counts | {"figures": figures_of(products)} | changed)), why="<b>bad</b>")


def test_the_page_is_well_formed_and_escapes_what_a_shop_wrote():
    text = page(report_of([lamp(category="<script>alert(1)</script>", attributes=(('"><img', "x"),))]))
    ET.fromstring(re.sub(r'<meta charset="utf-8">', "", text).removeprefix("<!doctype html>"))

    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;b&gt;bad" in text


def test_the_report_of_a_catalogue_without_products_can_be_drawn():
    assert "<p>None.</p>" in page(report_of([]))


def test_the_bins_hold_every_product():
    products = [lamp(sku=str(n), title="x" * n, description="y" * (100 * n)) for n in range(1, 100)]
    report = report_of(products)

    assert sum(report["title_chars"].values()) == sum(report["description_chars"].values()) == 99
    assert report["title_chars"]["10"] == 10
    assert report["amounts"] == {**dict.fromkeys(report["amounts"], 0), "10": 99}


@pytest.mark.parametrize(("bad", "status"), [(2, 0), (3, EXIT_REFUSED)])
def test_validate_prints_the_report_and_keeps_nothing(tmp_path, monkeypatch, capsys, bad, status):
    rows = catalogue(10)
    for row in rows[:bad]:
        row["title"] = "untitled"
    (tmp_path / "shop.csv").write_text(as_csv(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = validate.main(["shop.csv", "--report", "quality.html", "--workers", "1"])
    said = capsys.readouterr()

    assert found == status
    answer = json.loads(said.out.splitlines()[-1])
    assert (answer["outcome"], answer["rejected"]) == ("refused" if status else "good", bad)
    assert "title: is a placeholder and no name" in said.out
    assert bool(said.err) == bool(status)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quality.html", "shop.csv"]


def test_validate_takes_a_mapping_of_columns(tmp_path, capsys):
    (tmp_path / "shop.csv").write_text("Artikel,Preis\nLampe,10 EUR\n", encoding="utf-8")
    arguments = [str(tmp_path / "shop.csv"), "--column", "Artikel=title", "--column", "Preis=price"]

    assert validate.main(arguments) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["accepted"] == 1
    with pytest.raises(SystemExit, match="2"):
        validate.main([str(tmp_path / "shop.csv"), "--column", "title"])


def test_a_snapshot_line_is_a_product_again():
    product = lamp(attributes=(("Colour", 'fog "grey"\n'),), title="Über\u2028\x7f\\")

    assert product_from_dict(json.loads(product.canonical())) == product
    assert product.canonical() == json.dumps(product.as_dict(), sort_keys=True, ensure_ascii=False)
