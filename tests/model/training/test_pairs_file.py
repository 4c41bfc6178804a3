"""The pairs themselves: each fit to learn from, no two alike, and nothing held out that training has seen."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest

from model.channel import channels
from model.prompt import VOICES
from model.training.pairs import flaws, read_pairs

DATA = Path(__file__).parents[3] / "model/data"
HELDOUT = DATA / "heldout.jsonl"
HELDOUT_SHA256 = "390844b296a7b320c4fd34e31a5bf280df5d759df202259285b2453005f70cea"
"""Frozen: scores of two models compare only on the same rows. A new set is a new file, not another digest here."""

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
LENGTHS = {"title alone": 0, "short": 15, "medium": 50, "long": 120}
"""Kind of input to the most words that its description has."""


@pytest.fixture(scope="module")
def train():
    return read_pairs(DATA / "pairs.jsonl")


@pytest.fixture(scope="module")
def heldout():
    if not HELDOUT.is_file():
        pytest.skip("model/data/heldout.jsonl has not been written yet")
    return read_pairs(HELDOUT)


@pytest.fixture(scope="module", params=["train", "heldout"])
def pairs(request):
    return request.getfixturevalue(request.param)


def words_of(text):
    return WORD.findall(text.lower())


def grams(text, size):
    words = words_of(text)
    return [tuple(words[place : place + size]) for place in range(len(words) - size + 1)]


def length_kind(pair):
    count = len(words_of(pair.product.description))
    return next((kind for kind, most in LENGTHS.items() if count <= most), "too long")


def test_every_pair_is_flawless(pairs):
    assert {pair.id: found for pair in pairs if (found := flaws(pair))} == {}


def test_every_pair_fills_exactly_what_the_writer_asks_for(pairs):
    for pair in pairs:
        for limits in pair.spec.fields:
            count = len(pair.words.texts(limits.name))
            # All hashtags are one line: their number is the model's choice.
            wanted = limits.count_min <= count if limits.name == "hashtags" else count == limits.count_written

            assert wanted, f"{pair.id}: {count} texts of {limits.name}"


def test_ids_and_titles_are_used_once(train, heldout):
    both = train + heldout

    assert [name for name, count in Counter(pair.id for pair in both).items() if count > 1] == []
    assert [name for name, count in Counter(pair.product.title for pair in both).items() if count > 1] == []


def test_the_pairs_cover_what_the_writer_will_meet(pairs):
    categories = {pair.product.category.partition(">")[0].strip() for pair in pairs} - {""}

    assert len(categories) >= 16
    assert {pair.spec.name for pair in pairs} == set(channels())
    assert {pair.voice for pair in pairs} == set(VOICES)
    assert {length_kind(pair) for pair in pairs} == set(LENGTHS)
    assert len({pair.angle for pair in pairs}) >= 5
    assert any(pair.trap for pair in pairs)


def test_no_channel_and_no_voice_is_rare(pairs):
    for counts in (Counter(pair.spec.name for pair in pairs), Counter(pair.voice for pair in pairs)):
        assert min(counts.values()) > len(pairs) / len(counts) / 2, counts


def test_no_two_ads_share_ten_words_in_a_row(train, heldout):
    owners = {}
    for pair in train + heldout:
        for gram in set(grams(pair.words.joined(), 10)):
            owners.setdefault(gram, []).append(pair.id)

    assert {" ".join(gram): ids for gram, ids in owners.items() if len(ids) > 1} == {}
    assert len(owners) > 1000


def test_runs_of_four_words_hardly_come_again(pairs):
    found = [gram for pair in pairs for gram in grams(pair.words.joined(), 4)]

    assert len(set(found)) / len(found) >= 0.85


def test_no_opening_word_starts_many_ads(pairs):
    openings = Counter(words_of(pair.words.joined())[0] for pair in pairs)
    word, count = openings.most_common(1)[0]

    assert count / len(pairs) <= 0.04, word


def test_the_held_out_pairs_are_frozen(heldout):
    assert len(heldout) >= 150
    assert hashlib.sha256(HELDOUT.read_bytes()).hexdigest() == HELDOUT_SHA256


def test_no_held_out_family_is_trained_on(train, heldout):
    assert {pair.family.lower() for pair in train} & {pair.family.lower() for pair in heldout} == set()


def test_no_held_out_product_is_trained_on(train, heldout):
    def titles(pairs):
        return {" ".join(words_of(pair.product.title)) for pair in pairs}

    def descriptions(pairs):
        return {" ".join(words_of(pair.product.description)) for pair in pairs} - {""}

    assert titles(train) & titles(heldout) == set()
    assert descriptions(train) & descriptions(heldout) == set()


def test_no_eight_words_in_a_row_of_a_held_out_ad_are_trained_on(train, heldout):
    seen = {gram for pair in train for gram in grams(pair.words.joined(), 8)}
    leaked = {pair.id: gram for pair in heldout for gram in grams(pair.words.joined(), 8) if gram in seen}

    assert leaked == {}
    assert len(seen) > 1000
