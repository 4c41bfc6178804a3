"""
What written ads are worth: scores by row, channel and category, and measures of all of them together.

Knows no bundle and no file but the training ads; every writer is scored by the same code on the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.feedback_rules import LEARN_VALIDITY_MIN
from model.training import measures
from model.training.intervals import interval, paired_difference
from model.training.pairs import Pair
from model.training.relevance import Embedder
from model.training.written import Written
from model.validity import GROUNDING, STRUCTURAL

ROW_SCORES = (
    "validity", "valid", "grounded", "structural", "untouched", "relevance", "rouge_l", "chrf", "memorised_words",
    "makes_sense",
)  # fmt: skip
"""Means over rows; all but memorised_words lie in 0 to 1 (relevance in -1 to 1)."""
COMPARED = ("validity", "grounded", "rouge_l", "chrf")
"""On these a bundle has to beat every baseline."""
GROUP_ROWS_MIN = 5
"""Smaller categories are put together as OTHER: an interval over four rows says nothing."""
OTHER = "other"
UNNAMED = "(none)"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Instruments:
    """What scoring needs besides the ads: the training ads to look for, and the sentence embeddings."""

    training: measures.TrainingText
    embedder: Embedder


def score_writer(
    written: Sequence[Written], instruments: Instruments, sense: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    """One writer's part of scores.json: scores, groups, per_row, corpus, findings. Raises ValueError for no ads."""
    if not written:
        raise ValueError("nothing to score: no creatives")
    rows = _rows(written, instruments, sense or {})
    return {
        "scores": means(rows),
        "by_channel": grouped(rows, lambda row: str(row["channel"])),
        "by_category": grouped(rows, _category_group(rows)),
        "per_row": rows,
        "corpus": _corpus(written, instruments.training),
        "findings": dict(Counter(finding.kind for each in written for finding in each.findings).most_common()),
    }


def means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Every score that some row has, as mean and 95 % interval over those rows."""
    columns = {name: [float(row[name]) for row in rows if row[name] is not None] for name in ROW_SCORES}
    return {name: interval(column).as_json() for name, column in columns.items() if column}


def grouped(rows: Sequence[Row], group_of: Callable[[Row], str]) -> dict[str, dict[str, Any]]:
    """The means of each group, in the order of their names with OTHER last."""
    names = sorted({group_of(row) for row in rows}, key=lambda name: (name == OTHER, name))
    members = {name: [row for row in rows if group_of(row) == name] for name in names}
    return {name: means(found) for name, found in members.items()}


def differences(ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Paired difference of each score in COMPARED, ours less theirs, with its 95 % interval."""
    return {
        name: paired_difference(
            {row["id"]: row[name] for row in ours}, {row["id"]: row[name] for row in theirs}
        ).as_json()
        for name in COMPARED
    }


def category_of(pair: Pair) -> str:
    """The top level of the product's category."""
    return pair.product.category.partition(">")[0].strip() or UNNAMED


def _rows(written: Sequence[Written], instruments: Instruments, sense: Mapping[str, bool]) -> list[Row]:
    texts = [each.words.joined() for each in written]
    references = [each.pair.words.joined() for each in written]
    columns: dict[str, list[Any]] = {
        "validity": [each.validity for each in written],
        "valid": [float(each.validity >= LEARN_VALIDITY_MIN) for each in written],
        "grounded": [float(not _kinds(each) & GROUNDING) for each in written],
        "structural": [float(not _kinds(each) & STRUCTURAL) for each in written],
        "untouched": [float(not each.repairs) for each in written],
        "relevance": _rounded(instruments.embedder.cosines(texts, [each.pair.product.facts() for each in written])),
        "rouge_l": _rounded(measures.rouge_l(texts, references)),
        "chrf": _rounded(measures.chrf(texts, references)),
        "memorised_words": [instruments.training.longest_shared_run(text) for text in texts],
        "makes_sense": [float(sense[each.pair.id]) if each.pair.id in sense else None for each in written],
    }
    heads = [
        {"id": each.pair.id, "channel": each.pair.spec.name, "category": category_of(each.pair)} for each in written
    ]
    return [{**head, **{name: columns[name][place] for name in ROW_SCORES}} for place, head in enumerate(heads)]


def _corpus(written: Sequence[Written], training: measures.TrainingText) -> dict[str, float]:
    texts = [each.words.joined() for each in written]
    figures = {
        "distinct_2": measures.distinct_2(texts),
        "memorised_10gram_share": training.memorised_share(texts),
    }
    if len(texts) > 1:
        figures["self_bleu"] = measures.self_bleu(texts)
    if seconds := sum(each.seconds for each in written):
        figures["creatives_per_second"] = len(written) / seconds
    return {name: round(value, 4) for name, value in figures.items()}


def _category_group(rows: Sequence[Row]) -> Callable[[Row], str]:
    sizes = Counter(str(row["category"]) for row in rows)
    return lambda row: str(row["category"]) if sizes[str(row["category"])] >= GROUP_ROWS_MIN else OTHER


def _rounded(values: Sequence[float]) -> list[float]:
    """Six decimals: far below what a row's score means, and the file stays readable."""
    return [round(value, 6) for value in values]


def _kinds(written: Written) -> set[str]:
    return {finding.kind for finding in written.findings}
