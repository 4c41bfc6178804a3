"""What the model is trained on is, token for token, what the writer feeds and what it hopes to get back."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from model.prompt import VOICES, few_shot_prompt, tuned_prompt
from model.training.dataset import BUCKET_BATCHES, encode, epoch_batches, split_by_family
from model.training.pairs import read_pairs
from model.training.tiny import tiny_tokenizer
from model.writer import open_writer

PAIRS = Path(__file__).parents[3] / "model/data/pairs.jsonl"


class FedError(Exception):
    """Carries what the writer was about to feed."""


class ListeningEngine:
    def generate(self, prompt, slots, **_):
        raise FedError(prompt, slots)


@pytest.fixture(scope="module")
def pairs():
    """Every channel and voice is among them."""
    return read_pairs(PAIRS)[:60]


@pytest.fixture(scope="module", params=["tiny_bundle", "bundle"])
def writer(request, tiny_bundle):
    """A real writer, listened to where it hands over to the engine; with SmolLM2's tokenizer if its bundle is built."""
    writer = open_writer(tiny_bundle, threads=1)
    writer._tokenizer = Tokenizer.from_file(str(request.getfixturevalue(request.param) / "tokenizer.json"))
    writer._digit_tokens = []  # the bias is the engine's, and it is not asked
    writer._engine = ListeningEngine()
    return writer


@pytest.mark.parametrize("prompt", [tuned_prompt(), few_shot_prompt(1)], ids=lambda prompt: prompt.version)
def test_a_pair_is_cut_into_the_segments_that_the_writer_feeds_and_generates(prompt, writer, pairs):
    writer._prompt = prompt
    assert {pair.voice for pair in pairs} == set(VOICES)
    for pair in pairs:
        with pytest.raises(FedError) as caught:
            writer.write(pair.product, pair.spec, voice=pair.voice)
        fed, slots = caught.value.args
        contents = [content for _, content in prompt.answer_parts(pair.words, pair.spec)]
        served = list(fed)
        for slot, content in zip(slots, contents, strict=True):
            served += [*slot.fed, *writer._encode(content)]
        served += writer._encode("\n")

        assert list(encode(pair, prompt, writer._tokenizer).ids) == served


def test_a_line_break_and_a_label_never_share_a_token(writer):
    for prompt in (tuned_prompt(), few_shot_prompt(1)):
        for field in prompt.labels:
            label = prompt.label(field, first=True)

            assert writer._encode(prompt.label(field, first=False)) == writer._encode("\n") + writer._encode(label)


def test_a_stop_token_ends_a_field_in_training_as_in_serving(writer):
    # The engine stops at any token that holds a line break; training must show it the one that stands for it alone.
    assert [writer._tokenizer.decode([token]) for token in writer._encode("\n")] == ["\n"]


def test_only_contents_and_line_ends_are_learnt(writer, pairs):
    prompt = tuned_prompt()
    for pair in pairs:
        example = encode(pair, prompt, writer._tokenizer)
        runs = [
            (learnt, writer._tokenizer.decode([token for _, token in run]))
            for learnt, run in itertools.groupby(
                zip(example.learnt, example.ids, strict=True), key=lambda marked: marked[0]
            )
        ]
        parts = prompt.answer_parts(pair.words, pair.spec)
        shown = prompt.product(pair.product, pair.spec, pair.voice)

        assert len(example.ids) == len(example.learnt)
        assert [text for learnt, text in runs if learnt] == [content + "\n" for _, content in parts]
        assert [text for learnt, text in runs if not learnt] == [
            shown + parts[0][0],
            *(label for label, _ in parts[1:]),
        ]


def batches(pairs, epoch=0, seed=1, batch_pairs=4, swap_share=0.5):
    return epoch_batches(
        pairs,
        tuned_prompt(),
        tiny_tokenizer(),
        epoch=epoch,
        seed=seed,
        batch_pairs=batch_pairs,
        swap_share=swap_share,
    )


def test_an_epochs_batches_follow_from_seed_and_epoch_alone(pairs):
    first = batches(pairs, epoch=1, seed=3)

    assert batches(pairs, epoch=1, seed=3) == first
    assert batches(pairs, epoch=2, seed=3) != first
    assert batches(pairs, epoch=1, seed=4) != first


@pytest.mark.parametrize(("count", "sizes"), [(8, {4: 2}), (9, {4: 2, 1: 1}), (3, {3: 1}), (60, {4: 15})])
def test_every_pair_is_shown_once_an_epoch(count, sizes, pairs):
    shown = batches(pairs[:count], swap_share=0)
    expected = Counter(encode(pair, tuned_prompt(), tiny_tokenizer()) for pair in pairs[:count])

    assert Counter(example for batch in shown for example in batch) == expected
    assert Counter(map(len, shown)) == sizes


def test_swapping_starts_at_none_and_ends_at_all_that_can_be(pairs):
    as_written = {encode(pair, tuned_prompt(), tiny_tokenizer()) for pair in pairs}

    def kept(share):
        return sum(example in as_written for batch in batches(pairs, swap_share=share) for example in batch)

    assert kept(0) == len(pairs)
    assert kept(1) < kept(0.5) < len(pairs)


def test_a_swap_is_drawn_anew_each_epoch(pairs):
    first, second = ({x for batch in batches(pairs, epoch=n, swap_share=1) for x in batch} for n in (0, 1))

    assert first != second


def test_batches_hold_pairs_of_like_length(pairs):
    def padding(shown):
        lengths = [[len(example.ids) for example in batch] for batch in shown]
        return sum(max(batch) * len(batch) - sum(batch) for batch in lengths)

    examples = [encode(pair, tuned_prompt(), tiny_tokenizer()) for pair in pairs[: 4 * BUCKET_BATCHES]]
    unsorted = [examples[place : place + 4] for place in range(0, len(examples), 4)]

    assert padding(batches(pairs[: 4 * BUCKET_BATCHES], swap_share=0)) < padding(unsorted) / 2


def test_a_family_is_never_split(pairs):
    kin = [replace(pair, family=f"family {place % 20}") for place, pair in enumerate(pairs)]
    train, held = split_by_family(kin, 0.25, seed=1)

    assert {pair.family for pair in train}.isdisjoint(pair.family for pair in held)
    assert len({pair.family for pair in held}) == 5
    assert sorted(pair.id for pair in train + held) == sorted(pair.id for pair in kin)


def test_the_split_follows_from_the_seed_not_from_the_order_of_the_file(pairs):
    _, held = split_by_family(pairs, 0.25, seed=1)
    _, backwards = split_by_family(pairs[::-1], 0.25, seed=1)
    _, other = split_by_family(pairs, 0.25, seed=2)

    assert {pair.id for pair in held} == {pair.id for pair in backwards}
    assert {pair.id for pair in held} != {pair.id for pair in other}


@pytest.mark.parametrize("share", [0, 0.001])
def test_a_share_below_half_a_family_holds_nothing_back(share, pairs):
    train, held = split_by_family(pairs, share, seed=1)

    assert (len(train), held) == (len(pairs), [])
