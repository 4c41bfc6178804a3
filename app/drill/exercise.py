"""
One drill: a stack that is well, the fault, the alert at its receiver, the runbook's own commands, and quiet again.

Knows no alert and no fault; it is given both. Everything it waits for has a limit, and says what did not come.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.drill.fault import Fault
from app.drill.runbook import Runbook
from app.drill.scene import Scene
from app.watch.processes import StackError, wait_for
from app.watch.speed import seconds
from app.watch.stack import Stack

COMMAND_SECONDS_MAX = 120.0
PATIENCE_SECONDS = 60.0
"""Beside what the runbook promises: scrapes, evaluations, grouping, and a machine with other things to do."""
CLEAR_SECONDS_MAX = 240.0
"""The longest window, a day at 1,440 times its speed, and a machine with other things to do."""
CLEAR_RULE_SECONDS_MAX = 1800.0
"""At production speed: an hour's window passes its threshold before it is over, and a group waits five minutes."""


class DrillError(RuntimeError):
    """The drill did not go as its runbook says; the message says where."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured."""

    alert: str
    fault: str
    speed: float
    detect_seconds: float
    """From the fault to the alert at its receiver."""
    repair_seconds: float
    """From the first command of the runbook to the alert's end in Prometheus."""
    commands: int
    """Blocks of the runbook that were run."""


Say = Callable[[str], None]


def drill(fault: Fault, runbook: Runbook, folder: Path, *, root: Path, speed: float | None, say: Say) -> Outcome:
    """Raises DrillError or StackError."""
    chosen = fault.speed if speed is None else speed
    with Stack(folder, speed=chosen, settings=fault.settings, root=root) as stack:
        check_needs(fault, stack)
        with Scene(stack) as scene:
            return _drill(fault, runbook, scene, say)


def check_needs(fault: Fault, stack: Stack) -> None:
    """Raises DrillError where the stack has no such part."""
    missing = [part for part in fault.needs if part not in stack.parts]
    if missing:
        raise DrillError(f"needs a {missing[0]} of its own: install PostgreSQL and Redis")


def _drill(fault: Fault, runbook: Runbook, scene: Scene, say: Say) -> Outcome:
    stack = scene.stack
    _await_quiet(stack, runbook.alert, "to be well before the fault")
    say(f"{runbook.alert}: {fault.says}")
    injected_seconds = time.monotonic()
    fault.inject(scene)
    promised_seconds = seconds(runbook.fires_within) / stack.speed
    _wait(
        lambda: _arrived(stack, runbook.alert, injected_seconds),
        f"{runbook.alert} to arrive",
        promised_seconds + PATIENCE_SECONDS,
    )
    detect_seconds = time.monotonic() - injected_seconds
    say(f"  arrived after {detect_seconds:.1f} s")
    _wait(  # what was well again by itself would prove nothing of the runbook
        lambda: bool(stack.query(f'ALERTS{{alertname="{runbook.alert}",alertstate="firing"}}')),
        f"{runbook.alert} to fire still when its runbook is begun",
        PATIENCE_SECONDS,
    )
    began_seconds = time.monotonic()
    blocks = [(section, text) for section in ("Diagnosis", "Mitigation") for text in runbook.commands(section)]
    environment = scene.environment()
    for section, text in blocks:
        run_block(text, environment, stack.root, stack.folder / "logs/commands.log", f"{runbook.alert}, {section}")
    _await_quiet(stack, runbook.alert, "to clear")
    repair_seconds = time.monotonic() - began_seconds
    say(f"  cleared {repair_seconds:.1f} s after the first of {len(blocks)} commands")
    _wait(
        lambda: _is_resolved(stack, runbook.alert), f"{runbook.alert} to be told as resolved", _patience_seconds(stack)
    )
    return Outcome(runbook.alert, fault.says, stack.speed, detect_seconds, repair_seconds, len(blocks))


def run_block(text: str, environment: Mapping[str, str], folder: Path, log: Path, what: str) -> str:
    """What the commands printed. Raises DrillError where one fails, with the end of it, or takes too long."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    others = {name: value for name, value in os.environ.items() if not name.startswith("ADLOOM_")}
    with subprocess.Popen(  # noqa: S603 -- the repository's own runbooks
        ["/bin/bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={**others, **environment, "PATH": programs, "no_proxy": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            printed, _ = running.communicate(timeout=COMMAND_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise DrillError(f"{what}: a command of the runbook took longer than {COMMAND_SECONDS_MAX:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # nothing that a block started outlives it
    with log.open("a", encoding="utf-8") as written:
        written.write(f"== {what} (exit {running.returncode})\n{text}-- printed:\n{printed}\n")
    if running.returncode:
        raise DrillError(f"{what}: a command of the runbook failed ({running.returncode}): {_last_line(printed)}")
    return printed


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it printed nothing"])[-1]


def _await_quiet(stack: Stack, alert: str, what: str) -> None:
    """Neither firing nor pending, and the rules have been looked at."""
    series = f'ALERTS{{alertname="{alert}"}}'
    _wait(lambda: bool(stack.query("up")) and not stack.query(series), f"{alert} {what}", _patience_seconds(stack))


def _patience_seconds(stack: Stack) -> float:
    return CLEAR_SECONDS_MAX + CLEAR_RULE_SECONDS_MAX / stack.speed


def _wait(is_so: Callable[[], bool], what: str, seconds_max: float) -> None:
    try:
        wait_for(is_so, what, seconds_max)
    except StackError as error:
        raise DrillError(str(error)) from error


def _arrived(stack: Stack, alert: str, since_seconds: float) -> bool:
    return any(
        each.alert == alert and each.status == "firing" and each.at_seconds >= since_seconds
        for each in stack.notifications
    )


def _is_resolved(stack: Stack, alert: str) -> bool:
    of_alert = [each for each in stack.notifications if each.alert == alert]
    return bool(of_alert) and of_alert[-1].status == "resolved"
