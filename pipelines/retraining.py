"""
Whether to retrain: the one authority, as a function of facts.

Knows no database; `retraining_facts` reads what it asks for. Drift that does not hurt is no reason, and what did not
help twice is left to a person.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.store.drift_reports import DriftReport
from model.store.retrains import RetrainRow, Trigger

Word = Literal["retrain", "no", "person"]


class RetrainRules(BaseSettings):
    """Each field is the variable ADLOOM_RETRAIN_<FIELD>, and a flag of `adloom decide-retrain`."""

    model_config = SettingsConfigDict(env_prefix="ADLOOM_RETRAIN_", frozen=True, extra="forbid")

    windows: int = Field(default=3, ge=1, le=24)
    """The newest so many windows are looked at."""

    windows_min: int = Field(default=2, ge=1, le=24)
    """So many of them have to drift, and so many to hurt: one odd hour is an odd hour."""

    window_hours_max: float = Field(default=26.0, gt=0)
    """Older windows say nothing of today; a day and two hours, so that daily windows do."""

    feedback_min: int = Field(default=50, ge=1)
    """Accepted or edited ads that nobody has learned from: a thirtieth of the curated pairs, the least that shows."""

    feedback_days: float = Field(default=7.0, gt=0)
    """Verdicts of so many days are compared with those of the four times as many before."""

    feedback_verdicts_min: int = Field(default=30, ge=1)
    """On either side of that comparison: fewer have a standard error above 0.09."""

    feedback_rise: float = Field(default=0.10, gt=0, le=1)
    """Rejected and edited ads among all verdicts may become more by this, and by what chance makes in one of a 100."""

    cooldown_days: float = Field(default=7.0, ge=0)
    """After the last one ended: what it changed has to be seen first."""

    budget: int = Field(default=4, ge=0)
    """Retrains a calendar month (UTC): each costs hours of a machine and somebody's attention."""

    useless_max: int = Field(default=2, ge=1)
    """After so many promoted ones in a row that did not help, a person has to look."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Feedback of a time."""

    total: int
    bad: int
    """Rejected or edited."""

    @property
    def share(self) -> float:
        """0 where there are none."""
        return self.bad / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a decision is made."""

    now: datetime
    windows: Sequence[DriftReport]
    """Of the log, the newest first, none overlapping another, none older than the rules allow."""
    feedback_usable: int
    feedback_now: Verdicts
    feedback_before: Verdicts
    open: RetrainRow | None
    spent: int
    """Retrains of this month; those dismissed cost nothing, and the open one is not counted."""
    ended: RetrainRow | None
    """The last that ended, unless it was dismissed."""
    useless: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and why."""

    word: Word
    why: str
    trigger: Trigger | None = None
    """Of a retrain that has to be asked for."""
    cause: Mapping[str, Any] | None = None
    retrain: str | None = None
    """Of one that is open."""
    is_dismissal: bool = False
    """The open one is not to run."""


def decide(facts: Facts, rules: RetrainRules, asked: str = "", *, force: bool = False) -> Decision:
    """`asked` is a person's reason; `force` lets that person go over the budget."""
    if facts.open is not None:
        return _of_open(facts, rules, facts.open)
    if asked:
        if facts.spent >= rules.budget and not force:
            return Decision("no", f"{over_budget(facts, rules)}; --force goes over it")
        return Decision("retrain", f"asked for: {asked}", "manual", {"reason": asked, "force": force})
    if facts.useless >= rules.useless_max:
        why = f"the last {facts.useless} promoted retrains did not help: look at them, then use --ask"
        return Decision("person", why)
    found = _drift(facts, rules) or _feedback(facts, rules)
    if found is None:
        return Decision("no", _nothing(facts, rules))
    if (rest := _cooldown_rest(facts, rules)) is not None:
        return Decision("no", f"{found.why}; but the cooldown lasts {rest} more")
    if facts.spent >= rules.budget:
        return Decision("no", f"{found.why}; but {over_budget(facts, rules)}")
    return found


def hurts_by_feedback(now: Verdicts, before: Verdicts, rules: RetrainRules) -> bool:
    """Whether ads are rejected or edited more often than before: by a margin, and beyond chance."""
    if min(now.total, before.total) < rules.feedback_verdicts_min:
        return False
    rise = now.share - before.share
    pooled = (now.bad + before.bad) / (now.total + before.total)
    error = math.sqrt(pooled * (1 - pooled) * (1 / now.total + 1 / before.total))
    return rise > rules.feedback_rise and rise > 2.33 * error


def _of_open(facts: Facts, rules: RetrainRules, row: RetrainRow) -> Decision:
    if row.state == "running":
        return Decision("no", f"{row.id} is running already", retrain=row.id)
    is_forced = row.trigger != "manual" or bool(row.cause.get("force"))
    if facts.spent >= rules.budget and not is_forced:
        why = f"{over_budget(facts, rules)}; `adloom decide-retrain --ask REASON --force` goes over it"
        return Decision("no", why, retrain=row.id, is_dismissal=True)
    return Decision("retrain", f"{row.id} is waiting already ({row.trigger})", retrain=row.id)


def _drift(facts: Facts, rules: RetrainRules) -> Decision | None:
    """Drift that hurts, in enough of the windows."""
    drifted, hurting = _drifted(facts), [row for row in facts.windows if row.hurts]
    by_feedback = hurts_by_feedback(facts.feedback_now, facts.feedback_before, rules)
    by_validity = len(hurting) >= rules.windows_min
    if len(drifted) < rules.windows_min or not (by_feedback or by_validity):
        return None
    newest = drifted[0]
    harm = "validity is below the reference's" if by_validity else "more ads are rejected or edited"
    cause = {
        "reports": [row.id for row in drifted],
        "columns": [column["name"] for column in newest.columns["measured"] if column["verdict"] == "drift"],
        "harm": [name for name, holds in (("validity", by_validity), ("feedback", by_feedback)) if holds],
        "validity": newest.columns["validity"],
        "feedback_bad_share": round(facts.feedback_now.share, 4),
    }
    return Decision("retrain", f"{len(drifted)} of {len(facts.windows)} windows drift, and {harm}", "drift", cause)


def _feedback(facts: Facts, rules: RetrainRules) -> Decision | None:
    if facts.feedback_usable < rules.feedback_min:
        return None
    why = f"{facts.feedback_usable} accepted or edited ads wait to be learned from"
    return Decision("retrain", why, "feedback", {"usable": facts.feedback_usable})


def _nothing(facts: Facts, rules: RetrainRules) -> str:
    drifted = _drifted(facts)
    waits = f"{facts.feedback_usable} of {rules.feedback_min} usable verdicts wait"
    if not facts.windows:
        return (
            f"no drift report of the last {rules.window_hours_max:g} hours: look whether `adloom drift` runs; {waits}"
        )
    if all(row.verdict == "too_few" for row in facts.windows):
        return f"the last {len(facts.windows)} windows have too few rows: look whether requests are logged; {waits}"
    if len(drifted) >= rules.windows_min:
        return f"{len(drifted)} of {len(facts.windows)} windows drift, and it does not hurt; {waits}"
    return f"{len(drifted)} of {len(facts.windows)} windows drift, {rules.windows_min} are needed; {waits}"


def _drifted(facts: Facts) -> list[DriftReport]:
    return [row for row in facts.windows if row.verdict == "drift"]


def _cooldown_rest(facts: Facts, rules: RetrainRules) -> str | None:
    """How long it lasts, for people; None where it is over."""
    if facts.ended is None or facts.ended.ended_at is None:
        return None
    rest = facts.ended.ended_at + timedelta(days=rules.cooldown_days) - facts.now
    if rest <= timedelta():
        return None
    return f"{rest / timedelta(days=1):.1f} days" if rest >= timedelta(days=1) else f"{rest / timedelta(hours=1):.1f} h"


def over_budget(facts: Facts, rules: RetrainRules) -> str:
    """In words, where `facts.spent` has reached `rules.budget`."""
    return f"the budget of this month is spent ({facts.spent} of {rules.budget})"
