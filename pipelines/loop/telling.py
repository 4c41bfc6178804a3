"""
What the loop says: a heading a stage, a line a fact, and the report at the end.

Knows no stage; a stage that raises is told as failed, and the report of what came before is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FORM = 1


@dataclass(slots=True)
class Stage:
    """One stage while it goes on, and afterwards."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str = ""


def rows(report: Mapping[str, Any]) -> list[str]:
    """A report as the table of architecture/loop.md; addresses and folders of one machine are left out."""
    lines = ["| stage | seconds | what happened |", "|---|--:|---|"]
    for one in report["stages"]:
        facts = [f"{name}: {_said(value)}" for name, value in one["facts"].items() if name != "gitops"]
        lines.append(f"| {one['stage']} | {one['seconds']:.0f} | {'; '.join(facts) or one['failure']} |")
    return lines


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return str(value)


class Telling:
    """Everything that is said and kept of one loop."""

    def __init__(self, folder: Path, model: str, stages: int, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._report = folder / "report.json"
        self._model = model
        self._count = stages
        self._stages: list[Stage] = []
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the loop began."""
        return time.monotonic() - self._clock

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Tell what begins, time it, and keep it in the report, also where it fails."""
        stage = Stage(name)
        self._stages.append(stage)
        self._console.print(f"\n[bold cyan]{len(self._stages):>2}/{self._count}[/]  [bold]{name}[/]")
        started = time.monotonic()
        try:
            yield stage
        except BaseException as error:
            stage.failure = f"{type(error).__name__}: {error}"
            self._console.print("       [bold red]failed[/]")
            raise
        finally:
            stage.seconds = round(time.monotonic() - started, 1)
            self._keep()
            self._console.print(f"       [dim]{stage.seconds:.1f} s[/]")

    def fact(self, stage: Stage, name: str, value: Any, said: str = "") -> None:
        """Keep a fact and say it; `said` is a sentence about it."""
        stage.facts[name] = value
        self._console.print(f"       {said or f'{name}: {value}'}", soft_wrap=True, markup=False)

    def table(self) -> None:
        """The whole loop at a glance."""
        table = Table(title=f"The loop, {self.seconds:.0f} s", title_justify="left")
        for column, side in (("stage", "left"), ("seconds", "right"), ("what happened", "left")):
            table.add_column(column, justify=side)  # type: ignore[arg-type]  # rich wants its own literal
        for stage in self._stages:
            happened = "; ".join(
                f"{name} {value}" for name, value in stage.facts.items() if not isinstance(value, dict)
            )
            table.add_row(stage.name, f"{stage.seconds:.1f}", stage.failure or happened)
        self._console.print()
        self._console.print(table)
        self._console.print(f"Every fact stands in {self._report}", soft_wrap=True, markup=False)

    def _keep(self) -> None:
        stages = [
            {"stage": one.name, "seconds": one.seconds, "facts": one.facts, "failure": one.failure}
            for one in self._stages
        ]
        told = {
            "form": FORM,
            "model": self._model,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "stages": stages,
        }
        self._report.parent.mkdir(parents=True, exist_ok=True)
        self._report.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
