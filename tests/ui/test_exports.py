"""Files for ad platforms: their columns, and cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io

import pytest

from app.ui.exports import FORMATS, as_csv, neutral
from model.channel import channels

AD = {
    "id": "cr_1",
    "sku": "=cmd|' /C calc'!A0",
    "channel": "google_rsa",
    "headlines": ["Blue bowl", "+49 bowls", "@home"],
    "descriptions": ["Holds 0.5 l.", "-5 to 90 °C"],
    "call_to_action": "See the bowl",
    "hashtags": ["#bowl", "#kitchen"],
    "validity": 0.9,
    "findings": [{"kind": "shouting", "field": "headline", "detail": ""}],
}


def read(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "\n=1"])
def test_a_formula_is_made_text(cell):
    assert neutral(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["Blue bowl", "#bowl", "5 - 3", "a=b", "", "0.5 l"])
def test_other_words_stay_as_they_are(cell):
    assert neutral(cell) == cell


@pytest.mark.parametrize("form", FORMATS)
def test_no_cell_of_any_form_begins_as_a_formula(form):
    for channel in channels():
        for row in csv.reader(io.StringIO(as_csv(FORMATS[form], [{**AD, "channel": channel}]).removeprefix("\ufeff"))):
            assert not [cell for cell in row if cell.lstrip(" ").startswith(("=", "+", "-", "@"))]


def test_google_gets_its_headlines_and_descriptions_in_columns_of_their_own():
    (row,) = read(as_csv(FORMATS["google_ads"], [AD, {**AD, "channel": "x"}]))

    assert [row["Headline 1"], row["Headline 2"], row["Headline 4"]] == ["Blue bowl", "'+49 bowls", ""]
    assert [row["Description 1"], row["Description 2"]] == ["Holds 0.5 l.", "'-5 to 90 °C"]
    assert (row["Ad type"], row["Status"], row["Final URL"]) == ("Responsive search ad", "Paused", "")
    assert "Headline 15" in row
    assert "Description 4" in row


def test_pinterest_gets_its_eight_columns_in_their_order():
    text = as_csv(FORMATS["pinterest"], [{**AD, "channel": "pinterest"}])
    (row,) = read(text)

    assert text.splitlines()[0] == (
        "\ufeffTitle,Media URL,Pinterest board,Thumbnail,Description,Link,Publish date,Keywords"
    )
    assert row["Keywords"] == "bowl, kitchen"


def test_the_plain_file_has_every_channel():
    rows = read(as_csv(FORMATS["plain"], [{**AD, "channel": name} for name in channels()]))

    assert [row["channel"] for row in rows] == list(channels())
    assert rows[0]["findings"] == "shouting"


def test_every_channel_of_a_form_is_one_that_the_service_writes_for():
    assert {channel for form in FORMATS.values() for channel in form.channels} <= set(channels())


def test_each_row_has_as_many_cells_as_the_form_has_columns():
    for form in FORMATS.values():
        assert len(form.row(AD)) == len(form.columns)
