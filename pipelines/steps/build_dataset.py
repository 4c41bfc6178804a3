"""
Put the training data together: the curated pairs, accepted or edited ads that keep the rules, and pairs sent in bulk.

The dataset is cumulative and named by its content, so running twice makes nothing new. Feedback and sets of pairs that
go in are marked used, what cannot be learnt from is excluded with the reason; the hold-out share is never touched.

Example: adloom build-dataset --pairs model/data/pairs.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from model.bundle import file_sha256
from model.heldout import HeldOut, shipped_heldout
from model.store import creatives, feedback, pair_sets
from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines import datasets
from pipelines.lessons import Lesson, lesson
from pipelines.set_lessons import NOTHING_LEFT, SHARE_OF_CURATED_MAX, SetLesson, pair_keys, set_lessons
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("build-dataset", __doc__)
    options.add_argument("--pairs", type=Path, help="curated pairs (default: ADLOOM_PAIRS, or the package's)")
    alone = "the curated pairs alone, without sets too; marks nothing"
    options.add_argument("--without-feedback", action="store_true", help=alone)
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    pairs = arguments.pairs or settings.pairs
    database, objects = settings.open_database(), settings.open_objects()
    curated = [line for line in pairs.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not curated:
        raise ValueError(f"{pairs} holds no pairs")
    held = shipped_heldout()
    learnt, excluded = ([], []) if arguments.without_feedback else _lessons(database, held)
    # By what was judged: the ids of verdicts are drawn, and training would follow their order.
    lines = [*curated, *(each.line for each in sorted(learnt, key=lambda each: (each.row.creative_id, each.row.id)))]
    sets = [] if arguments.without_feedback else _set_lessons(database, objects, held, lines, len(curated))
    sent = [line for each in sets for line in each.lines]
    manifest = {
        "task": TASK,
        "curated_sha256": file_sha256(pairs),
        "curated": len(curated),
        "feedback": sorted(each.row.id for each in learnt),
        "sets": sorted(each.row.id for each in sets if each.lines),
        "set_pairs": len(sent),
    }
    made, is_new = datasets.put(objects, [*lines, *sent], manifest)
    marked = _mark(database, made.digest, learnt, excluded, sets)
    say(f"{len(curated)} curated pairs; {len(learnt)} from feedback, {marked.feedback} new, {marked.excluded} excluded")
    say(f"{len(sent)} pairs sent in bulk, {marked.sets} sets new, {marked.dismissed} dismissed")
    give(
        {
            "outcome": "built" if is_new else "unchanged",
            "dataset": made.digest,
            "pairs": made.lines,
            "curated": len(curated),
            "feedback": len(learnt),
            "feedback_new": marked.feedback,
            "excluded": marked.excluded,
            "set_pairs": len(sent),
            "sets_new": marked.sets,
            "sets_dismissed": marked.dismissed,
        }
    )
    return 0


def _lessons(database: Database, held: HeldOut) -> tuple[list[Lesson], list[Lesson]]:
    """Those to learn from, of all time, and those that cannot be learnt from, or not any more."""
    learnt: list[Lesson] = []
    excluded: list[Lesson] = []
    with database.connect() as connection:
        for row in feedback.learnable(connection):
            found = creatives.find(connection, row.client, row.creative_id)
            each = lesson(row, found, held)
            (excluded if each.why else learnt).append(each)
    return learnt, excluded


def _set_lessons(
    database: Database, objects: ObjectStore, held: HeldOut, lines: Sequence[str], curated: int
) -> list[SetLesson]:
    """Of every set that waits or was used before; what `lines` teach already is not taught again."""
    with database.connect() as connection:
        rows = pair_sets.learnable(connection)
    if not rows:
        return []
    return set_lessons(rows, objects, held, pair_keys(lines), round(SHARE_OF_CURATED_MAX * curated))


@dataclass(frozen=True, slots=True)
class _Marked:
    """How many were put to use, or will never be, just now."""

    feedback: int
    excluded: int
    sets: int
    dismissed: int


def _mark(
    database: Database, digest: str, learnt: Sequence[Lesson], excluded: Sequence[Lesson], sets: Sequence[SetLesson]
) -> _Marked:
    """Say in the rows what became of them, in one transaction: feedback and sets of one dataset are marked together."""
    now = datetime.now(UTC)
    with database.begin() as connection:
        refused = sum(feedback.exclude(connection, [each.row], each.why, at=now) for each in excluded)
        used = sum(
            pair_sets.use(connection, each.row.id, digest, learnt=len(each.lines), why=each.why, at=now)
            for each in sets
            if each.lines
        )
        # A set that there was no room for waits on.
        left = [each for each in sets if each.is_whole and not each.lines]
        dismissed = sum(pair_sets.dismiss(connection, each.row.id, NOTHING_LEFT) for each in left)
        fresh = feedback.use(connection, [each.row for each in learnt], digest, at=now)
        return _Marked(fresh, refused, used, dismissed)
