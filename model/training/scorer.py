"""
Learn from preferences between two ads how `write` ranks its candidates: the weights in model/data/ranking.json.

Logistic regression on the difference of the two ads' features, judged on products that it did not see.
Example: adloom scorer --preferences model/data/preferences.jsonl --out model/data/ranking.json
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import file_sha256
from model.ranking import FEATURES, FORM, features, row_text
from model.training.intervals import Score, interval
from model.training.pairs import read_pairs
from model.training.preference import CHOSEN_BY, Preference, PreferencesError, read_preferences

DATA = Path(__file__).parents[1] / "data"
PREFERENCES = DATA / "preferences.jsonl"
PAIRS = DATA / "pairs.jsonl"
RANKING = DATA / "ranking.json"
FOLDS = 10
L2 = 1.0
"""Penalty on squared standardised weights; against hundreds of preferences it only keeps them finite."""
JUDGED_PRODUCTS_MIN = 20
"""An accuracy over fewer products is not told: its interval would promise too much."""
NEWTON_STEPS_MAX = 50
"""The loss is convex and smooth: six to eight steps are usual."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """A fit, in the order of FEATURES."""

    standardised: Floats
    """Change of the log-odds per standard deviation of the feature."""
    scales: Floats
    """Standard deviation of each feature over all ads; 1 where it never varies."""

    def margins(self, differences: Floats) -> Floats:
        """How much higher each chosen ad scores than its rejected one, in log-odds."""
        return differences @ (self.standardised / self.scales)


def measure(preferences: Sequence[Preference]) -> tuple[Floats, Floats]:
    """Features of the chosen and of the rejected ads, each of shape [preferences, features]."""
    rows = [row_text(each.pair.product) for each in preferences]
    chosen = [features(row, each.chosen) for row, each in zip(rows, preferences, strict=True)]
    rejected = [features(row, each.rejected) for row, each in zip(rows, preferences, strict=True)]
    return np.array(chosen, np.float64), np.array(rejected, np.float64)


def fit(chosen: Floats, rejected: Floats) -> Weights:
    """Most likely weights under the penalty, by Newton's method; no intercept, since the order of two ads is free."""
    scales = np.concatenate([chosen, rejected]).std(axis=0)
    scales[scales == 0] = 1.0
    differences = (chosen - rejected) / scales
    weights = np.zeros(differences.shape[1])
    for _ in range(NEWTON_STEPS_MAX):
        right = 1 / (1 + np.exp(-differences @ weights))
        gradient = differences.T @ (1 - right) - L2 * weights
        curvature = (differences.T * (right * (1 - right))) @ differences + L2 * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-9:
            return Weights(weights, scales)
    raise PreferencesError("the weights do not settle; look for preferences that contradict one another")


def unseen_margins(preferences: Sequence[Preference], chosen: Floats, rejected: Floats, seed: int = 0) -> Floats:
    """Margin of each preference under weights learnt without its product, in FOLDS parts of the products."""
    products = sorted({each.pair.id for each in preferences})
    if len(products) < FOLDS:
        raise PreferencesError(f"{len(products)} products are too few to learn from; {FOLDS} are needed at least")
    shuffled = np.random.default_rng(seed).permutation(len(products))
    fold_of = {product: int(place) % FOLDS for product, place in zip(products, shuffled, strict=True)}
    folds = np.array([fold_of[each.pair.id] for each in preferences])
    margins = np.zeros(len(preferences))
    for fold in range(FOLDS):
        unseen = folds == fold
        weights = fit(chosen[~unseen], rejected[~unseen])
        margins[unseen] = weights.margins(chosen[unseen] - rejected[unseen])
    return margins


def accuracy(preferences: Sequence[Preference], margins: Floats) -> Score:
    """
    Share of preferences whose chosen ad scores higher, a tie counting half: mean over products, each counting once.

    The interval is over products too, since two preferences for one product are not independent.
    """
    right: dict[str, list[float]] = defaultdict(list)
    for each, margin in zip(preferences, margins, strict=True):
        right[each.pair.id].append((float(np.sign(margin)) + 1) / 2)
    return interval([sum(found) / len(found) for found in right.values()])


def judge(preferences: Sequence[Preference], orders: Mapping[str, Floats]) -> dict[str, dict[str, Any]]:
    """Accuracy of each order over all preferences, and over those of each kind in CHOSEN_BY that has enough."""
    judged: dict[str, dict[str, Any]] = {}
    for kind in ("all", *CHOSEN_BY):
        places = [place for place, each in enumerate(preferences) if kind in ("all", each.chosen_by)]
        kept = [preferences[place] for place in places]
        judged[kind] = {"preferences": len(kept), "products": len({each.pair.id for each in kept})}
        if kind == "all" or judged[kind]["products"] >= JUDGED_PRODUCTS_MIN:
            judged[kind] |= {name: accuracy(kept, margins[places]).as_json() for name, margins in orders.items()}
    return judged


def learn(preferences_path: Path, pairs_path: Path) -> dict[str, Any]:
    """What ranking.json holds. Raises PreferencesError for a file that cannot be learnt from."""
    preferences = read_preferences(preferences_path, read_pairs(pairs_path))
    chosen, rejected = measure(preferences)
    weights = fit(chosen, rejected)
    differences = chosen - rejected
    orders = {
        "learnt": unseen_margins(preferences, chosen, rejected),
        "novelty alone": -differences[:, FEATURES.index("novelty")],
        "joined alone": differences[:, FEATURES.index("joined")],
    }
    learnt = zip(FEATURES, weights.standardised, weights.scales, strict=True)
    return {
        "form": FORM,
        "preferences_sha256": file_sha256(preferences_path),
        "features": {
            name: {"weight": round(float(weight), 4), "scale": round(float(scale), 6)} for name, weight, scale in learnt
        },
        "accuracy": judge(preferences, orders),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    table = learn(arguments.preferences, arguments.pairs)
    fresh = arguments.out.with_name(f"{arguments.out.name}.tmp")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    fresh.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, arguments.out)  # noqa: PTH105 - whole or not at all
    print("\n".join(_report(table)))
    print(f"weights in {arguments.out}")
    return 0


def _report(table: Mapping[str, Any]) -> list[str]:
    lines = ["feature      weight per standard deviation, in log-odds"]
    lines += [f"{name:12} {entry['weight']:+.2f}" for name, entry in table["features"].items()]
    lines.append("right order  on products that the weights were not learnt from, 95 % interval")
    for kind, found in table["accuracy"].items():
        scores = [(name, score) for name, score in found.items() if isinstance(score, dict)]
        few = "" if scores else ": too few to judge by"
        lines.append(f"{kind}: {found['preferences']} preferences over {found['products']} products{few}")
        lines += [f"  {name:14} {s['mean']:.3f} ({s['low']:.3f} to {s['high']:.3f})" for name, s in scores]
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom scorer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--preferences", type=Path, default=PREFERENCES, help="JSON Lines of chosen and rejected ads (%(default)s)"
    )
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="training pairs with the products (%(default)s)")
    parser.add_argument("--out", type=Path, default=RANKING, help="where the weights go (%(default)s)")
    return parser
