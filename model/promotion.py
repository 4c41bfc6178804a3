"""
Who is champion: promotion through the gate, rollback, and a ledger line for every attempt.

Order of a change: intent in the ledger, alias in MLflow, done in the ledger. Whatever is cut off between them is
settled at the next start by looking at the alias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from model.gate import judge as judge_by_gate
from model.ledger import LEDGER, Action, Entry, Ledger, LedgerError, champions, ever_champions, new_attempt, unfinished
from model.registry import CANDIDATE, CHAMPION, Registry, RegistryError, Version, open_registry


class VerdictLike(Protocol):
    """What a gate answers."""

    @property
    def passed(self) -> bool:
        """Whether the candidate may replace the champion."""
        ...

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence each."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        ...


Judge = Callable[[Mapping[str, Any], Mapping[str, Any] | None, Mapping[str, Any] | None], VerdictLike]
"""Candidate's scores, champion's scores and the candidate's certificate in, verdict out."""


class RefusedError(RuntimeError):
    """The change was not made, and the ledger says why; so does the message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants what, and why: the part of a ledger line that a person gives."""

    action: Action
    who: str
    why: str

    def entry(self, source: int | None, target: int | None) -> Entry:
        """The intent of a new attempt."""
        return Entry(self.action, "intent", new_attempt(), self.who, self.why, source, target)


def open_both(folder: Path, asked: Asked | None = None, target: int | None = None) -> tuple[Registry, Ledger]:
    """
    Open registry and ledger, settling what an earlier process left open.

    Where that fails, the attempt `asked` for stands in the ledger as refused. Raises RegistryError or LedgerError.
    """
    ledger = Ledger(folder / LEDGER)
    try:
        registry = open_registry(folder)
        with ledger.locked():
            settle(registry, ledger)
    except RegistryError as error:
        if asked is not None:
            with ledger.locked():
                _refuse(ledger, asked.entry(None, target), str(error))
        raise
    return registry, ledger


def settle(registry: Registry, ledger: Ledger) -> Entry | None:
    """
    Finish an intent that nothing settled, by where the alias is; call it under the ledger's lock.

    Raises LedgerError where the registry knows of a newer ledger than this one.
    """
    entries = ledger.entries()
    if not is_known(registry, ledger):
        raise LedgerError(
            f"{ledger.path} is not the ledger that this registry knows: lines were cut off its end, or it belongs to "
            "another registry; restore it from a copy"
        )
    intent = unfinished(entries)
    if intent is None:
        return None
    moved = _champion_number(registry) == intent.target
    note = "settled at the next start: the alias was " + ("moved" if moved else "not moved")
    line = ledger.append(replace(intent, state="done" if moved else "undone", note=note))
    _stamp(registry, ledger)
    return line


def is_known(registry: Registry, ledger: Ledger) -> bool:
    """Whether this is the ledger, whole, that the registry was told of; any is, before it was told of one."""
    head = registry.ledger_head()
    return not head or head in ledger.heads()


def disagreement(registry: Registry, ledger: Ledger) -> str:
    """Where alias and ledger name different champions: a sentence that says so and how to mend it. Else ""."""
    aliased, stack = _champion_number(registry), champions(ledger.entries())
    recorded = stack[-1] if stack else None
    if aliased == recorded:
        return ""
    remedy = f'`adloom rollback --to {recorded} --why "..."` restores it' if recorded else "remove the alias by hand"
    return (
        f"the alias {CHAMPION} points at {_named(aliased)}, and the ledger says {_named(recorded)}: it was moved by "
        f"hand; {remedy}"
    )


def promote(
    registry: Registry,
    ledger: Ledger,
    asked: Asked,
    *,
    version: int | None = None,
    without_gate: str = "",
    judge: Judge = judge_by_gate,
) -> Entry:
    """
    Make a version champion (default: the candidate) if the gate lets it, and return its ledger line.

    The gate is asked before the lock is taken, against the champion of that moment; if there is another one by then,
    the attempt is refused. `without_gate` is the reason to promote unjudged, kept in the ledger. Raises RefusedError.
    """
    intent = asked.entry(None, version)
    with _recorded(ledger, intent):
        candidate = _candidate(registry, version)
        champion = registry.aliased(CHAMPION)
        intent = replace(
            intent,
            target=candidate.number,
            source=champion.number if champion else None,
            scores=_means(champion, candidate),
            note=f"without the gate: {without_gate}" if without_gate else "",
        )
    with _recorded(ledger, intent):
        if champion and champion.number == candidate.number:
            raise RefusedError(f"version {candidate.number} is the champion already")
        verdict = None if without_gate else _judged(registry, candidate, champion, judge)
    if verdict is not None:
        intent = replace(intent, verdict=verdict.as_dict())
        registry.tag(candidate.number, "gate", "passed" if verdict.passed else "refused")
        registry.tag(candidate.number, "gate_reasons", " ".join(verdict.reasons))
    with _recorded(ledger, intent):
        if verdict is not None and not verdict.passed:
            raise RefusedError(f"the gate refuses version {candidate.number}: {' '.join(verdict.reasons)}")
    return _change(registry, ledger, intent)


def rollback(registry: Registry, ledger: Ledger, asked: Asked, *, to: int | None = None) -> Entry:
    """
    Return to the champion before this one by the ledger, or to any version that has been champion.

    A second rollback goes further back; see `ledger.champions`. Raises RefusedError.
    """
    intent = asked.entry(None, to)
    with _recorded(ledger, intent):
        entries = ledger.entries()
        champion = registry.aliased(CHAMPION)
        intent = replace(intent, source=champion.number if champion else None)
        target = registry.version(_target(registry, ledger, to)) if to is None else registry.version(to)
        intent = replace(intent, target=target.number, scores=_means(champion, target))
    with _recorded(ledger, intent):
        if champion and champion.number == target.number:
            raise RefusedError(f"version {target.number} is the champion already")
        if target.number not in ever_champions(entries):
            raise RefusedError(
                f"version {target.number} has never been champion, so there is no going back to it; "
                f"put it before the gate with `adloom promote {target.number}`"
            )
    return _change(registry, ledger, intent)


def _change(registry: Registry, ledger: Ledger, intent: Entry) -> Entry:
    """Compare and set, under the lock: the alias moves only if the champion is still the one that was looked at."""
    assert intent.target is not None
    with ledger.locked():
        settle(registry, ledger)
        present = _champion_number(registry)
        trouble = disagreement(registry, ledger)
        if present != intent.source:
            trouble = (
                f"the champion is {_named(present)} by now and was {_named(intent.source)} when this "
                f"{intent.action} began; look at it and try again"
            )
        elif intent.action == "rollback" and intent.target in champions(ledger.entries())[-1:]:
            trouble = ""  # the very step that mends it
        if trouble:
            _refuse(ledger, intent, trouble)
            raise RefusedError(trouble)
        ledger.append(intent)
        registry.point(CHAMPION, intent.target)
        line = ledger.append(replace(intent, state="done"))
        _stamp(registry, ledger)
    return line


def _target(registry: Registry, ledger: Ledger, to: int | None) -> int:
    if to is not None:
        return to
    if trouble := disagreement(registry, ledger):
        raise RefusedError(trouble)
    stack = champions(ledger.entries())
    if len(stack) < 2:
        now = f"version {stack[0]} is the first champion" if stack else "there has been no champion"
        raise RefusedError(f"nothing to roll back to: {now}")
    return stack[-2]


def _candidate(registry: Registry, number: int | None) -> Version:
    if number is not None:
        return registry.version(number)
    found = registry.aliased(CANDIDATE)
    if found is None:
        raise RefusedError(f"no version has the alias {CANDIDATE}; register a bundle with `adloom register`")
    return found


def _judged(registry: Registry, candidate: Version, champion: Version | None, judge: Judge) -> VerdictLike:
    theirs = registry.report(champion, "scores.json") if champion else None
    return judge(registry.report(candidate, "scores.json"), theirs, registry.report(candidate, "certificate.json"))


@contextmanager
def _recorded(ledger: Ledger, intent: Entry) -> Iterator[None]:
    """An attempt that ends in here stands in the ledger as refused, whatever ended it."""
    try:
        yield
    except LedgerError:
        raise  # nothing can be written there
    except Exception as error:
        with ledger.locked():
            _refuse(ledger, intent, str(error) or type(error).__name__)
        raise


def _refuse(ledger: Ledger, intent: Entry, note: str) -> Entry:
    asked = f"{intent.action} refused: {note}"
    return ledger.append(replace(intent, action="refused", state="undone", note=asked))


def _stamp(registry: Registry, ledger: Ledger) -> None:
    """Tell the registry how far the ledger goes. Not worth failing for: an older head is in the ledger as well."""
    with suppress(RegistryError):
        registry.keep_ledger_head(ledger.heads()[-1])


def _champion_number(registry: Registry) -> int | None:
    champion = registry.aliased(CHAMPION)
    return champion.number if champion else None


def _means(champion: Version | None, candidate: Version) -> dict[str, Any]:
    return {"from": champion.means if champion else None, "to": candidate.means}


def _named(number: int | None) -> str:
    return "none" if number is None else f"version {number}"
