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
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Tokenizer

from model.bundle import Bundle
from model.engine import PREFILL_TOKENS
from model.prompt import prompt_from_dict
from model.sampling import log_probabilities
from model.training.dataset import Example, encode
from model.training.pairs import Pair
from model.training.written import PROGRESS_ROWS, Lines, Say

Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Read:
    """How far a text has been read: keys and values by layer, and the logits [1, vocabulary] of the last token."""

    past: list[Floats]
    tokens: int = 0
    logits: Floats | None = None


class Reader:
    """A bundle's graph, fed given tokens. It returns the last position's logits only, so learnt tokens go in singly."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        config = json.loads((bundle.folder / "config.json").read_text(encoding="utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        path = str(bundle.folder / "model.onnx")
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        layers = range(int(config["num_hidden_layers"]))
        parts = [f"{layer}.{part}" for layer in layers for part in ("key", "value")]
        self._inputs = [f"past_key_values.{part}" for part in parts]
        self._outputs = ["logits", *(f"present.{part}" for part in parts)]
        self._empty = np.zeros((1, int(config["num_key_value_heads"]), 0, int(config["head_dim"])), np.float32)
        self._preamble: tuple[tuple[int, ...], _Read] = ((), self._fresh())

    def keep_preamble(self, ids: Sequence[int]) -> None:
        """Read `ids` once; a text that begins with them starts from there."""
        self._preamble = (tuple(ids), self._after(self._fresh(), ids))

    def surprise(self, example: Example) -> tuple[float, int]:
        """Negative log likelihood, in nats, summed over the learnt tokens, and their number."""
        kept, read = self._preamble
        if not kept or example.ids[: len(kept)] != kept:
            kept, read = (), self._fresh()
        total, count = 0.0, 0
        steps = list(zip(example.ids, example.learnt, strict=True))[len(kept) :]
        for learnt, run in groupby(steps, key=lambda step: step[1]):
            ids = [token for token, _ in run]
            if not learnt:
                read = self._after(read, ids)
                continue
            for token in ids:
                assert read.logits is not None  # a prompt stands before every answer
                total -= float(log_probabilities(read.logits, np.array([token], np.int64))[0])
                count += 1
                read = self._after(read, [token])
        return total, count

    def _fresh(self) -> _Read:
        return _Read([self._empty] * len(self._inputs))

    def _after(self, read: _Read, ids: Sequence[int]) -> _Read:
        for start in range(0, len(ids), PREFILL_TOKENS):
            piece = np.array([ids[start : start + PREFILL_TOKENS]], np.int64)
            end = read.tokens + piece.shape[1]
            feeds = {
                "input_ids": piece,
                "attention_mask": np.ones((1, end), np.int64),
                "position_ids": np.arange(read.tokens, end, dtype=np.int64)[None],
                **dict(zip(self._inputs, read.past, strict=True)),
            }
            logits, *past = self._session.run(self._outputs, feeds)
            read = _Read(past, end, logits[:, -1, :])
        return read


def perplexity(
    name: str, bundle: Bundle, pairs: Sequence[Pair], pairs_sha256: str, path: Path, say: Say, *, threads: int = 0
) -> float:
    """Over the reference ads of `pairs`, kept row by row in `path` as the ads are. Raises ValueError for no tokens."""
    lines = Lines(path, json.dumps([bundle.digest, pairs_sha256]))
    todo = [pair for pair in pairs if lines.get(pair.id) is None]
    if todo:
        prompt = prompt_from_dict(json.loads((bundle.folder / "prompt.json").read_text(encoding="utf-8")))
        tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
        reader = Reader(bundle, threads=threads)
        if prompt.preamble:
            reader.keep_preamble(tokenizer.encode(prompt.preamble, add_special_tokens=False).ids)
        started = time.perf_counter()
        for done, pair in enumerate(todo, start=1):
            total, count = reader.surprise(encode(pair, prompt, tokenizer))
            lines.add(pair.id, {"nats": total, "tokens": count})
            if done % PROGRESS_ROWS == 0 or done == len(todo):
                left = (time.perf_counter() - started) / done * (len(todo) - done)
                say(f"  {name}, perplexity: {done}/{len(todo)} references, {left:.0f} s left")
    found = [line for pair in pairs if (line := lines.get(pair.id)) is not None]
    tokens = sum(int(line["tokens"]) for line in found)
    if not tokens:
        raise ValueError("perplexity of nothing: the references hold no tokens")
    return math.exp(math.fsum(float(line["nats"]) for line in found) / tokens)
