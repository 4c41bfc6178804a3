"""The limits of the ad channels, and the three ways of counting characters."""

import copy

import pytest

from model.channel import (
    COUNTINGS,
    FIELD_NAMES,
    UnknownChannelError,
    _channel,
    channel,
    channels,
    double_width_length,
    weighted_length,
)

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
CAFE_DECOMPOSED = "cafe\u0301"

TABLE = {
    "title": "A made-up channel",
    "source": "https://example.com/channel",
    "total_chars_max": 100,
    "images": ["1200x628", "1080x1080"],
    "body": {
        "count_min": 1,
        "count_max": 3,
        "count_written": 2,
        "chars_max": 50,
        "chars_budget": 50,
        "source": "https://example.com/body",
    },
}


def table(**changes):
    """TABLE with its body changed."""
    changed = copy.deepcopy(TABLE)
    changed["body"] |= changes
    return changed


def test_the_channels_are_those_of_the_design():
    assert list(channels()) == ["google_rsa", "instagram", "facebook", "x", "linkedin", "pinterest"]


def test_an_unknown_channel_names_those_that_exist():
    with pytest.raises(UnknownChannelError, match="unknown channel 'myspace'; choose from google_rsa, instagram"):
        channel("myspace")


@pytest.mark.parametrize(
    ("name", "field", "counts", "chars_max"),
    [
        ("google_rsa", "headline", (3, 15), 30),
        ("google_rsa", "body", (2, 4), 90),
        ("instagram", "body", (1, 1), 2200),
        ("instagram", "hashtags", (1, 5), 30),
        ("x", "body", (1, 1), 280),
        ("linkedin", "headline", (1, 1), 200),
        ("linkedin", "body", (1, 1), 600),
        ("pinterest", "headline", (1, 1), 100),
        ("pinterest", "body", (1, 1), 500),
    ],
)
def test_limits_are_those_the_platforms_publish(name, field, counts, chars_max):
    spec = channel(name).field(field)

    assert ((spec.count_min, spec.count_max), spec.chars_max) == (counts, chars_max)


def test_a_channel_may_lack_a_field():
    assert channel("google_rsa").field("hashtags") is None
    assert channel("x").field("headline") is None


@pytest.mark.parametrize("name", channels())
def test_every_limit_names_an_https_page(name):
    spec = channel(name)
    sources = [spec.source, *(field.source for field in spec.fields)]

    assert len(sources) == 1 + len(spec.fields) >= 3
    assert [source for source in sources if not source.startswith("https://")] == []


@pytest.mark.parametrize("name", channels())
def test_a_creative_written_to_every_budget_fits_the_whole(name):
    spec = channel(name)
    texts = ["n" * field.chars_budget for field in spec.fields for _ in range(field.count_written)]
    total = spec.length(" ".join(texts))

    assert spec.total_chars_max == 0 or total <= spec.total_chars_max


@pytest.mark.parametrize("name", channels())
def test_fields_come_in_the_order_of_writing_and_every_channel_has_a_picture(name):
    spec = channel(name)
    names = [field.name for field in spec.fields]

    assert names == [name for name in FIELD_NAMES if name in names]
    assert "body" in names
    assert min(min(size) for size in spec.images) >= 628


def test_a_good_table_loads():
    spec = _channel("test", TABLE)

    assert (spec.fields[0].chars_max, spec.images, spec.counting) == (50, ((1200, 628), (1080, 1080)), "codepoints")


@pytest.mark.parametrize(
    "changes",
    [
        {"chars_budget": 50},  # as high as chars_max
        {"chars_budget": 1},
        {"count_written": 1},  # as low as count_min
        {"count_written": 3},  # as high as count_max
    ],
)
def test_a_table_on_its_boundaries_loads(changes):
    field = _channel("test", table(**changes)).fields[0]

    assert {key: getattr(field, key) for key in changes} == changes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chars_budget": 51}, "channel test, field body: budget is above the limit"),
        ({"chars_budget": 0}, "budget is above the limit"),
        ({"count_min": 0}, "counts are out of order"),
        ({"count_min": 3}, "counts are out of order"),
        ({"count_written": 4}, "counts are out of order"),
        ({"source": "http://example.com"}, "source is no https page"),
    ],
)
def test_a_bad_field_is_refused_with_its_name(changes, reason):
    with pytest.raises(ValueError, match=reason):
        _channel("test", table(**changes))


def test_an_unknown_counting_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="unknown counting 'bytes'; choose from codepoints, double_width, weighted"):
        _channel("test", TABLE | {"counting": "bytes"})


@pytest.mark.parametrize(
    ("text", "codepoints", "double_width", "weighted"),
    [
        ("", 0, 0, 0),
        ("24.90 EUR", 9, 9, 9),
        ("Größe 40 °C × 2", 15, 15, 15),
        ("\u2018quoted\u2019 \u2013 yes", 14, 14, 14),
        ("\u20ac 5 \u2192 \u2026", 7, 7, 10),  # the euro sign, the arrow and the ellipsis lie outside X's light ranges
        ("日本語", 3, 6, 6),
        ("한국어", 3, 6, 6),
        ("caf\u00e9", 4, 4, 4),
        (CAFE_DECOMPOSED, 5, 5, 4),  # NFC joins the accent to its letter
        ("x\u0301", 2, 2, 2),  # there is no such letter to join to
        ("\U0001f47e", 1, 2, 2),
        ("\U0001f64b\U0001f3fd", 2, 4, 2),  # skin tone
        (FAMILY, 7, 11, 2),  # four people joined by zero-width joiners
        ("\U0001f1ec\U0001f1e7\U0001f1eb\U0001f1f7", 4, 4, 4),  # two flags
        ("1\ufe0f\u20e3", 3, 3, 2),  # keycap
        ("\u2764\ufe0f", 2, 2, 2),  # heart, asked for in colour
        ("\u00a9 \u00a9\ufe0f", 4, 4, 4),  # the sign, then the emoji
        ("https://example.com", 19, 19, 23),
        ("https://example.com/a/very/long/path?colour=fog", 47, 47, 23),
        ("See example.com/fog.", 20, 20, 28),  # no scheme; the full stop is not the link's
        ("(https://a.example, https://b.example)", 38, 38, 50),
        ("post@example.com", 16, 16, 16),  # an address is no link
        ("https://example.com日本", 21, 23, 27),
    ],
)
def test_each_counting_counts_as_its_platform_says(text, codepoints, double_width, weighted):
    assert {name: count(text) for name, count in COUNTINGS.items()} == {
        "codepoints": codepoints,
        "double_width": double_width,
        "weighted": weighted,
    }


@pytest.mark.parametrize(
    ("name", "length"),
    [("google_rsa", 11), ("instagram", 7), ("facebook", 7), ("x", 2), ("linkedin", 7), ("pinterest", 7)],
)
def test_a_channel_counts_in_its_own_way(name, length):
    assert channel(name).length(FAMILY) == length


def test_fifteen_full_width_characters_fill_a_google_headline_and_sixteen_do_not_fit():
    spec = channel("google_rsa")
    chars_max = spec.field("headline").chars_max

    assert spec.length("茶" * 15) == chars_max
    assert spec.length("茶" * 16) == chars_max + 2
    assert double_width_length("n" * 30) == chars_max


def test_a_hundred_and_forty_emoji_fill_a_post_and_one_more_does_not_fit():
    total = channel("x").total_chars_max

    assert weighted_length("\U0001f47e" * 140) == total
    assert weighted_length("\U0001f47e" * 141) > total


def test_a_long_run_without_a_link_is_counted_character_by_character():
    text = "a" * 100_000 + "!" * 100_000

    assert weighted_length(text) == 200_000
