"""Shaping and fitting of text. Run: pytest tests/model/test_typeface.py."""

import pytest

from model import paragraph, typeface
from model.paragraph import fit, wrap
from model.typeface import DISPLAY_SANS, DISPLAY_SERIF, EYEBROW, LABEL, TEXT, drawable, shape


def widest(fitted):
    return max(line.ink[2] - line.ink[0] for line in fitted.lines) * fitted.size


@pytest.mark.parametrize("family", [DISPLAY_SANS, DISPLAY_SERIF, TEXT, LABEL, EYEBROW])
@pytest.mark.parametrize("text", ["Kettle, 1.2 L → 40 °C", "Łódź ½ €5 – “x”", "Щётка Ελλάδα Việt"])
def test_every_character_of_a_european_line_is_drawn_in_every_style(family, text):
    letters = text.replace(" ", "")

    assert drawable(text, family) == text
    assert [letter for letter in letters if not shape(letter, family).runs] == []


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("☕ Fresh 😀 coffee 👩‍🍳!", "Fresh coffee!"),
        ("a\x00b\x07c\u202ed", "abcd"),
        ("  two \n\t words ", "two words"),
        ("don't", "don’t"),
        ("😀🎉", ""),
        ("...", ""),
        ("\ud800broken", "broken"),
        ("\U000f0000private", "private"),
    ],
)
def test_what_cannot_be_drawn_is_left_out(text, drawn):
    assert drawable(text) == drawn


def test_a_character_without_any_font_leaves_no_box(monkeypatch):
    monkeypatch.setattr(typeface, "_system_fonts", tuple)
    typeface._system_face.cache_clear()
    typeface._face_for.cache_clear()

    assert drawable("茶 tea") == "tea"
    typeface._system_face.cache_clear()
    typeface._face_for.cache_clear()


def test_a_missing_font_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(typeface.FontMissingError, match="pip install font-nowhere"):
        typeface._packaged("font_nowhere", "x.ttf")


def test_hebrew_with_a_number_runs_right_to_left_and_the_number_left_to_right():
    runs = typeface._visual_runs("ab 12", DISPLAY_SANS, right_to_left=True)
    assert [run[0].strip() for run in runs] == ["ab 12"]

    if not drawable("שעון"):
        pytest.skip("no installed font has Hebrew letters")
    runs = typeface._visual_runs("שעון 38 מטר", DISPLAY_SANS, right_to_left=True)

    assert [run[0].strip() for run in runs if run[0].strip()] == ["מטר", "38", "שעון"]
    assert [run[1] % 2 for run in runs if run[0].strip()] == [1, 0, 1]


def test_the_first_letter_with_a_direction_decides():
    assert typeface.is_right_to_left("12 שעון watch")
    assert not typeface.is_right_to_left("12 watch שעון")
    assert not typeface.is_right_to_left("12")


def test_a_line_breaks_exactly_where_it_no_longer_fits():
    width = shape("one two", TEXT).width

    assert wrap("one two", TEXT, width + 0.001) == ["one two"]
    assert wrap("one two", TEXT, width - 0.001) == ["one", "two"]


def test_a_word_of_sixty_letters_is_cut_with_hyphens_and_nothing_is_lost():
    word = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunt"
    fitted = fit(word, DISPLAY_SANS, 400, 400, size_max=120, size_min=40)

    assert len(fitted.lines) > 1
    assert "".join(line.text.removesuffix("-") for line in fitted.lines) == word
    assert widest(fitted) <= 400 + 1e-6


def test_a_short_text_takes_the_largest_size_and_a_long_one_shrinks_before_it_wraps_away():
    short = fit("Fog", DISPLAY_SERIF, 600, 300, size_max=100, size_min=20)
    long = fit("A desk frame for the top you already own and like", DISPLAY_SERIF, 600, 300, size_max=100, size_min=20)

    assert short.size == 100
    assert 20 < long.size < 100
    assert not long.truncated
    assert long.height <= 300


def test_text_that_fits_at_no_size_ends_in_an_ellipsis_within_the_box():
    fitted = fit("every single word of this " * 30, TEXT, 300, 90, size_max=30, size_min=20, leading=1.2)

    assert fitted.truncated
    assert fitted.lines[-1].text.endswith("…")
    assert fitted.height <= 90
    assert widest(fitted) <= 300 + 1e-6


@pytest.mark.parametrize(("height", "lines"), [(19.9, 0), (20, 1)])
def test_a_box_lower_than_one_line_of_the_smallest_size_stays_empty(height, lines):
    assert len(fit("Fog", TEXT, 300, height, size_max=40, size_min=20).lines) == lines


def test_a_balanced_paragraph_has_no_lonely_last_word():
    fitted = fit("Walkies do not check the forecast at all", TEXT, 560, 400, size_max=60, size_min=60, balance=True)
    widths = [line.width for line in fitted.lines]

    assert len(widths) == len(wrap("Walkies do not check the forecast at all", TEXT, 560 / 60))
    assert min(widths) > 0.5 * max(widths)


def test_text_without_spaces_breaks_between_its_characters():
    tokens = list(paragraph._tokens("青い茶碗。tea cup"))

    assert tokens == [(" ", "青"), ("", "い"), ("", "茶"), ("", "碗。"), ("", "tea"), (" ", "cup")]


@pytest.mark.parametrize(
    ("text", "lines"), [("Kettle, 1.2 L", ["Kettle,", "1.2 L"]), ("with 10 % urea", ["with", "10 %", "urea"])]
)
def test_a_number_keeps_its_unit(text, lines):
    width = max(shape(line, DISPLAY_SANS).width for line in lines) + 0.2

    assert wrap(text, DISPLAY_SANS, width) == lines
