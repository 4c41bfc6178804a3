"""
What the decision to retrain rests on, read from the database; the decision carried out there; and whether the last
retrains helped.

Knows no rule beyond which rows are looked at: the rules are `retraining`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store import drift_reports, retrains
from model.store.drift_reports import DriftReport
from model.store.retrains import NewRetrain, RetrainOpenError, RetrainRow
from model.store.tables import feedback
from pipelines.retraining import Decision, Facts, RetrainRules, Verdicts, decide, hurts_by_feedback

ASKED_BY = "adloom decide-retrain"
_REPORTS_READ = 200
"""Enough to find windows that do not overlap among those that somebody made by hand."""
_UNJUDGED_MAX = 10
_BEFORE_TIMES = 4


def gather(connection: Connection, task: str, rules: RetrainRules, now: datetime) -> Facts:
    """Everything that `decide` asks for, of one moment."""
    ended = retrains.last_ended(connection, task, "promoted", "refused", "failed")
    promoted = retrains.last_ended(connection, task, "promoted")
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spent = [row for row in retrains.since(connection, task, month) if not row.is_open and row.state != "dismissed"]
    recent = now - timedelta(days=rules.feedback_days)
    before = recent - _BEFORE_TIMES * timedelta(days=rules.feedback_days)
    oldest = now - timedelta(hours=rules.window_hours_max)
    if promoted and promoted[0].ended_at is not None:  # what was seen before it is what it was made for
        oldest = max(oldest, promoted[0].ended_at)
    reports = drift_reports.latest(connection, task, "online", _REPORTS_READ)
    return Facts(
        now=now,
        windows=_apart([row for row in reports if row.window_end > oldest and row.window_end <= now])[: rules.windows],
        feedback_usable=_usable(connection),
        feedback_now=_verdicts(connection, recent, now),
        feedback_before=_verdicts(connection, before, recent),
        open=retrains.find_open(connection, task),
        spent=len(spent),
        ended=ended[0] if ended else None,
        useless=retrains.useless_streak(connection, task),
    )


def settle(
    connection: Connection, task: str, rules: RetrainRules, now: datetime, asked: str = "", *, force: bool = False
) -> tuple[Decision, str | None]:
    """The decision of this moment, carried out, and the retrain that is to run: one transaction, or nothing."""
    decision = decide(gather(connection, task, rules, now), rules, asked, force=force)
    return _carried_out(connection, task, decision, now)


def judge_promoted(connection: Connection, task: str, rules: RetrainRules, now: datetime) -> list[tuple[str, bool]]:
    """
    Whether each promoted retrain helped, by the first window that its bundle wrote most of; ids and answers.

    Those without such a window wait for it.
    """
    rows = [row for row in retrains.last_ended(connection, task, "promoted", limit=_UNJUDGED_MAX) if row.helped is None]
    judged = []
    for row in reversed(rows):
        report = _first_window_of(connection, row)
        if report is None or row.ended_at is None:
            continue
        since = _verdicts(connection, row.ended_at, now)
        before = _verdicts(connection, row.ended_at - _BEFORE_TIMES * timedelta(days=rules.feedback_days), row.ended_at)
        helped = not report.hurts and not hurts_by_feedback(since, before, rules)
        after = {
            "report": report.id,
            "validity": report.columns["validity"],
            "feedback_bad_share": round(since.share, 4),
        }
        retrains.judge_help(connection, row.id, helped, after)
        judged.append((row.id, helped))
    return judged


def _carried_out(connection: Connection, task: str, decision: Decision, now: datetime) -> tuple[Decision, str | None]:
    """The decision as it stands, and the retrain that is to run: somebody else may have asked in this moment."""
    if decision.is_dismissal and decision.retrain is not None:
        retrains.finish(connection, decision.retrain, "dismissed", at=now, why=decision.why)
        return decision, None
    if decision.word != "retrain" or decision.trigger is None:
        return decision, decision.retrain if decision.word == "retrain" else None
    try:
        row = retrains.ask(connection, NewRetrain(task, decision.trigger, decision.cause or {}, ASKED_BY, now))
    except RetrainOpenError as error:
        if error.row.state == "waiting":
            return Decision("retrain", str(error), retrain=error.row.id), error.row.id
        return Decision("no", str(error), retrain=error.row.id), None
    return decision, row.id


def _first_window_of(connection: Connection, row: RetrainRow) -> DriftReport | None:
    if row.ended_at is None:
        return None
    for report in drift_reports.since(connection, row.task, "online", row.ended_at):
        bundles: dict[str, int] = report.columns["bundles"]
        is_its = not row.bundle_digest or 2 * bundles.get(row.bundle_digest, 0) > sum(bundles.values())
        if is_its and report.verdict != "too_few":
            return report
    return None


def _apart(reports: Sequence[DriftReport]) -> list[DriftReport]:
    """The newest of each time: two windows of the same hour are one witness."""
    found: list[DriftReport] = []
    for report in reports:
        if not found or report.window_end <= found[-1].window_start:
            found.append(report)
    return found


def _usable(connection: Connection) -> int:
    """Feedback that a training set would take: it waits, it is not held out, and it says how an ad should be."""
    query = sa.select(sa.func.count()).select_from(feedback)
    query = query.where(
        feedback.c.state == "waiting", feedback.c.holdout.is_(False), feedback.c.verdict.in_(("accept", "edit"))
    )
    return connection.execute(query).scalar_one()


def _verdicts(connection: Connection, start: datetime, end: datetime) -> Verdicts:
    query = sa.select(feedback.c.verdict, sa.func.count().label("number")).where(
        feedback.c.created_at >= start, feedback.c.created_at < end
    )
    counts = {row.verdict: row.number for row in connection.execute(query.group_by(feedback.c.verdict))}
    return Verdicts(sum(counts.values()), counts.get("reject", 0) + counts.get("edit", 0))
