"""The prompt's form: what the model is shown of a product, and how a finished creative reads."""

import json

import pytest

from model.channel import channel, channels
from model.creative import Copy
from model.product import Product
from model.prompt import DESCRIPTION_CHARS_MAX, VOICES, few_shot_prompt, prompt_from_dict, tuned_prompt

MUG = Product("K-1", "Enamel mug", "350 ml.\nNot for the microwave.", "Outdoors", attributes=(("Colour", "blue"),))


def test_a_product_is_shown_in_one_order_and_whole():
    assert few_shot_prompt().product(MUG, channel("x")) == (
        "Product: Enamel mug\nCategory: Outdoors\n"
        "Details: 350 ml. Not for the microwave. Colour: blue.\nAd for: X post\n"
    )


def test_what_is_not_known_has_no_line():
    assert few_shot_prompt().product(Product("K-2", "Bowl"), channel("x")) == "Product: Bowl\nAd for: X post\n"


def test_line_breaks_in_a_product_cannot_open_a_field():
    sly = Product("K-3", "Bowl\nHeadline: Buy", "One.\n\nText: two")

    assert few_shot_prompt().product(sly, channel("x")).count("\n") == 3


@pytest.mark.parametrize(("length", "kept"), [(DESCRIPTION_CHARS_MAX, 3), (DESCRIPTION_CHARS_MAX + 1, 2)])
def test_a_long_description_is_cut_on_a_word(length, kept):
    words = ["a" * 300, "b" * 300]
    words.append("c" * (length - len(" ".join(words)) - 1))
    shown = few_shot_prompt().product(Product("K-4", "Bowl", " ".join(words)), channel("x"))

    assert sum(word in shown.split() for word in words) == kept


def test_labels_are_fed_on_lines_of_their_own_and_hashtags_are_begun():
    prompt = few_shot_prompt()

    assert prompt.label("headline", first=True) == "Headline:"
    assert prompt.label("body", first=False) == "\nText:"
    assert prompt.label("hashtags", first=False) == "\nTags: #"


def test_an_answer_lists_every_text_in_the_channels_order():
    words = Copy(("One", "Two", "Three"), ("First.", "Second."), "", ())
    answer = few_shot_prompt().answer(words, channel("google_rsa"))

    assert answer == "Headline: One\nHeadline: Two\nHeadline: Three\nText: First.\nText: Second.\n"


def test_every_shot_fits_its_channel():
    from importlib.resources import files

    for shot in json.loads(files("model").joinpath("data/shots.json").read_text()):
        spec = channel(shot["channel"])
        assert len(shot["copy"]["headlines"][0]) <= spec.field("headline").chars_budget
        assert len(shot["copy"]["bodies"][0]) <= spec.field("body").chars_budget
        assert len(shot["copy"]["call_to_action"]) <= spec.field("call_to_action").chars_budget


def test_a_prompt_survives_its_json_form():
    prompt = few_shot_prompt()

    assert prompt_from_dict(json.loads(json.dumps(prompt.as_dict()))) == prompt


def test_the_digest_follows_the_form():
    assert few_shot_prompt(1).digest() != few_shot_prompt(2).digest()
    assert few_shot_prompt(2).digest() == few_shot_prompt(2).digest()


@pytest.mark.parametrize("shots", [0, 5])
def test_shots_that_do_not_exist_are_refused(shots):
    with pytest.raises(ValueError, match="between 1 and 4"):
        few_shot_prompt(shots)


def test_every_field_of_every_channel_has_a_label():
    labels = few_shot_prompt().labels

    assert {limits.name for spec in channels().values() for limits in spec.fields} == set(labels)


@pytest.mark.parametrize("voice", VOICES)
def test_a_tuned_model_is_told_the_voice_and_shown_no_examples(voice):
    prompt = tuned_prompt()

    assert prompt.preamble == ""
    assert prompt.product(Product("K-2", "Bowl"), channel("x"), voice) == f"Product: Bowl\nAd for: X post, {voice}\n"


def test_an_untuned_model_is_not_told_a_voice_it_has_never_seen():
    spoken = {few_shot_prompt().product(MUG, channel("x"), voice) for voice in VOICES}

    assert spoken == {few_shot_prompt().product(MUG, channel("x"))}


def test_the_voice_is_plain_unless_asked_for():
    assert tuned_prompt().product(MUG, channel("x")).endswith("Ad for: X post, plain\n")


def test_the_tuned_prompt_survives_its_json_form_and_has_a_digest_of_its_own():
    prompt = tuned_prompt()

    assert prompt_from_dict(json.loads(json.dumps(prompt.as_dict()))) == prompt
    assert prompt_from_dict(json.loads(json.dumps(prompt.as_dict()))).voiced
    assert prompt.digest() != few_shot_prompt().digest()


def test_answer_parts_are_a_label_and_what_follows_it_on_the_line():
    words = Copy(("Tea is ready",), ("A pot for two.",), "Pour a cup", ("#tea", "#pot"))
    parts = tuned_prompt().answer_parts(words, channel("instagram"))

    assert parts == [
        ("Headline:", " Tea is ready"),
        ("Text:", " A pot for two."),
        ("Next:", " Pour a cup"),
        ("Tags: #", "tea #pot"),
    ]


def test_a_field_without_words_has_no_part_and_no_label():
    words = Copy(("Tea is ready",), ("A pot for two.",), "", ())

    assert [label for label, _ in tuned_prompt().answer_parts(words, channel("instagram"))] == ["Headline:", "Text:"]


def test_answer_is_its_parts_line_by_line():
    words = Copy((), ("A pot for two.",), "Pour a cup", ("#tea",))

    assert tuned_prompt().answer(words, channel("x")) == "Text: A pot for two.\nNext: Pour a cup\nTags: #tea\n"
