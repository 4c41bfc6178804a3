"""One row becomes a product, or a ProductError that names the column."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.plain_text import plain_text
from model.product import DESCRIPTION_CHARS_MAX, TITLE_CHARS_MAX, Product, ProductError, product_from_mapping


def rejection(**row: Any) -> ProductError:
    with pytest.raises(ProductError) as caught:
        product_from_mapping(row)
    return caught.value


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>Soft cotton</p><p>Machine wash</p>", "Soft cotton. Machine wash"),
        ("<ul><li>100 % cotton</li><li>Size M.</li></ul>", "100 % cotton. Size M."),
        ("<h2>Features:</h2><p>a lid</p>", "Features: a lid"),
        ("A mug<br>for slow mornings<br/><br>Holds 300 ml", "A mug for slow mornings. Holds 300 ml"),
        ("<td>Material</td><td>Oak</td>", "Material Oak"),
        ("<b>bold</b>ness", "boldness"),
        ("<script>if (a < b) alert('</p>')</script>Salt &amp; pepper&nbsp;mill", "Salt & pepper mill"),
        ("<STYLE>p { color: red }</STYLE >Oak", "Oak"),
        ("Oak<!-- <p>old</p> -->, oiled", "Oak, oiled"),
        ("<![CDATA[<p>Oak</p>]]>", "Oak"),
        ("&lt;p&gt;Oak&lt;/p&gt;&lt;p&gt;Oiled&lt;/p&gt;", "Oak. Oiled"),
        ('<img alt="a > b">Oak', "Oak"),
        ('<p>Oak</p><a href="https://cut.o', "Oak"),
        ("Fits screens <max. 15 inch", "Fits screens <max. 15 inch"),
        ("5 < 6 and a<b, I <3 it", "5 < 6 and a<b, I <3 it"),
        ("Oak\n\nOiled\nby hand", "Oak. Oiled by hand"),
        ("陶器の碗<p>青い", "陶器の碗。 青い"),
        ("cafe\u0301\u0000 \u202etxet\u202c\U000e0041 \ud800x", "café txet x"),
        ("&#" + "9" * 5000 + ";x", "x"),
    ],
)
def test_html_and_control_characters_become_plain_text(source: str, text: str) -> None:
    assert plain_text(source) == text


@pytest.mark.parametrize(
    "piece", ["<a ", "<!", "<!--", "</", "<a x='", "<script>", "<p>", "&#", "\n \n", "\u0301\u0316"]
)
def test_hostile_text_of_half_a_megabyte_takes_seconds_at_most(piece: str) -> None:
    """Linear steps take well under a second on a quiet machine; a quadratic one takes minutes."""
    text = piece * (500_000 // len(piece))
    started = time.process_time()
    plain_text(text)

    assert time.process_time() - started < 5


@given(st.text())
def test_plain_text_is_one_printable_line_that_utf8_can_hold(text: str) -> None:
    plain = plain_text(text)

    assert plain == " ".join(plain.split())
    assert "\x00" not in plain.encode("utf-8").decode("utf-8")


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        ({"Product_Name": "Bowl"}, "title", "Bowl"),
        ({"productName": "Bowl"}, "title", "Bowl"),
        ({" TITLE ": "Bowl"}, "title", "Bowl"),
        ({"name": "Bowl", "title": "Blue bowl"}, "title", "Blue bowl"),
        ({"name": "Bowl", "title": " "}, "title", "Bowl"),
        ({"title": 501}, "title", "501"),
        ({"title": "Bowl", "Body (HTML)": "<p>Blue</p>"}, "description", "Blue"),
        ({"title": "Bowl", "product_type": "kitchen"}, "category", "kitchen"),
        ({"title": "Bowl", "categories": ["home", "kitchen"]}, "category", "home, kitchen"),
        ({"title": "Bowl", "Vendor": "Loch"}, "brand", "Loch"),
        ({"title": "Bowl", "id": 7, "sku": "B-7"}, "sku", "B-7"),
        ({"title": "Bowl", "id": 7, "sku": None}, "sku", "7"),
        ({"title": "Bowl", "price": "5", "currency": "EUR"}, "price", "5 EUR"),
        ({"title": "Bowl", "price": "€5", "currency": "EUR"}, "price", "€5"),
        ({"title": "Bowl", "images": ["a.jpg", "b.jpg"]}, "image", "a.jpg"),
        ({"title": "Bowl", "image": {"src": "a.jpg"}}, "image", "a.jpg"),
        (
            {"title": "Bowl", "Images": "https://x.example/a.jpg, https://x.example/b.jpg"},
            "image",
            "https://x.example/a.jpg",
        ),
        ({"title": "كوب أزرق"}, "title", "كوب أزرق"),
        ({"title": "青い陶器の碗"}, "title", "青い陶器の碗"),
    ],
)
def test_usual_column_names_feed_their_field(row: dict[str, Any], field: str, value: str) -> None:
    assert getattr(product_from_mapping(row), field) == value


def test_facts_become_attributes_and_shop_internals_do_not() -> None:
    row = {
        "title": "Bowl",
        "Material": "stoneware",
        "weight_g": 260,
        "Height (cm)": "7.5 cm",
        "colors": ["fog", "ink"],
        "Fabric (product.metafields.shopify.fabric)": "n/a",
        "current_stock": 15,
        "rating": 4.5,
        "reviews": [{"comment": "waterproof!"}],
        "dimensions": {"width": 3},
        "promoted": True,
    }

    attributes = product_from_mapping(row).attributes

    assert attributes == (("Material", "stoneware"), ("Weight", "260 g"), ("Height", "7.5 cm"), ("Colors", "fog, ink"))


def test_given_attributes_are_taken_as_they_stand() -> None:
    from_object = product_from_mapping({"title": "Bowl", "attributes": {"Glaze": "matt", "Empty": ""}})
    from_pairs = product_from_mapping({"title": "Bowl", "attributes": [["Glaze", "matt"]]})

    assert from_object.attributes == from_pairs.attributes == (("Glaze", "matt"),)


def test_a_mapping_goes_before_the_usual_meaning_of_a_name() -> None:
    row = {"Artikel": "Bowl", "title": "row 7", "Glasur": "matt"}

    product = product_from_mapping(row, {"artikel": "title", "GLASUR": "attribute"})

    assert (product.title, product.attributes) == ("Bowl", (("Glasur", "matt"),))


def test_a_row_without_sku_gets_one_from_its_content() -> None:
    first, again, other = (product_from_mapping({"title": title}) for title in ("Bowl", "Bowl", "Cup"))

    assert first.sku == again.sku != other.sku
    assert first.sku == f"row-{Product(sku='', title='Bowl').digest()[:12]}"


@pytest.mark.parametrize(
    ("field", "chars_max"),
    [("title", TITLE_CHARS_MAX), ("description", DESCRIPTION_CHARS_MAX), ("sku", 255), ("image", 2_000), ("size", 500)],
)
def test_a_text_may_have_its_limit_and_not_one_character_more(field: str, chars_max: int) -> None:
    row = {"title": "Bowl", field: "x" * chars_max}
    product_from_mapping(row)

    error = rejection(**{**row, field: "x" * (chars_max + 1)})

    assert error.column == field
    assert error.reason == f"has {chars_max + 1:,} characters; at most {chars_max:,} are allowed"


def test_the_limit_of_a_description_counts_after_html_is_removed() -> None:
    words = "x" * DESCRIPTION_CHARS_MAX

    assert product_from_mapping({"title": "Bowl", "description": f"<p>{words}</p>"}).description == words
    assert "20,001" in rejection(title="Bowl", description=f"<p>{words}y</p>").reason


def test_pictures_pasted_into_the_html_do_not_count() -> None:
    html = f'<p>Blue</p><img src="data:image/png;base64,{"A" * 2_000_000}">'

    assert product_from_mapping({"title": "Bowl", "description": html}).description == "Blue"


@pytest.mark.parametrize(
    "price", ["24.90", "24,90 EUR", "€24", "1.299,00 €", "US$ 1,299.00", "CHF 12.-", "1 299 kr", "Rs. 5", 9.5, 0]
)
def test_a_sane_price_stays_as_written(price: str | float) -> None:
    assert product_from_mapping({"title": "Bowl", "price": price}).price == str(price)


@pytest.mark.parametrize(
    "price", ["-1", "€ -5.00", "(5.00)", "5.00-", "free", "n/a", "1e-05", "12;50", "1.2.3.4", float("nan"), -1]
)
def test_a_price_that_is_none_is_rejected(price: str | float) -> None:
    assert rejection(title="Bowl", price=price).column == "price"


@pytest.mark.parametrize(
    "title",
    [None, "", "  ", "<b></b>", "<script>alert(1)</script>", "🎉🎉", "!?", [], ["Bowl"], {}, True, float("nan")],
)
def test_a_title_that_names_nothing_is_rejected(title: Any) -> None:
    assert rejection(title=title).column == "title"


@pytest.mark.parametrize("attributes", [5, [1], [["a"]], {f"n{i}": "x" for i in range(51)}, {"a": ["b"]}])
def test_malformed_attributes_are_rejected(attributes: Any) -> None:
    assert rejection(title="Bowl", attributes=attributes).column.startswith("attributes")


CELLS = st.text(st.characters(exclude_characters="&<"))
"""No markup: "&amp;amp;" becomes "&amp;", which read again becomes "&"."""
NAMES = st.text(max_size=12) | st.sampled_from(["title", "price", "sku", "size", "attributes"])


@given(st.dictionaries(NAMES, CELLS | st.integers() | st.floats() | st.none() | st.lists(CELLS)))
def test_any_row_is_a_product_or_a_product_error_and_a_product_reads_back_as_itself(row: dict[str, Any]) -> None:
    try:
        product = product_from_mapping({"name": "Bowl", **row})
    except ProductError:
        return

    assert len(product.digest()) == 64
    assert product_from_mapping(asdict(product)) == product
