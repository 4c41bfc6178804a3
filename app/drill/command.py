"""
Cause a fault on a local stack, wait for its alert, run the runbook's commands, and see the alert end.

The times go into runbooks/drills.md. Needs Prometheus and Alertmanager; PostgreSQL and Redis where a fault is theirs.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.cli import EXIT_FAILED, CommandParser, explanation
from app.drill import record
from app.drill.exercise import Outcome, check_needs, drill
from app.drill.faults import FAULTS
from app.drill.record import Stamp
from app.drill.runbook import FOLDER, Runbook, read_runbooks
from app.drill.scene import Scene
from app.watch.arguments import number
from app.watch.stack import Stack

EXAMPLE = """\
example:
  adloom drill AdloomServiceDown
  adloom drill --list
  adloom drill            # all of them, about half an hour
"""
KEPT = Path("out/drill")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MEASURED = ("app", "gitops", "model", "pipelines", "runbooks", ":!runbooks/drills.md")
"""What a measurement depends on, as Git's pathspecs."""


def main(argv: Sequence[str] | None = None) -> int:
    """0: every drill went as its runbook says; 1: one did not; 2: wrong arguments."""
    arguments = _parser().parse_args(argv)
    root = Path.cwd()
    runbooks = read_runbooks(root / FOLDER)
    if arguments.list:
        _show(runbooks)
        return 0
    if arguments.index:
        record.write_index(root / FOLDER, runbooks)
        return 0
    chosen = _chosen(arguments.alerts, runbooks)
    _stop_in_order()
    if arguments.keep:
        if len(arguments.alerts) != 1:
            raise ValueError("--keep causes one fault: name one alert")
        return _keep(arguments, root)
    stamp = Stamp(f"{datetime.now(UTC):%Y-%m-%d}", _commit(root))

    def keep(outcome: Outcome) -> None:
        if not arguments.no_record:
            record.write_table(root / FOLDER, runbooks, [outcome], stamp)

    failed = _run(chosen, runbooks, root, arguments.speed, keep)
    _tell(f"{len(chosen) - len(failed)} of {len(chosen)} drills went as their runbooks say.")
    for alert, why in failed.items():
        sys.stderr.write(f"adloom: error: {alert}: {why}\n")
    return EXIT_FAILED if failed else 0


def _run(
    chosen: Sequence[str],
    runbooks: Mapping[str, Runbook],
    root: Path,
    speed: float | None,
    keep: Callable[[Outcome], None],
) -> dict[str, str]:
    """Why drills failed, by alert; the others are kept as soon as they are measured."""
    failed: dict[str, str] = {}
    for place, alert in enumerate(chosen, start=1):
        _tell(f"[{place}/{len(chosen)}]")
        with _workplace(alert) as folder:
            try:
                outcome = drill(FAULTS[alert], runbooks[alert], folder, root=root, speed=speed, say=_tell)
            except (RuntimeError, OSError, ValueError) as error:  # the other drills go on
                failed[alert] = explanation(error)
                kept = _kept(alert, folder / "logs")
                _tell(f"  failed: {failed[alert]} (logs: {kept})")
                continue
        keep(outcome)
    return failed


def _kept(alert: str, logs: Path) -> Path:
    """Where the logs are to be found when the stack is gone."""
    kept = KEPT / alert
    shutil.rmtree(kept, ignore_errors=True)
    if logs.is_dir():  # not where the stack never began
        shutil.copytree(logs, kept)
    return kept


def _keep(arguments: argparse.Namespace, root: Path) -> int:
    """The fault is there and stays; the commands are for a person to type."""
    fault = FAULTS[arguments.alerts[0]]
    speed = fault.speed if arguments.speed is None else arguments.speed
    with (
        _workplace(fault.alert) as folder,
        Stack(folder, speed=speed, settings=fault.settings, root=root) as stack,
        Scene(stack) as scene,
    ):
        check_needs(fault, stack)
        token = scene.environment()["TOKEN"]  # while the service still gives one
        fault.inject(scene)
        for name, value in sorted({**scene.environment(), "TOKEN": token}.items()):
            _tell(f"export {name}={shlex.quote(value)}")
        _tell(f"# {fault.says}: follow runbooks/{fault.alert}.md; Ctrl-C stops everything.")
        while True:
            time.sleep(1.0)


@contextmanager
def _workplace(alert: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"{alert}-") as folder:
        yield Path(folder)


def _chosen(asked: Sequence[str], runbooks: Mapping[str, Runbook]) -> list[str]:
    """Raises ValueError for an alert that has no drill."""
    unknown = [alert for alert in asked if alert not in runbooks]
    if unknown:
        raise ValueError(f"there is no alert {unknown[0]}: `adloom drill --list` names them")
    without = [alert for alert in asked if alert not in FAULTS]
    if without:
        raise ValueError(f"{without[0]} has no local drill: {runbooks[without[0]].why}")
    return list(asked) or [alert for alert in runbooks if alert in FAULTS]


def _show(runbooks: Mapping[str, Runbook]) -> None:
    width = max(map(len, runbooks))
    for alert, book in runbooks.items():
        fault = FAULTS.get(alert)
        _tell(f"{alert:<{width}}  {fault.says if fault else f'no local drill: {book.why}'}")


def _stop_in_order() -> None:
    """Ctrl-C, `kill` and a closed terminal stop the parts; a second one does not interrupt that."""

    def interrupt(*_: object) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in STOPPING:
        signal.signal(each, interrupt)


def _commit(root: Path) -> str:
    """Short, with a + where what is measured has changed since; empty outside a repository."""
    git = shutil.which("git")
    if git is None:
        return ""

    def asked(*words: str) -> str:
        command = [git, *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 -- Git

    commit = asked("rev-parse", "--short", "HEAD")
    return f"{commit}+" if commit and asked("status", "--porcelain", "--", *MEASURED) else commit


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom drill",
        description="Cause a fault, wait for its alert, run its runbook, see it end.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("alerts", nargs="*", metavar="ALERT", help="which (default: every one that has a local drill)")
    speed = number(1, 2000, "a speed is 1 to 2000")
    parser.add_argument("--speed", type=speed, help="divides the durations of rules (default: as suits the fault)")
    parser.add_argument("--list", action="store_true", help="name the alerts and their faults")
    parser.add_argument("--index", action="store_true", help="write runbooks/README.md")
    parser.add_argument("--no-record", action="store_true", help="leave runbooks/drills.md as it is")
    parser.add_argument("--keep", action="store_true", help="cause the fault of one ALERT and leave the rest to you")
    return parser


if __name__ == "__main__":
    sys.exit(main())
