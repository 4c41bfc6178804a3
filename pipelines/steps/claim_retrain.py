"""
Take up the retrain that waits; where none waits, make one if the curated pairs are others than the champion's.

Exit 0 with the retrain's id, or 3 where there is nothing to train for. The same caller asking again gets its own.

Example: adloom claim-retrain --by manual__2026-01-15T02:00:00+00:00
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from model.bundle import file_sha256
from model.registry import CHAMPION, is_empty, open_registry
from model.store import retrains
from model.store.retrains import NewRetrain, RetrainOpenError, RetrainRow
from model.store.tables import Database
from pipelines import datasets
from pipelines.retraining import RetrainRules, over_budget
from pipelines.retraining_facts import gather
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED, give, parser, say

BY = "by:"
"""Marks in a retrain's run_id that it is still who runs it, and no training run."""
JUDGED_MAX = 1000
"""Retrains looked back at: years of them."""
ABANDONED_AFTER = timedelta(hours=24)
"""Twice what a run of the DAG may take: whoever began so long ago was lost without a word."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("claim-retrain", __doc__)
    options.add_argument("--by", required=True, help="who runs it, the same at a second try: a DAG run's id")
    options.add_argument("--pairs", type=Path, help="curated pairs (default: ADLOOM_PAIRS, or the package's)")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    database = settings.open_database()
    row = _claimed(database, arguments.by)
    if row is None and (cause := _new_pairs(settings, database, arguments.pairs or settings.pairs)):
        _ask(database, cause)
        row = _claimed(database, arguments.by)
    if row is None:
        say("nothing to train for now")
        give({"outcome": "none", "retrain": None})
        return EXIT_REFUSED
    if not _is_ours(row, arguments.by):
        say(f"retrain {row.id} is running already; `adloom settle-retrain` ends one whose runner is gone")
        give({"outcome": "none", "retrain": None})
        return EXIT_REFUSED
    say(f"retrain {row.id}, asked for by {row.asked_by} because of {row.trigger}")
    give({"outcome": "claimed", "retrain": row.id, "trigger": row.trigger})
    return 0


def _is_ours(row: RetrainRow, by: str) -> bool:
    return row.state == "running" and row.run_id == f"{BY}{by}"


def _claimed(database: Database, by: str) -> RetrainRow | None:
    """The one that runs, whoever runs it; else the oldest that waits, ours from now on."""
    now = datetime.now(UTC)
    with database.begin() as connection:
        found = retrains.find_open(connection, TASK)
        if found is not None and found.state == "running" and not _is_ours(found, by) and _is_abandoned(found, now):
            why = f"nothing was heard of its runner for {ABANDONED_AFTER.total_seconds() / 3600:.0f} hours"
            retrains.finish(connection, found.id, "failed", at=now, why=why)
            say(f"retrain {found.id} is ended: {why}")
            found = retrains.find_open(connection, TASK)
        if found is not None and found.state == "waiting":
            # Where another claimer was faster, the row says who.
            retrains.start(connection, found.id, now, run_id=f"{BY}{by}")
            found = retrains.find(connection, found.id)
        return found


def _is_abandoned(row: RetrainRow, now: datetime) -> bool:
    return row.started_at is not None and now - row.started_at > ABANDONED_AFTER


def _new_pairs(settings: PipelineSettings, database: Database, pairs: Path) -> dict[str, str]:
    """The cause, where the champion learnt from other curated pairs; empty where not, or where that is unknown."""
    if is_empty(settings.registry):
        return {}
    champion = open_registry(settings.registry).aliased(CHAMPION)
    dataset = champion.tags.get("dataset", "") if champion else ""
    known = datasets.find(settings.open_objects(), dataset) if dataset else None
    before, now = str(known.manifest.get("curated_sha256", "")) if known else "", file_sha256(pairs)
    if not before or before == now:
        return {}
    cause = {"curated_before": before, "curated_now": now}
    return {} if _was_refused(database, cause) else cause


def _was_refused(database: Database, cause: dict[str, str]) -> bool:
    """What these pairs make was judged against this champion: asking every day anew would not change the answer."""
    with database.connect() as connection:
        judged = retrains.last_ended(connection, TASK, "refused", "dismissed", limit=JUDGED_MAX)
    return any(row.trigger == "schedule" and row.cause == cause for row in judged)


def _ask(database: Database, cause: dict[str, str]) -> None:
    """As a person's request: curated pairs were reviewed, so they pass the cooldown; the budget holds for them too."""
    now, rules = datetime.now(UTC), RetrainRules()
    try:
        with database.begin() as connection:
            facts = gather(connection, TASK, rules, now)
            if facts.spent >= rules.budget:
                say(f"the curated pairs are new; but {over_budget(facts, rules)}")
                return
            retrains.ask(connection, NewRetrain(TASK, "schedule", cause, "claim-retrain", now))
    except RetrainOpenError as error:
        say(f"retrain {error.row.id} came first")
