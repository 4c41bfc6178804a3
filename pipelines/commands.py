"""
Run a command of ours in a process of its own: training and evaluation belong to a room that nothing imports.

Its output is shown as it comes; a step that is ended takes its command with it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 10.0
"""Between asking a command to stop and ending it: enough for a checkpoint's last bytes."""
PR_SET_PDEATHSIG = 1
"""linux/prctl.h: the signal that a process gets when its parent ends."""


class CommandError(RuntimeError):
    """A command failed; its own words stand above."""


def run(arguments: Sequence[str | Path], *, seconds_max: float, accept: Sequence[int] = (0,)) -> int:
    """
    Run `adloom ARGUMENTS` and return its exit status, one of `accept`.

    Raises CommandError for any other status, and where it takes longer than `seconds_max`.
    """
    # The interpreter's own module and not the script, which may be another installation's.
    command = [sys.executable, "-m", "app.cli", *map(str, arguments)]
    name = f"adloom {arguments[0]}"
    with (
        _passed_on() as started,
        subprocess.Popen(  # noqa: S603 - a command of ours
            command,
            stdout=sys.stderr,  # no answer of ours: the last line on standard output belongs to the step
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=_DieWithParent(),  # noqa: PLW1509 - a step has one thread
        ) as process,
    ):
        started.append(process)
        try:
            status = process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            raise CommandError(f"{name} took longer than {seconds_max:.0f} s and was ended") from None
        finally:
            _end(process)
    if status not in accept:
        raise CommandError(f"{name} ended {_how(status)}; what it said stands above")
    return status


def _how(status: int) -> str:
    return f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"


class _DieWithParent:
    """
    Called in the child before it becomes the command: a step that is killed with -9 ends nobody, the system does.

    Otherwise the same step run again would meet a command that still writes to the same files. Linux alone has it.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()
        # Looked up here: between fork and exec a library must not be loaded.
        self._prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def __call__(self) -> None:
        if self._prctl is None:
            return
        self._prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != self._parent:  # gone before we asked
            os._exit(128 + signal.SIGKILL)


@contextmanager
def _passed_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    """
    A scheduler ends the step with SIGTERM; the command is in a session of its own and would not hear of it.

    The handler stands before there is a command, which the block adds to the list.
    """
    started: list[subprocess.Popen[bytes]] = []

    def ended(number: int, _frame: FrameType | None) -> None:
        for process in started:
            _end(process)
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield started
        return
    before = signal.signal(signal.SIGTERM, ended)
    try:
        yield started
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The command and whatever it started and left; nothing where all have ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
