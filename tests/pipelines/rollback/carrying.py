"""What the tests of `adloom carry-rollback` share: three champions, a wish, a carrier that is killed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from model.ledger import LEDGER, Ledger
from model.store import rollbacks
from model.store.rollbacks import NewRollback
from pipelines.settings import TASK, PipelineSettings
from pipelines.steps import carry_rollback
from tests.real_parts import wait_until

ONCE = [("reversal", "intent", 3, 2), ("rollback", "intent", 3, 2), ("rollback", "done", 3, 2)]
REVERSED = [*ONCE, ("reversal", "done", 3, 2)]
NONE = (0, {"outcome": "none", "rollback": None})


class KilledError(BaseException):
    """As a kill does: nothing that catches errors catches it."""


def ask(target="", reason="odd ads", at=None):
    """As the API does; returns the wish's id."""
    new = NewRollback(TASK, target, reason, "shop", at or datetime.now(UTC))
    with PipelineSettings().open_database().begin() as connection:
        return rollbacks.ask(connection, new).id


def row_of(wish):
    with PipelineSettings().open_database().connect() as connection:
        return rollbacks.find(connection, wish)


def carried(step, wish, *arguments):
    """By the next carrier, as soon as the one before is given up."""
    answers = []

    def is_taken_up():
        answers.append(step(carry_rollback.main, *arguments))
        return answers[-1] != NONE

    wait_until(is_taken_up, "the lease to lapse")
    assert answers[-1][1]["rollback"] == wish
    return answers[-1]


def once(monkeypatch, where, name):
    """Killed the first time that it comes there."""
    real, killed = getattr(where, name), []

    def killing(*arguments, **rest):
        if not killed:
            killed.append(True)
            raise KilledError
        return real(*arguments, **rest)

    monkeypatch.setattr(where, name, killing)


def kill(wish):
    with pytest.raises(KilledError):
        carry_rollback.main([])
    assert row_of(wish).state == "running"


def whys(place):
    return {(one.who, one.why) for one in Ledger(place.registry / LEDGER).entries() if one.action != "promote"}
