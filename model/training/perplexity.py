"""
Perplexity of reference ads under a bundle: how surprised the quantized graph itself is by the words that people wrote.

exp of the mean negative log likelihood of the learnt tokens (contents and line ends, never labels or prompt), after
the bundle's own prompt; the same tokens for every prompt, so writers with one tokenizer can be compared.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from model.bundle import Bundle
from model.decoder import Decoder
from model.prompt import prompt_from_dict
from model.sampling import log_probabilities
from model.training.dataset import Example, encode
from model.training.pairs import Pair
from model.training.written import PROGRESS_ROWS, Lines, Say


def surprise(decoder: Decoder, example: Example) -> tuple[float, int]:
    """
    Negative log likelihood, in nats, summed over the learnt tokens, and their number.

    The graph returns the last position's logits only, so learnt tokens go in singly.
    """
    total, count = 0.0, 0
    logits = np.empty((1, 0), np.float32)
    steps = list(zip(example.ids, example.learnt, strict=True))[decoder.begin(example.ids) :]
    for learnt, run in groupby(steps, key=lambda step: step[1]):
        ids = [token for token, _ in run]
        if not learnt:
            logits = decoder.read(decoder.spare, ids)[None]
            continue
        for token in ids:
            total -= float(log_probabilities(logits, np.array([token], np.int64))[0])
            count += 1
            logits = decoder.read(decoder.spare, [token])[None]
    return total, count


def perplexity(
    name: str, bundle: Bundle, pairs: Sequence[Pair], pairs_sha256: str, path: Path, say: Say, *, threads: int = 0
) -> float:
    """Over the reference ads of `pairs`, kept row by row in `path` as the ads are. Raises ValueError for no tokens."""
    lines = Lines(path, json.dumps([bundle.digest, pairs_sha256]))
    todo = [pair for pair in pairs if lines.get(pair.id) is None]
    if todo:
        prompt = prompt_from_dict(json.loads((bundle.folder / "prompt.json").read_text(encoding="utf-8")))
        tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
        decoder = Decoder(bundle.folder, threads=threads, rows_max=1)
        if prompt.preamble:
            decoder.keep_prefix(tokenizer.encode(prompt.preamble, add_special_tokens=False).ids)
        started = time.perf_counter()
        for done, pair in enumerate(todo, start=1):
            total, count = surprise(decoder, encode(pair, prompt, tokenizer))
            lines.add(pair.id, {"nats": total, "tokens": count})
            if done % PROGRESS_ROWS == 0 or done == len(todo):
                left = (time.perf_counter() - started) / done * (len(todo) - done)
                say(f"  {name}, perplexity: {done}/{len(todo)} references, {left:.0f} s left")
    found = [line for pair in pairs if (line := lines.get(pair.id)) is not None]
    tokens = sum(int(line["tokens"]) for line in found)
    if not tokens:
        raise ValueError("perplexity of nothing: the references hold no tokens")
    return math.exp(math.fsum(float(line["nats"]) for line in found) / tokens)
