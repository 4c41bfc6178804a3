"""
Put the training data together: the curated pairs, and every accepted or edited ad that keeps the rules.

The dataset is cumulative and named by its content, so running twice makes nothing new. Feedback that goes in is marked
used, what cannot be learnt from is excluded with the reason; the hold-out share is never touched.

Example: adloom build-dataset --pairs model/data/pairs.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from model.bundle import file_sha256
from model.heldout import shipped_heldout
from model.store import creatives, feedback
from model.store.tables import Database
from pipelines import datasets
from pipelines.lessons import Lesson, lesson
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("build-dataset", __doc__)
    options.add_argument("--pairs", type=Path, help="curated pairs (default: ADLOOM_PAIRS, or the package's)")
    options.add_argument("--without-feedback", action="store_true", help="the curated pairs alone; marks nothing")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    pairs = arguments.pairs or settings.pairs
    database, objects = settings.open_database(), settings.open_objects()
    curated = [line for line in pairs.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not curated:
        raise ValueError(f"{pairs} holds no pairs")
    learnt, excluded = ([], []) if arguments.without_feedback else _lessons(database)
    lines = [*curated, *(each.line for each in sorted(learnt, key=lambda each: each.row.id))]
    manifest = {
        "task": TASK,
        "curated_sha256": file_sha256(pairs),
        "curated": len(curated),
        "feedback": sorted(each.row.id for each in learnt),
    }
    made, is_new = datasets.put(objects, lines, manifest)
    fresh, refused = _mark(database, made.digest, learnt, excluded)
    say(f"{len(curated)} curated pairs, {len(learnt)} from feedback ({fresh} new), {refused} excluded")
    give(
        {
            "outcome": "built" if is_new else "unchanged",
            "dataset": made.digest,
            "pairs": made.lines,
            "curated": len(curated),
            "feedback": len(learnt),
            "feedback_new": fresh,
            "excluded": refused,
        }
    )
    return 0


def _lessons(database: Database) -> tuple[list[Lesson], list[Lesson]]:
    """Those to learn from, of all time, and those that cannot be learnt from, or not any more."""
    learnt: list[Lesson] = []
    excluded: list[Lesson] = []
    held = shipped_heldout()
    with database.connect() as connection:
        for row in feedback.learnable(connection):
            found = creatives.find(connection, row.client, row.creative_id)
            each = lesson(row, found, held)
            (excluded if each.why else learnt).append(each)
    return learnt, excluded


def _mark(database: Database, digest: str, learnt: Sequence[Lesson], excluded: Sequence[Lesson]) -> tuple[int, int]:
    """Say in the rows what became of them; returns how many were put to use, and how many excluded, just now."""
    now = datetime.now(UTC)
    with database.begin() as connection:
        refused = sum(feedback.exclude(connection, [each.row], each.why, at=now) for each in excluded)
        return feedback.use(connection, [each.row for each in learnt], digest, at=now), refused
