"""What a file of pairs must look like to be learnt from, and that every fault is named with its line."""

import json

import pytest

from model.training.pairs import PairsError, flaws, pair_from_dict, read_pairs


def row(**changes):
    """A sound pair; `changes` by dotted key, None takes a key away."""
    table = {
        "id": "T-1",
        "family": "enamel mug",
        "channel": "instagram",
        "voice": "plain",
        "angle": "use",
        "trap": "not for the microwave",
        "product": {
            "title": "Enamel mug, blue",
            "category": "Camping > Cups",
            "description": "Holds 350 ml. Enamelled steel, 120 g. Not for the microwave.",
            "attributes": [["Colour", "blue"]],
        },
        "copy": {
            "headlines": ["350 ml by the fire"],
            "bodies": ["A blue enamel mug that weighs 120 g and holds 350 ml. Keep it out of the microwave."],
            "call_to_action": "Put it in the pack",
            "hashtags": ["#enamelmug", "#camping"],
        },
    }
    for path, value in changes.items():
        *folders, key = path.split("__")
        place = table
        for folder in folders:
            place = place[folder]
        if value is None:
            del place[key]
        else:
            place[key] = value
    return table


def written(tmp_path, *lines):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_pair_is_read_whole(tmp_path):
    (pair,) = read_pairs(written(tmp_path, json.dumps(row())))

    assert (pair.id, pair.family, pair.voice, pair.angle) == ("T-1", "enamel mug", "plain", "use")
    assert pair.trap == "not for the microwave"
    assert (pair.product.sku, pair.product.title) == ("T-1", "Enamel mug, blue")
    assert pair.product.attributes == (("Colour", "blue"),)
    assert pair.spec.name == "instagram"
    assert pair.words.headlines == ("350 ml by the fire",)
    assert pair.words.hashtags == ("#enamelmug", "#camping")


def test_attributes_may_be_left_out():
    assert pair_from_dict(row(product__attributes=None)).product.attributes == ()


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    table = row(product__description="Holds 350 ml.\u2028Weighs 120 g.")
    path = written(tmp_path, json.dumps(table, ensure_ascii=False), json.dumps(row(id="T-2")))

    assert [pair.id for pair in read_pairs(path)] == ["T-1", "T-2"]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ('{"id": ', "JSONDecodeError"),
        ("", "JSONDecodeError"),
        ("[1, 2]", "TypeError"),
        ("null", "TypeError"),
        (json.dumps(row(trap=None)), "'trap'"),
        (json.dumps(row(copy__bodies=None)), "'bodies'"),
        (json.dumps(row(product__title=None)), "'title'"),
        (json.dumps(row(product__colour="blue")), "'colour'"),
        (json.dumps(row(product__price=12)), "price should be a text, and is 12"),
        (json.dumps(row(family=7)), "family should be a text, and is 7"),
        (json.dumps(row(copy__call_to_action=["Go"])), "call_to_action should be a text"),
        (json.dumps(row(copy__headlines="350 ml by the fire")), "should be a list of texts"),
        (json.dumps(row(copy__hashtags=[1])), "should be a list of texts"),
        (json.dumps(row(voice="shouting")), "voice 'shouting' is none of plain, playful, premium"),
        (json.dumps(row(channel="radio")), "unknown channel 'radio'"),
    ],
)
def test_the_first_bad_line_is_named_with_its_fault(bad, told, tmp_path):
    path = written(tmp_path, json.dumps(row()), json.dumps(row(id="T-2")), bad, "also bad")

    with pytest.raises(PairsError) as caught:
        read_pairs(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert told in str(caught.value)


def test_an_empty_file_is_refused_by_name(tmp_path):
    path = written(tmp_path)

    with pytest.raises(PairsError, match=r"pairs\.jsonl holds no pairs"):
        read_pairs(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(PairsError, match=r"absent\.jsonl cannot be read"):
        read_pairs(tmp_path / "absent.jsonl")


def test_a_file_that_is_not_utf_8_is_refused_by_name(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(row(family="café"), ensure_ascii=False).encode("latin-1"))

    with pytest.raises(PairsError, match=r"latin\.jsonl cannot be read: 'utf-8' codec"):
        read_pairs(path)


def test_a_sound_pair_has_no_flaws():
    assert flaws(pair_from_dict(row())) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"copy__headlines": ["500 ml by the fire"]}, "unsupported_number"),
        ({"copy__headlines": []}, "missing_field"),
        ({"copy__bodies": ["A blue enamel mug. Use it in the microwave: it holds 350 ml."]}, "contradicts_product"),
        ({"copy__bodies": ["A red enamel mug that weighs 120 g and holds 350 ml."]}, "unsupported_colour"),
    ],
)
def test_what_the_score_finds_is_a_flaw_with_its_kind(changes, told):
    (flaw, *_) = flaws(pair_from_dict(row(**changes)))

    assert flaw.startswith("validity 0.")
    assert told in flaw


@pytest.mark.parametrize(("length", "count"), [(40, 0), (41, 1)])
def test_a_text_may_fill_the_budget_and_not_one_character_more(length, count):
    headline = "A blue mug that holds 350 ml by the fires".ljust(41, "s")[-length:]
    found = [flaw for flaw in flaws(pair_from_dict(row(copy__headlines=[headline]))) if "longer than 40" in flaw]

    assert len(headline) == length
    assert len(found) == count
