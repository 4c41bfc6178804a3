"""The ads that are shown of a version: the same rows whatever else was evaluated, and bounded whatever a file holds."""

from __future__ import annotations

import json

import pytest

from model.heldout_samples import (
    SAMPLES_MAX,
    TEXT_CHARS_MAX,
    TEXTS_MAX,
    SamplesError,
    chosen,
    read_samples,
    samples_file,
)

ROWS = [f"h{number:04d}" for number in range(150)]


def sample(**given):
    values = {
        "row": "h1", "product": "Bowl", "channel": "x", "headlines": ["A bowl"], "bodies": [], "call_to_action": "Look",
        "hashtags": ["#bowl"], "validity": 0.9, "findings": ["too_long"],
    }  # fmt: skip
    return values | given


def test_the_rows_are_the_same_in_whatever_order_they_come_and_some_of_them_even_among_fewer():
    rows = chosen(ROWS)
    left_out = chosen(row for row in ROWS if row != rows[3])

    assert len(rows) == SAMPLES_MAX
    assert chosen(reversed(ROWS)) == rows
    assert left_out[:11] == [row for row in rows if row != rows[3]]


@pytest.mark.parametrize(
    ("count", "shown"), [(0, 0), (1, 1), (SAMPLES_MAX, SAMPLES_MAX), (SAMPLES_MAX + 1, SAMPLES_MAX)]
)
def test_there_are_never_more_than_a_dozen(count, shown):
    table = samples_file("b" * 64, [sample(row=row) for row in ROWS[:count]])

    assert len(chosen(ROWS[:count])) == shown
    assert len(read_samples(table)) == shown


def test_a_file_comes_back_as_it_was_written():
    table = json.loads(json.dumps(samples_file("b" * 64, [sample(), sample(row="h2")])))

    assert table["bundle"] == "b" * 64
    assert read_samples(table) == [sample(), sample(row="h2")]


def test_texts_are_cut_and_freed_of_what_no_store_keeps():
    long = sample(product="x" * TEXT_CHARS_MAX, call_to_action="x" * (TEXT_CHARS_MAX + 1), bodies=["a\0b\ud800c"])
    long["hashtags"] = ["#x"] * (TEXTS_MAX + 1)
    (read,) = read_samples(samples_file("", [long]))

    assert read["product"] == long["product"]
    assert read["call_to_action"] == "x" * (TEXT_CHARS_MAX - 1) + "…"
    assert read["bodies"] == ["ab?c"]
    assert len(read["hashtags"]) == TEXTS_MAX


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"form": 2, "samples": []},
        {"form": 1, "samples": None},
        {"form": 1, "samples": [{"row": "h1"}]},
        {"form": 1, "samples": ["a bowl"]},
        {"form": 1, "samples": [sample(validity=None)]},
        {"form": 1, "samples": [sample(headlines="A bowl")]},
    ],
)
def test_what_has_another_form_is_refused(table):
    with pytest.raises(SamplesError, match="evaluate it again"):
        read_samples(table)
