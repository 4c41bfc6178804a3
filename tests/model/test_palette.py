"""Colours: the contrast formula, every palette, and any brand. Run: pytest tests/model/test_palette.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import palette

COLOURS = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#777777", "#ffffff", 4.48),
        ("#767676", "#ffffff", 4.54),
        ("#ff0000", "#ffffff", 4.0),
    ],
)
def test_contrast_agrees_with_the_known_ratios_of_wcag(one, other, ratio):
    assert palette.contrast(one, other) == pytest.approx(ratio, abs=0.005)
    assert palette.contrast(other, one) == palette.contrast(one, other)


@pytest.mark.parametrize("entry", palette.PALETTES, ids=lambda entry: entry[0].name)
def test_every_palette_reads_at_aa_on_each_of_its_own_grounds(entry):
    colours = entry[0]

    assert palette.contrast(colours.foreground, colours.background) >= 7
    for ground in (colours.background, colours.foreground, colours.accent, colours.second):
        assert palette.contrast(palette.text_on(ground, colours), ground) >= palette.CONTRAST_BODY


@settings(max_examples=200, derandomize=True, deadline=None)
@given(COLOURS, COLOURS, COLOURS)
def test_any_brand_colours_become_legible_and_keep_their_background(background, foreground, accent):
    brand = palette.for_brand(background, foreground, accent)

    assert brand.background == background
    assert palette.contrast(brand.foreground, background) >= palette.CONTRAST_BODY
    assert palette.contrast(brand.accent, background) >= palette.CONTRAST_SHAPE
    assert palette.contrast(brand.second, background) >= palette.CONTRAST_SHAPE
    for ground in (brand.background, brand.foreground, brand.accent, brand.second):
        assert palette.contrast(palette.text_on(ground, brand), ground) >= palette.CONTRAST_BODY


def test_a_legible_colour_is_not_touched_and_an_illegible_one_is():
    assert palette.legible("#767676", "#ffffff") == "#767676"
    assert palette.legible("#777777", "#ffffff") != "#777777"
    assert palette.contrast(palette.legible("#ffffff", "#ffffff"), "#ffffff") >= 4.5


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("Kitchen", "oat"),
        ("Home > Lamps", "lantern"),
        ("Pet Supplies", "tabby"),
        ("BABIES", "block"),
        ("Toys & Games", "block"),
    ],
)
def test_a_category_gets_the_palette_that_its_last_known_word_calls_for(category, name):
    assert palette.for_category(category).name == name


def test_an_unknown_category_gets_the_same_palette_every_time_and_titles_spread_over_many():
    names = {palette.for_category("Zyx", f"Item {index}").name for index in range(200)}

    assert palette.for_category("Zyx", "Item 1") == palette.for_category("Zyx", "Item 1")
    assert len(names) >= 12


@pytest.mark.parametrize("colour", ["", "#fff", "ffffff", "#ggffff", "#ffffff ", "#ffffff\n", "red"])
def test_anything_but_six_hex_digits_is_refused_by_field_name(colour):
    with pytest.raises(palette.ColourError, match=r"brand accent is .*: give a colour as #rrggbb"):
        palette.require_hex(colour, field="brand accent")
