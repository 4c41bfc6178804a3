"""
Measures of text: closeness to a reference, variety over many ads, words taken from the training ads.

Knows words alone: no product, no model, no file.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

MEMORISED_WORDS = 10
"""A run of this many words is counted as memorised; a shorter one may be a common turn of phrase."""
SELF_BLEU_TEXTS = 100
"""Texts compared with one another at most: 100 x 99 comparisons take seconds, and the mean is steady long before."""

_WORD = re.compile(r"[^\W_]+(?:['’.,][^\W_]+)*")


def words_of(text: str) -> tuple[str, ...]:
    """Lower-case words and numbers in order; "2.5" and "don't" stay whole, punctuation and # go."""
    return tuple(_WORD.findall(text.lower()))


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """
    Longest common subsequence of words as F1, 0 to 1, a text at a time (Lin, "ROUGE: A Package for Automatic
    Evaluation of Summaries", 2004), by rouge_score with its Porter stemmer.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    # Named, though it is the default: otherwise every scorer logs that it took the default.
    scorer = RougeScorer(["rougeL"], tokenizer=DefaultTokenizer(use_stemmer=True))
    pairs = zip(texts, references, strict=True)
    return [float(scorer.score(reference, text)["rougeL"].fmeasure) for text, reference in pairs]


def chrf(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """
    F-score of character n-grams up to 6, recall counted double, 0 to 1, a text at a time (Popović, "chrF: character
    n-gram F-score for automatic MT evaluation", WMT 2015), by sacrebleu.
    """
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    return [
        float(metric.sentence_score(text, [reference]).score) / 100
        for text, reference in zip(texts, references, strict=True)
    ]


def distinct_2(texts: Iterable[str]) -> float:
    """
    Different word pairs over all word pairs, 0 to 1 (Li et al., "A Diversity-Promoting Objective Function for Neural
    Conversation Models", NAACL 2016). Falls as texts are added: compare only over equally many. 0 where no text has two
    words.
    """
    found = [pair for text in texts for pair in _runs(words_of(text), 2)]
    return len(set(found)) / len(found) if found else 0.0


def self_bleu(texts: Sequence[str], *, seed: int = 0) -> float:
    """
    Mean BLEU-4 of each text against all others as its references, 0 to 1: 1 is the same ad again and again (Zhu et al.,
    "Texygen: A Benchmarking Platform for Text Generation Models", SIGIR 2018), by sacrebleu.

    Over a fixed draw of SELF_BLEU_TEXTS texts where there are more. Raises ValueError below two.
    """
    from sacrebleu.metrics.bleu import BLEU

    if len(texts) < 2:
        raise ValueError("self-BLEU needs two texts at least")
    drawn = list(texts)
    if len(drawn) > SELF_BLEU_TEXTS:
        drawn = random.Random(seed).sample(drawn, SELF_BLEU_TEXTS)
    metric = BLEU(effective_order=True)  # an ad of three words has no run of four
    scores = [metric.sentence_score(text, drawn[:place] + drawn[place + 1 :]).score for place, text in enumerate(drawn)]
    return sum(map(float, scores)) / len(scores) / 100


class TrainingText:
    """The words of the ads that a model learnt from, to be looked for in what it writes."""

    def __init__(self, ads: Iterable[str]) -> None:
        self._ads = [words_of(ad) for ad in ads]
        self._runs: dict[int, frozenset[tuple[str, ...]]] = {}

    def longest_shared_run(self, text: str) -> int:
        """Words of the longest run in `text` that stands, in this order and unbroken, in some training ad."""
        words, length = words_of(text), 0
        # A run of n is shared only where both of its runs of n - 1 are, so the search may stop at the first miss.
        while any(run in self._of_length(length + 1) for run in _runs(words, length + 1)):
            length += 1
        return length

    def memorised_share(self, texts: Iterable[str], length: int = MEMORISED_WORDS) -> float:
        """Share of all runs of `length` words that stand in some training ad; 0 where the texts are shorter."""
        runs = [run for text in texts for run in _runs(words_of(text), length)]
        return sum(run in self._of_length(length) for run in runs) / len(runs) if runs else 0.0

    def _of_length(self, length: int) -> frozenset[tuple[str, ...]]:
        if length not in self._runs:
            self._runs[length] = frozenset(run for ad in self._ads for run in _runs(ad, length))
        return self._runs[length]


def _runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
