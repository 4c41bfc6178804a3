"""
Texts as vectors of hashed trigrams of bytes, thousands at once.

Stands in for a sentence encoder where a million texts have a minute: it sees other words and other subjects, and no
paraphrase.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.drift.columns import Floats

BUCKETS = 256
"""Two texts of 300 bytes share about as many buckets by chance as by words in common below this."""
_END = b"\n\n"
"""Two bytes between texts, so that no trigram reaches from one into the next."""
_HASH, _SHIFT = np.uint32(2654435761), np.uint32(24)
"""Knuth's multiplicative hashing: the golden ratio of 2^32, and its 8 highest bits."""


def digits_and_trigrams(texts: Sequence[str]) -> tuple[NDArray[np.int64], Floats]:
    """Digits of each text, and a vector of length 1 for each: trigrams by bucket, damped by their square root."""
    encoded = [text.encode(errors="replace") + _END for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    digits = np.add.reduceat((data - np.uint8(ord("0")) < 10).astype(np.int64), starts)
    # A trigram belongs to the text of its last byte; the first text has something before it as the others have.
    rows = np.repeat(np.arange(len(encoded)) * BUCKETS, lengths)
    wide = np.concatenate((np.frombuffer(_END, np.uint8), data)).astype(np.uint32)
    codes = (wide[:-2] << np.uint32(16) | wide[1:-1] << np.uint32(8) | wide[2:]) * _HASH >> _SHIFT
    counts = np.bincount(rows + codes, minlength=len(encoded) * BUCKETS).reshape(-1, BUCKETS)
    vectors = np.sqrt(counts.astype(np.float32))
    return digits, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def distances(vectors: Floats, centroid: Floats) -> Floats:
    """1 - cosine of each to a vector of length 1."""
    return (1 - vectors @ centroid).astype(np.float32)
