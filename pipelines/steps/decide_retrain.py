"""
Decide whether the model is trained again, and if so leave a request that waits for `train`.

Looks first whether the last retrains helped. Answers retrain, no, or person; a second run finds the first's request.

example:
  adloom decide-retrain
  adloom decide-retrain --ask "spring collection: new categories"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from pydantic import ValidationError

from pipelines.retraining import RetrainRules
from pipelines.retraining_facts import judge_promoted, settle
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED, give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """0: decided, whichever way; 3: a person asked and may not have it; 2: wrong arguments. Raises StoreError."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    if arguments.force and not arguments.ask:
        raise ValueError("--force belongs to --ask: say why the budget does not count this time")
    rules = _rules(arguments)
    now = arguments.now or datetime.now(UTC)
    with ExitStack() as stack:
        database = PipelineSettings().open_database()
        stack.callback(database.dispose)
        connection = stack.enter_context(database.begin())
        for retrain_id, helped in judge_promoted(connection, TASK, rules, now):
            say(f"{retrain_id} {'helped' if helped else 'did not help'}")
        decision, chosen = settle(connection, TASK, rules, now, arguments.ask, force=arguments.force)
    say(f"{decision.word}: {decision.why}")
    give({"decision": decision.word, "retrain": chosen, "trigger": decision.trigger, "why": decision.why})
    return EXIT_REFUSED if arguments.ask and decision.word == "no" else 0


def _parser() -> argparse.ArgumentParser:
    made = parser("decide-retrain", __doc__)
    add = made.add_argument
    add("--ask", default="", metavar="REASON", help="a person's request: passes the cooldown, not the budget")
    add("--force", action="store_true", help="with --ask: goes over the budget, too")
    add("--now", type=_time, metavar="TIME", help="decide as of then (default: now)")
    for name, field in RetrainRules.model_fields.items():
        kind = int if field.annotation is int else float
        add(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=f"default: {field.default:g}")
    return made


def _rules(arguments: argparse.Namespace) -> RetrainRules:
    given = {name: getattr(arguments, name) for name in RetrainRules.model_fields}
    try:
        rules = RetrainRules(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = [f"{str(each['loc'][0]).replace('_', '-')}: {each['msg']}" for each in error.errors()]
        raise ValueError(f"a rule of the decision is wrong: {'; '.join(wrong)}") from error
    if rules.windows_min > rules.windows:
        raise ValueError("windows-min is larger than windows: no drift would ever be enough")
    return rules


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError("a time needs its offset from UTC, such as 2026-01-15T12:00:00Z")
    return found.astimezone(UTC)


if __name__ == "__main__":
    sys.exit(main())
