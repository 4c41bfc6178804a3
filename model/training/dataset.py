"""
From pairs to token ids: which tokens are read, which are learnt, which pairs share a batch.

Segments a text exactly as the writer feeds it, so that training and serving see the same tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tokenizers import Tokenizer

from model.prompt import Prompt
from model.training.augment import swapped
from model.training.pairs import Pair

Item = TypeVar("Item")
BUCKET_BATCHES = 8
"""Batches are cut from runs of this many, sorted by length: little padding, and still a different order an epoch."""


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one pair; `learnt` marks those that the loss counts: contents and line ends, never labels."""

    ids: tuple[int, ...]
    learnt: tuple[bool, ...]


def encode(pair: Pair, prompt: Prompt, tokenizer: Tokenizer) -> Example:
    """The prompt and the answer of one pair as the model will meet them."""

    def ids_of(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    read = ids_of(prompt.preamble) if prompt.preamble else []
    read += ids_of(prompt.product(pair.product, pair.spec, pair.voice))
    ids, learnt = list(read), [False] * len(read)
    for label, content in prompt.answer_parts(pair.words, pair.spec):
        fed, written = ids_of(label), ids_of(content) + ids_of("\n")
        ids += fed + written
        learnt += [False] * len(fed) + [True] * len(written)
    return Example(tuple(ids), tuple(learnt))


def epoch_batches(
    pairs: Sequence[Pair],
    prompt: Prompt,
    tokenizer: Tokenizer,
    *,
    epoch: int,
    seed: int,
    batch_pairs: int,
    swap_share: float,
) -> list[list[Example]]:
    """One epoch's batches. The same arguments give the same batches: a resumed run finds its place by counting."""
    draw = random.Random(f"{seed}/{epoch}")
    shown = [swapped(pair, draw) if draw.random() < swap_share else pair for pair in pairs]
    examples = [encode(pair, prompt, tokenizer) for pair in shown]
    return shuffled_batches(examples, batch_pairs, draw, lambda example: len(example.ids))


def shuffled_batches(
    items: Sequence[Item], size: int, draw: random.Random, length: Callable[[Item], int]
) -> list[list[Item]]:
    """All items in batches of like length, in an order that `draw` alone decides."""
    shuffled = list(items)
    draw.shuffle(shuffled)
    batches = list(_bucketed(shuffled, size, length))
    draw.shuffle(batches)
    return batches


def split_by_family(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs; a family is wholly in one of them."""
    families = sorted({pair.family for pair in pairs})
    random.Random(seed).shuffle(families)
    held = set(families[: round(share * len(families))])
    return [pair for pair in pairs if pair.family not in held], [pair for pair in pairs if pair.family in held]


def _bucketed(items: Sequence[Item], size: int, length: Callable[[Item], int]) -> Iterator[list[Item]]:
    run = size * BUCKET_BATCHES
    for start in range(0, len(items), run):
        bucket = sorted(items[start : start + run], key=length)
        yield from (bucket[place : place + size] for place in range(0, len(bucket), size))
