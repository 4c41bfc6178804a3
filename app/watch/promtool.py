"""
promtool as the judge of rules: run its tests, or ask it which alerts ever fired on given series.

Knows no alert by name. Needs promtool, which comes with Prometheus.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SECONDS_MAX = 600.0
GROUP_ORDER = ["adloom-api-indicators", "adloom-api-alerts", "adloom-exporter-alerts"]
"""What is recorded comes before what asks for it; promtool takes groups in any order otherwise."""
_FIRED = re.compile(r'\{alertname="(\w+)", world="([^"]+)"\}')

Series = Mapping[str, str]
"""Samples, one a minute, in promtool's notation, by the series they belong to."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What promtool said."""

    passed: bool
    output: str


def run_tests(files: Sequence[Path]) -> Outcome:
    """Of `promtool test rules`. Raises RuntimeError where there is no promtool."""
    program = shutil.which("promtool")
    if program is None:
        raise RuntimeError("promtool is missing: install Prometheus (Debian's package prometheus has it)")
    done = subprocess.run(  # noqa: S603 - promtool, on files of ours
        [program, "test", "rules", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    return Outcome(done.returncode == 0, done.stdout + done.stderr)


def fired(rule_files: Sequence[Path], worlds: Mapping[str, Series], minutes: int) -> dict[str, frozenset[str]]:
    """Which alerts fired at any minute of each world. Raises RuntimeError where promtool cannot say."""
    # Nothing is expected, so promtool lists whatever is there; the label says in which world.
    firing = f'count by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{minutes}m]))'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in world.items()],
            "promql_expr_test": [
                {"expr": f'label_replace({firing}, "world", "{name}", "", "")', "eval_time": f"{minutes}m"}
            ],
        }
        for name, world in worlds.items()
    ]
    document = {"rule_files": [str(path.resolve()) for path in rule_files], "evaluation_interval": "1m"}
    with tempfile.TemporaryDirectory(prefix="adloom-alerts-") as folder:
        file = Path(folder) / "worlds.yaml"
        whole: dict[str, Any] = {**document, "group_eval_order": _order(rule_files), "tests": tests}
        file.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
        outcome = run_tests([file])
    found = _FIRED.findall(outcome.output)
    if not outcome.passed and not found:
        raise RuntimeError(f"promtool cannot say what fired: {' '.join(outcome.output.split())[:300]}")
    return {name: frozenset(alert for alert, world in found if world == name) for name in worlds}


def _order(rule_files: Sequence[Path]) -> list[str]:
    groups = [
        group["name"] for path in rule_files for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    return [name for name in GROUP_ORDER if name in groups]
