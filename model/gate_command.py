"""
Judge a candidate's scores against the champion's, or put the gate itself on trial.

Example: adloom gate candidate/scores.json champion/scores.json --certificate candidate/certificate.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.gate import Verdict, judge
from model.gate_trial import Rate, cases, simulate

EXIT_REFUSED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 where the candidate passes, 1 where it is refused or a trial's case is judged wrongly."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.trial:
        return _try()
    if arguments.simulate is not None:
        return _simulate(arguments.simulate)
    if arguments.candidate is None:
        parser.error("give the candidate's scores.json, or --try, or --simulate")
    candidate = _read(arguments.candidate, "scores")
    champion = _read(arguments.champion, "scores") if arguments.champion else None
    certificate = _read(arguments.certificate, "certificate") if arguments.certificate else None
    verdict = judge(candidate, champion, certificate)
    sys.stdout.write(json.dumps(verdict.as_dict(), indent=2) + "\n" if arguments.json else f"{verdict}\n")
    return 0 if verdict.passed else EXIT_REFUSED


def trial_table() -> list[str]:
    """The verdict table in Markdown, as architecture/gate.md shows it."""
    lines = ["| case | verdict | reason |", "|---|---|---|"]
    return lines + [f"| {case.name} | {_word(case.verdict)} | {' '.join(case.verdict.reasons)} |" for case in cases()]


def rate_line(rate: Rate) -> str:
    """One row of the table of error rates, as architecture/gate.md shows it."""
    return f"| {rate.name} | {rate.rows} | {100 * rate.passed / rate.trials:.1f} % |"


def _try() -> int:
    sys.stdout.write("\n".join(trial_table()) + "\n")
    wrong = [case.name for case in cases() if case.verdict.passed != case.should_pass]
    if wrong:
        raise RuntimeError(f"the gate judges wrongly: {', '.join(wrong)}")
    return 0


def _simulate(trials: int) -> int:
    if trials < 1:
        raise ValueError("--simulate takes a whole number of trials from 1")
    sys.stdout.write("| candidate | rows | passes |\n|---|---|---|\n")
    for rate in simulate(trials):
        sys.stdout.write(rate_line(rate) + "\n")
        sys.stdout.flush()
    return 0


def _word(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "refused"


def _read(path: Path, what: str) -> Mapping[str, Any]:
    """One JSON object. Raises ValueError naming the file."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} holds no {what}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("candidate", type=Path, nargs="?", help="its scores.json")
    parser.add_argument("champion", type=Path, nargs="?", help="its scores.json (default: none yet, so floors decide)")
    parser.add_argument("--certificate", type=Path, help="the candidate's certificate.json; without one it is refused")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    trial = parser.add_mutually_exclusive_group()
    trial.add_argument("--try", dest="trial", action="store_true", help="judge nine synthetic cases, print the table")
    trial.add_argument("--simulate", type=int, metavar="TRIALS", help="measure how often known candidates pass")
    return parser
