"""
Choose the next token of every row at once, reproducibly.

Knows nothing of the network: logits in, ids out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

FOLDS = 64
"""A vocabulary of 49,152 is searched as 64 rows of 768: one pass of maxima instead of a partition of everything."""
FOLDS_COLUMNS_MIN = 128


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding settings, part of every passport. Temperature 0 is greedy."""

    temperature: float = 0.4
    top_k: int = 40
    """Candidates kept before top_p; bounds the cost of a step."""
    top_p: float = 0.9
    presence_penalty: float = 0.0
    """Taken from a logit once for a token that the row has written before."""


def log_probabilities(logits: Floats, ids: npt.NDArray[np.int64]) -> Floats:
    """Natural logarithm of what the network itself gives each row's id, before temperature and penalties: [rows]."""
    top = logits.max(axis=-1)
    mass = np.log(np.exp(logits - top[:, None]).sum(axis=-1)) + top
    chosen: Floats = np.take_along_axis(logits, ids[:, None], axis=-1)[:, 0] - mass
    return chosen


def sample(
    logits: Floats,
    sampling: Sampling,
    *,
    streams: Sequence[tuple[int, int, int]],
    biases: Sequence[Floats | None] = (),
    seen: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """
    Draw one id a row from `logits` [rows, vocabulary].

    `streams` holds (seed, row, step) of each: all that its randomness hangs on, so neither the batch nor its order
    changes it. Drawing is by the Gumbel-max trick: the argmax of logit / temperature + Gumbel noise is a draw from the
    softmax. `biases` are added, one a row; `seen` marks the tokens that each row has sampled before, shape of `logits`.
    """
    scores = logits
    if any(bias is not None for bias in biases):
        scores = logits.copy()
        for row, bias in enumerate(biases):
            if bias is not None:
                scores[row] += bias
    if seen is not None and sampling.presence_penalty:
        scores = scores - sampling.presence_penalty * seen
    if sampling.temperature == 0:
        greedy: npt.NDArray[np.int64] = scores.argmax(axis=-1)
        return greedy
    count = min(sampling.top_k, scores.shape[-1])
    top = _largest(scores, count)
    top.sort(axis=-1)  # argpartition leaves them in no stated order; noise must meet the same id every time
    scaled = np.take_along_axis(scores, top, axis=-1) / sampling.temperature
    scaled = np.where(_in_nucleus(scaled, sampling.top_p), scaled, -np.inf)
    noise = np.stack([_gumbel(*stream, count) for stream in streams])
    choice = (scaled + noise).argmax(axis=-1)
    drawn: npt.NDArray[np.int64] = np.take_along_axis(top, choice[:, None], axis=-1)[:, 0]
    return drawn


def _largest(scores: Floats, count: int) -> npt.NDArray[np.intp]:
    """
    Places of the `count` largest of each row, in any order.

    Of a long row only the columns with the largest maxima are partitioned: laid out FOLDS deep, every one of the
    `count` largest stands in one of the `count` columns whose maximum is largest.
    """
    rows, length = scores.shape
    if length % FOLDS or length < FOLDS * FOLDS_COLUMNS_MIN or count * FOLDS >= length:
        return np.argpartition(scores, -count, axis=-1)[:, -count:]
    width = length // FOLDS
    peaks = scores.reshape(rows, FOLDS, width).max(axis=1)
    columns = np.argpartition(peaks, -count, axis=-1)[:, -count:]
    places = (columns[:, None, :] + width * np.arange(FOLDS)[None, :, None]).reshape(rows, -1)
    found = np.argpartition(np.take_along_axis(scores, places, axis=-1), -count, axis=-1)[:, -count:]
    return np.take_along_axis(places, found, axis=-1)


def _in_nucleus(scaled: Floats, top_p: float) -> npt.NDArray[np.bool_]:
    """The fewest most likely tokens whose mass reaches top_p (Holtzman et al., arXiv 1904.09751), at least one."""
    order = np.argsort(-scaled, axis=-1, kind="stable")
    ranked = np.take_along_axis(scaled, order, axis=-1)
    mass = np.exp(ranked - ranked[:, :1])
    mass /= mass.sum(axis=-1, keepdims=True)
    before = np.cumsum(mass, axis=-1) - mass
    kept = np.empty_like(before, dtype=np.bool_)
    np.put_along_axis(kept, order, before < top_p, axis=-1)
    return kept


def _gumbel(seed: int, row: int, step: int, count: int) -> Floats:
    # Philox is counter-based: any (row, step) is reached without drawing those before it.
    generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, row, step]))
    return generator.gumbel(size=count).astype(np.float32)
