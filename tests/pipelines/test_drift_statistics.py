"""Distances, limits and what is measured of one record: the arithmetic of drift."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipelines.drift.ad_record import (
    COLUMNS,
    NONE,
    OTHER,
    BadRecordError,
    Measurer,
    ProductSeen,
    YardstickMaker,
    price_log10,
    product_of,
    record_of,
)
from pipelines.drift.calibration import calibrate, episodes_a_month
from pipelines.drift.columns import Column, Table, Words, WordsMaker, spread_blocks
from pipelines.drift.distance import Resampler, distance, jensen_shannon, wasserstein
from pipelines.drift.rules import DriftRules
from pipelines.drift.traffic import Traffic, records
from pipelines.drift.trigrams import digits_and_trigrams
from tests.pipelines.drift_log import HOUR, START

NUMBER = Column("length", "input", "", 0.0)
WORD = Column("kind", "input", "")
RULES = DriftRules(draws=400, sizes=(200, 1000), shift_sizes=(200, 1000))


def table(seed, rows, shift=0.0, news=0.0):
    random = np.random.default_rng(seed)
    codes = np.where(random.random(rows) < news, 3, random.integers(0, 3, rows)).astype(np.int32)
    numbers = {"length": (random.normal(size=rows) + shift).astype(np.float32)}
    return Table(numbers, {"kind": Words(codes, ("a", "b", "c", "d"))}, rows)


@pytest.fixture(scope="module")
def calibration():
    return calibrate({"input": table(1, 3000), "output": Table({}, {}, 0)}, (NUMBER, WORD), RULES)


def test_the_distance_of_numbers_is_the_shift_in_standard_deviations():
    values = np.arange(1000, dtype=np.float32)
    spread = float(np.std(values))

    assert wasserstein(values, values) == 0
    assert wasserstein(values, values + np.float32(spread)) == pytest.approx(1, abs=1e-4)


def test_a_row_that_says_nothing_counts_on_neither_side():
    values = np.array([1, 2, 3, 4], np.float32)

    assert wasserstein(np.append(values, np.float32(math.nan)), values) == 0
    assert wasserstein(values, np.append(values, np.float32(math.nan))) == 0


def test_the_distance_of_words_is_0_for_the_same_and_root_ln_2_for_no_word_in_common():
    first = Words(np.array([0, 1, 1], np.int32), ("a", "b"))
    same = Words(np.array([1, 0, 0], np.int32), ("b", "a"))
    other = Words(np.array([0], np.int32), ("c",))

    assert jensen_shannon(first, same) == 0
    assert jensen_shannon(first, other) == pytest.approx(math.sqrt(math.log(2)))


@pytest.mark.parametrize("column", [NUMBER, WORD])
def test_the_bootstraps_distance_is_the_verdicts(column):
    whole = table(3, 800)
    first, second = np.arange(800), np.arange(0, 800, 3)
    found = Resampler(whole, [column], 16)._ranked[0].between(first, second)

    assert found == pytest.approx(distance(column, whole, whole.taken(second)), abs=1e-6)


def test_a_window_is_drawn_in_blocks_of_neighbours():
    rows = Resampler(table(3, 800), [NUMBER], 16).draw(100, np.random.default_rng(5))

    assert len(rows) == 100
    assert np.count_nonzero(np.diff(rows) != 1) <= 6


@pytest.mark.parametrize("rows", [200, 400, 1000, 4000])
def test_of_300_unchanged_windows_hardly_any_is_taken_for_drift(calibration, rows):
    """One in a hundred is promised; seven of three hundred are beyond three standard errors of that."""
    reference, random = table(1, 3000), np.random.default_rng(11)
    alarms = 0
    for _ in range(300):
        window = table(int(random.integers(1 << 30)), rows)
        alarms += any(
            distance(column, reference, window) >= max(limits.floor, limits.limit(rows, RULES.sizes))
            for column in (NUMBER, WORD)
            if (limits := calibration.columns[column.name])
        )

    assert alarms <= 8


@pytest.mark.parametrize(("times", "low", "high"), [(0.5, 0.0, 0.5), (1.0, 0.75, 1.0), (1.5, 0.97, 1.0)])
def test_the_smallest_shift_is_found_nine_times_in_ten_and_half_of_it_is_not(calibration, times, low, high):
    limits, reference = calibration.columns["length"], table(1, 3000)
    shift = times * limits.smallest_shift[0]
    found = [
        distance(NUMBER, reference, table(100 + seed, 200, shift=shift)) >= max(limits.floor, limits.limits[0])
        for seed in range(100)
    ]

    assert low <= np.mean(found) <= high


def test_more_rows_see_smaller_shifts(calibration):
    for limits in calibration.columns.values():
        assert limits.limits[0] > limits.limits[1]
        assert limits.smallest_shift[0] >= limits.smallest_shift[1]
    assert calibration.columns["length"].smallest_shift[0] > calibration.columns["length"].smallest_shift[1]


def test_limits_between_two_sizes_lie_between_theirs_and_the_last_one_holds_beyond(calibration):
    limits = calibration.columns["length"]

    assert limits.limits[1] < limits.limit(500, RULES.sizes) < limits.limits[0]
    assert limits.limit(10**6, RULES.sizes) == limits.limits[1]


def test_the_same_rows_give_the_same_limits():
    sides = {"input": table(1, 1000), "output": Table({}, {}, 0)}
    rules = DriftRules(draws=200, sizes=(200,), shift_sizes=(200,))

    assert calibrate(sides, (NUMBER, WORD), rules) == calibrate(sides, (NUMBER, WORD), rules)


def test_a_column_that_never_changed_has_its_floor_in_its_own_unit():
    """Otherwise the first ad with a finding would be a hundred standard deviations away."""
    still = Table({"length": np.ones(1000, np.float32)}, {}, 1000)
    column = Column("length", "input", "", 0.02)
    limits = calibrate({"input": still, "output": Table({}, {}, 0)}, (column,), RULES).columns["length"]

    assert limits.floor * limits.norm == pytest.approx(0.02)


def test_false_alarms_a_month_follow_from_two_of_three():
    """By simulation: a million hours in which each window errs by itself once in twenty."""
    random = np.random.default_rng(2)
    odd = random.random(1_000_000) < 0.05
    alarm = np.convolve(odd, [1, 1, 1])[2:-2] >= 2
    begins = np.count_nonzero(alarm[1:] & ~alarm[:-1])

    assert begins * 720 / 1_000_000 == pytest.approx(episodes_a_month(0.05), rel=0.03)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("24.90 EUR", 24.9), ("24,90", 24.9), ("1,299.00 USD", 1299), ("1.299,00 EUR", 1299), ("1,299", 1299),
        ("€5", 5), ("1 299,50", 1299.5), ("free", None), ("", None), ("0.00", None),
    ],
)  # fmt: skip
def test_a_price_is_its_first_amount_however_it_is_written(text, amount):
    found = price_log10(text)

    assert math.isnan(found) if amount is None else found == pytest.approx(math.log10(amount))


def measured(*products, yardstick=None):
    maker = YardstickMaker()
    for product in yardstick or products:
        maker.add(product)
    measurer = Measurer(maker.made())
    for product in products:
        measurer.add_product(product)
    return measurer.table()["input"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The bowl is made for the table and it is safe in the oven.", "english"),
        ("Die Schale ist aus Ton und für den Ofen nicht geeignet.", "german"),
        ("Чаша из керамики для кухни и сада", "cyrillic"),
        ("B-204 XL", NONE),
    ],
)
def test_the_language_is_told_by_function_words_or_script(text, language):
    found = measured(ProductSeen(title="", description=text)).words["language"]

    assert found.labels[found.codes[0]] == language


def test_words_that_the_yardstick_does_not_have_are_unknown():
    known = ProductSeen(title="Blue bowl", category="Bowls")
    found = measured(ProductSeen(title="Blue zorg", category="Hats"), known, yardstick=[known])
    category = found.words["category"]

    assert found.numbers["unknown_word_share"].tolist() == [0.5, 0]
    assert [category.labels[code] for code in category.codes] == [OTHER, "Bowls"]


def test_a_text_is_as_far_from_the_yardstick_alone_as_among_others():
    texts = ["a bowl of blue clay", "x", "Schale, 20 cm", "", "the same words the same words"]
    alone = [digits_and_trigrams([text]) for text in texts]
    digits, vectors = digits_and_trigrams(texts)

    assert digits.tolist() == [0, 0, 2, 0, 0] == [int(one[0][0]) for one in alone]
    assert np.allclose(vectors, np.concatenate([one[1] for one in alone]))


def test_another_subject_is_further_away_than_other_words_of_the_same():
    bowls = [ProductSeen(title=f"bowl of {colour} clay for the kitchen") for colour in ("red", "blue", "grey")]
    other = ProductSeen(title="quantum flux hydraulic gasket zinc")
    near = ProductSeen(title="bowl of green clay for the kitchen")
    found = measured(near, other, yardstick=bowls).numbers["embedding_distance"]

    assert found[1] > 3 * found[0]


@pytest.mark.parametrize(
    "line",
    [b"", b"null", b"[]", b"{}", b'{"time":"x"', b"\xff", b'{"title":1}', b"[" * 100_000],
)
def test_a_line_that_is_no_record_is_one_error(line):
    for read in (record_of, product_of):
        with pytest.raises(BadRecordError):
            read(line)


@pytest.mark.parametrize("validity", ["1.01", "-0.1", "NaN", "null", '"1"'])
def test_a_record_whose_validity_is_no_share_is_refused(validity):
    record = next(records(Traffic(1), START, START + HOUR, 1))
    good = json.dumps({**record, "validity": 0.53})

    assert record_of(good.encode()).validity == 0.53
    with pytest.raises(BadRecordError):
        record_of(good.replace("0.53", validity).encode())


@pytest.mark.parametrize(("rows", "kept"), [(100, 100), (160, 160), (161, 160), (5000, 160)])
def test_a_sample_is_whole_blocks_in_order(rows, kept):
    found = spread_blocks(rows, 160, 16, seed=1)

    assert len(found) == kept
    assert (np.diff(found) > 0).all()
    assert found[-1] < rows


def test_words_get_their_places_by_alphabet_whatever_came_first():
    made = []
    for words in ("b a b", "a b b"):
        maker = WordsMaker()
        for word in words.split():
            maker.append(word)
        made.append(maker.made())

    assert made[0].labels == made[1].labels == ("a", "b")
    assert (made[0].codes.tolist(), made[1].codes.tolist()) == ([1, 0, 1], [0, 1, 1])


def test_names_of_columns_are_different():
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
