"""The sample catalogue that a new user runs: what its rows promise, and that our own reader takes all of them."""

import csv
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

import model
from model.catalogue import read_catalogue

SAMPLE = Path(model.__file__).parent / "data" / "catalogue.csv"
COLUMNS = "sku title description category brand price image material colour size".split()
SHOWN_BY_DEMO = 12


@pytest.fixture(scope="module")
def rows():
    """The file as the csv module reads it, by our own reader untouched."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture(scope="module")
def catalogue():
    return read_catalogue(SAMPLE)


def words(text):
    return re.findall(r"\w+", re.sub(r"<[^>]+>", " ", text).lower())


def top(row):
    return row["category"].split(" > ")[0]


def shared_runs(descriptions, length):
    """Runs of `length` words that stand in more than one description."""
    seen = Counter()
    for description in descriptions:
        spoken = words(description)
        seen.update({tuple(spoken[start : start + length]) for start in range(len(spoken) - length + 1)})
    return [" ".join(run) for run, descriptions_with_it in seen.items() if descriptions_with_it > 1]


def test_there_are_enough_products_in_enough_categories(rows):
    categories = Counter(top(row) for row in rows)

    assert len(rows) >= 132
    assert len(categories) >= 14
    assert min(categories.values()) >= 8


def test_the_columns_are_those_a_merchant_would_export(rows):
    assert list(rows[0]) == COLUMNS
    assert [row["sku"] for row in rows if None in row or None in row.values()] == []


def test_the_rows_that_the_demo_shows_are_of_different_categories(rows):
    shown = [top(row) for row in rows[:SHOWN_BY_DEMO]]

    assert len(set(shown)) == SHOWN_BY_DEMO
    assert [row["sku"] for row in rows[:SHOWN_BY_DEMO] if len(words(row["description"])) < 30] == []


def test_every_sku_is_its_own(rows):
    assert [sku for sku, count in Counter(row["sku"] for row in rows).items() if count > 1] == []
    assert [row["sku"] for row in rows if not re.fullmatch(r"[A-Z]{3}-\d{4}", row["sku"])] == []


def test_every_product_has_a_title_of_its_own_a_category_and_a_price(rows):
    assert len({row["title"].casefold().strip() for row in rows} - {""}) == len(rows)
    assert [row["sku"] for row in rows if not row["category"].strip()] == []
    assert [row["sku"] for row in rows if not re.fullmatch(r"\d+\.\d\d EUR", row["price"])] == []


def test_no_two_descriptions_share_eight_words_in_a_row(rows):
    assert shared_runs([row["description"] for row in rows], 8) == []


def test_eight_shared_words_would_be_found_and_seven_would_not():
    pair = ["One two three four five six seven eight.", "And one, two, three, four, five, six, seven: nine."]

    assert shared_runs(pair, 8) == []
    assert shared_runs(pair, 7) == ["one two three four five six seven"]


def test_descriptions_run_from_a_few_words_to_long_ones(rows):
    lengths = [len(words(row["description"])) for row in rows]

    assert 1 <= min(lengths) <= 5
    assert 80 <= max(lengths) <= 110
    assert sum(length < 12 for length in lengths) >= 8


def test_the_difficult_kinds_of_row_are_there(rows):
    descriptions = [row["description"] for row in rows]
    text = "\n".join(itertools.chain.from_iterable(row.values() for row in rows))

    assert sum("<ul><li>" in description for description in descriptions) >= 3
    assert sum('"' in description for description in descriptions) >= 3  # inches
    assert sum(";" in description for description in descriptions) >= 10
    assert sum(bool(re.search(r"\bnot\b", description, re.IGNORECASE)) for description in descriptions) >= 40
    traps = ("not waterproof", "mains only", "under study", "Crème", "Cajón", "«chalk»", "±0.3 °C")
    assert [trap for trap in traps if trap not in text] == []


def test_our_reader_takes_every_row(rows, catalogue):
    assert list(catalogue.rejected) == []
    assert catalogue.rows == len(catalogue.products) == len(rows)
    assert [product.sku for product in catalogue.products] == [row["sku"] for row in rows]


def test_our_reader_keeps_what_the_rows_say(rows, catalogue):
    for row, product in zip(rows, catalogue.products, strict=True):
        known = product.facts()
        assert [word for column in COLUMNS[1:] for word in words(row[column]) if word not in words(known)] == [], row[
            "sku"
        ]
        assert not re.search(r"<\w", known), row["sku"]
