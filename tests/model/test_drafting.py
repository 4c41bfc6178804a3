"""What the model wrote becomes a copy within every limit, whatever it wrote."""

from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.catalogue import read_catalogue
from model.channel import channel, channels
from model.drafting import PLAIN_ACTIONS, PLAIN_BODIES, finish, fit, split_sentences, tidy
from model.grounding import view
from model.product import Product
from model.validity import STRUCTURAL, assess

STOOL = Product(
    "H-1",
    "Wooden step stool",
    "Solid beech, two steps, 42 cm high. Carries 150 kg. Delivered assembled.",
    "Home > Stools",
)
BODY = channel("instagram").field("body")
HEADLINE = channel("instagram").field("headline")


def written(spec, **texts):
    """Each field's texts, complete, filled with blanks where the test says nothing."""
    return {
        limits.name: [(text, True) for text in texts.get(limits.name, [""] * limits.count_written)]
        for limits in spec.fields
    }


def finished(product=STOOL, name="instagram", **texts):
    spec = channel(name)
    return finish(written(spec, **texts), product, view(product), spec)


def test_a_good_draft_passes_untouched():
    words, repairs = finished(
        headline=["Two steps up, 42 cm"],
        body=["Solid beech that carries 150 kg. It comes assembled."],
        call_to_action=["Check that it fits"],
        hashtags=["stepstool #beech"],
    )

    assert words.headlines == ("Two steps up, 42 cm",)
    assert words.bodies == ("Solid beech that carries 150 kg. It comes assembled.",)
    assert words.call_to_action == "Check that it fits"
    assert words.hashtags == ("#stepstool", "#beech")
    assert repairs == ()


def test_a_sentence_that_the_product_does_not_support_is_cut_and_the_rest_stays():
    words, repairs = finished(body=["Solid beech that carries 150 kg. Free shipping today."])

    assert words.bodies == ("Solid beech that carries 150 kg.",)
    assert "body: 1 of 2 sentences were cut" in repairs


def test_a_copied_run_of_the_description_is_broken_by_leaving_a_sentence_out():
    copied = "Solid beech, two steps, 42 cm high. Carries 150 kg. Delivered assembled."
    words, repairs = finished(body=[copied], headline=["A stool of beech"], call_to_action=["See the stool"])

    assert words.bodies == ("Solid beech, two steps, 42 cm high. Carries 150 kg.",)
    assert "body: a sentence was cut, too much of it was the description's" in repairs


def test_a_single_copied_sentence_stays_and_is_found():
    product = Product("1", "Chopsticks", "Five pairs in ironwood, 23 cm long, square at the top and round at the tip.")
    words, repairs = finished(product, body=[product.description], headline=["Five pairs"])

    assert words.bodies == (product.description,)
    assert "echo" in {finding.kind for finding in assess(product, words, channel("instagram")).findings}
    assert not [repair for repair in repairs if "description's" in repair]


def test_where_nothing_is_left_the_products_own_words_stand_in():
    words, repairs = finished(body=["Carries 900 kg."], headline=["The best stool in the world"])

    assert words.headlines == ("Wooden step stool",)
    assert words.bodies == ("Solid beech, two steps, 42 cm high.",)
    assert sum("stand in" in repair for repair in repairs) == 3


def test_repeated_headlines_are_dropped_and_replaced():
    words, _ = finished(name="google_rsa", headline=["Two steps, 42 cm"] * 4, body=["Solid beech.", "Solid  BEECH"])

    assert words.headlines == ("Two steps, 42 cm", "Wooden step stool", "Two steps, 42 cm high")
    assert len({body.casefold() for body in words.bodies}) == 2


def test_hashtags_that_are_no_run_of_whole_words_are_dropped():
    words, _ = finished(hashtags=["beechstool beechy beechstol #beechhome #stools"])

    assert words.hashtags == ("#beechstool", "#beechhome", "#stools")


def test_hashtags_that_share_no_word_with_the_product_are_dropped():
    words, _ = finished(hashtags=["beech #unicorn #stool #beech"])

    assert words.hashtags == ("#beech", "#stool")


@pytest.mark.parametrize(
    ("text", "complete", "expected"),
    [
        ("Two steps and a handle", True, "Two steps and a handle"),
        ("Two steps and a hand", False, "Two steps"),
        ("Two steps with the", True, "Two steps"),
        ("Two steps, ", True, "Two steps"),
        ("x" * 41, True, "x" * 40),
        (f"{'word ' * 7}stools and", True, "word word word word word word word"),
        ("one two three four five six seven eights", True, "one two three four five six seven eights"),
        ("one two three four five six seven eights!", True, "one two three four five six seven"),
    ],
)
def test_a_headline_is_cut_on_a_word_and_ends_on_one(text, complete, expected):
    assert fit(text, HEADLINE, len, complete=complete) == expected


@pytest.mark.parametrize(
    ("text", "complete", "expected"),
    [
        ("It folds. It carries 2.5 kg", True, "It folds. It carries 2.5 kg."),
        ("It folds. It carries 2.5 k", False, "It folds."),
        ("It folds flat on the", False, "It folds flat."),
        (f"It folds. {'It is ' * 40}", True, "It folds."),
        ("It folds. It stands.", False, "It folds. It stands."),
    ],
)
def test_a_body_is_cut_on_a_sentence_and_closed(text, complete, expected):
    assert fit(text, BODY, len, complete=complete) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(' "Two steps"\n', "Two steps"), ("**Bold**", "Bold"), ("a\x00b\u200bc", "a b c"), ("  ", ""), ("# Tag", "Tag")],
)
def test_tidying_leaves_one_line_of_plain_text(raw, expected):
    assert tidy(raw) == expected


def test_decimals_do_not_end_a_sentence():
    assert split_sentences("Holds 1.5 l. Weighs 2.1 kg! Why? Because.") == [
        "Holds 1.5 l.",
        "Weighs 2.1 kg!",
        "Why?",
        "Because.",
    ]


def test_the_words_that_always_stand_in_fit_every_channel():
    for spec in channels().values():
        for name, texts in (("call_to_action", PLAIN_ACTIONS), ("headline", PLAIN_ACTIONS), ("body", PLAIN_BODIES)):
            limits = spec.field(name)
            assert limits is None or all(spec.length(text) <= limits.chars_budget for text in texts)
            assert limits is None or len(texts) >= min(limits.count_min, 3) or name == "body"


anything = st.text(max_size=400)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(channels())),
    title=st.text(min_size=1, max_size=300),
    description=anything,
    texts=st.lists(st.tuples(anything, st.booleans()), min_size=12, max_size=12),
)
def test_whatever_is_written_the_copy_fits_its_channel(name, title, description, texts):
    spec = channel(name)
    product = Product("sku-1", title, description)
    parts = iter(texts)
    draft = {
        limits.name: [next(parts) for _ in range(1 if limits.name == "hashtags" else limits.count_written)]
        for limits in spec.fields
    }
    words, _ = finish(draft, product, view(product), spec)

    structural = {"missing_field", "extra_field", "over_long", "malformed_hashtag"}
    assert not structural & {finding.kind for finding in assess(product, words, spec).findings}
    for limits in spec.fields:
        assert limits.count_min <= len(words.texts(limits.name)) <= limits.count_max
        assert all(0 < spec.length(text) <= limits.chars_max for text in words.texts(limits.name))
    assert not spec.total_chars_max or spec.length(words.joined()) <= spec.total_chars_max


def test_the_products_own_words_alone_make_a_whole_ad_for_every_sample_product():
    sample = files("model").joinpath("data/catalogue.csv")
    products = read_catalogue(sample).products
    thin = [
        Product("t-1", "Vase"),
        Product("t-2", "Book rest", "Folds flat. Holds up to 3 kg."),
        Product("t-3", "Stand", "24 x 24 cm, 5.2 kg."),
    ]
    broken = [
        (product.sku, spec.name, finding)
        for product in (*products, *thin)
        for spec in channels().values()
        for finding in assess(product, finish({}, product, view(product), spec)[0], spec).findings
        if finding.kind in STRUCTURAL
    ]

    assert len(products) > 100
    assert broken == []


def drafted(body, *spares, description="Hardened jaws, 125 mm wide. Grey cast iron vice. Anvil at the back. 14.5 kg."):
    product, spec = Product("V-1", "Bench vice, swivel base", description), channel("linkedin")
    texts = {"headline": ["Bench vice, swivel base"], "call_to_action": ["See the swivel base"], "hashtags": ["vice"]}
    candidates = [written(spec, body=[text], **texts) for text in (body, *spares)]
    return finish(candidates[0], product, view(product), spec, candidates[1:])


GOOD = "The vice is in grey cast iron with a swivel base."


def test_a_sentence_that_joins_facts_anew_is_cut():
    words, repairs = drafted(f"{GOOD} The base is 125 mm wide.")

    assert words.bodies == (GOOD,)
    assert repairs == ("body: 1 of 2 sentences joined facts anew",)


def test_the_gap_is_filled_with_a_good_sentence_of_another_candidate():
    words, _ = drafted(
        f"The base is 125 mm wide. {GOOD}",
        f"{GOOD} It is made of iron.",  # said already, and leans on it
        "The jaws are grey cast iron. The vice has an anvil at the back.",
    )

    assert words.bodies == (f"{GOOD} The vice has an anvil at the back.",)


def test_a_body_without_a_good_sentence_is_another_candidates():
    words, repairs = drafted("The base is 125 mm wide.", GOOD)

    assert words.bodies == (GOOD,)
    assert "body: another candidate's words stand in" in repairs


def test_a_very_short_body_takes_in_a_sentence_of_the_product():
    words, _ = drafted("The anvil is 125 mm wide. The jaws are 125 mm wide.")

    assert words.bodies == ("The jaws are 125 mm wide. Grey cast iron vice.",)


def test_a_sentence_that_leans_on_one_that_was_cut_goes_with_it():
    words, _ = drafted(f"The anvil is 125 mm wide. They are grey cast iron. {GOOD}")

    assert words.bodies == (GOOD,)


def test_a_headline_is_cut_at_the_end_of_a_clause_or_not_used():
    product = Product("1", "Tahini, stone-ground", "Sesame paste from hulled white sesame. Contains sesame.")
    spec = channel("google_rsa")
    draft = written(spec, headline=["Tahini, stone-ground sesame paste", "Sesame paste from hulled white sesame"])
    words, _ = finish(draft, product, view(product), spec)

    assert words.headlines == ("Tahini, stone-ground", "Tahini", "Contains sesame")


def test_a_row_in_another_language_is_not_compared_word_by_word():
    product = Product("1", "Schraubstock", "Der Schraubstock ist aus grauem Guss und wiegt 14 kg mit dem Amboss.")
    spec = channel("linkedin")
    draft = written(spec, headline=["A vice of 14 kg"], body=["A bench vice that weighs 14 kg with its anvil."])
    words, _ = finish(draft, product, view(product), spec)

    assert words.bodies == ("A bench vice that weighs 14 kg with its anvil.",)
