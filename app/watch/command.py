"""
Watch Adloom on this machine: service, exporter, Prometheus, Alertmanager and dashboards, with traffic to look at.

Stops everything with Ctrl-C. Without Grafana the dashboards are drawn as pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from app.cli import CommandParser
from app.watch import dashboards, grafana_server, sample_day
from app.watch.arguments import number
from app.watch.stack import Stack
from app.watch.thresholds import thresholds
from app.watch.traffic import Merchant, Plan, TrafficError, drive

BUNDLE = Path(".adloom/bundle")
MARK = ".adloom-watch"
"""In a folder that is ours to empty."""
SECONDS_MAX = 24 * 3600.0
STOP_SECONDS_MAX = 5.0
EXAMPLE = """\
example:
  adloom watch
  adloom watch --stub --seconds 60 --rate 10

Run it from the root of the repository. Needs prometheus and prometheus-alertmanager; uses Grafana, PostgreSQL and
Redis where they are installed. Its pipelines are a sample: nothing here runs Airflow.
"""


class WatchError(ValueError):
    """It cannot be started so; the message says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Until Ctrl-C, SIGTERM, or the time that was given. Expected errors leave as ValueError or RuntimeError."""
    arguments = _parser().parse_args(argv)
    bundle = None if arguments.stub else _bundle(arguments.bundle)
    folder = _emptied(arguments.out)
    plan = Plan(SECONDS_MAX, arguments.rate)
    stop = threading.Event()
    with _ended_in_order(stop), ExitStack() as running:
        _say("Starting the stores, the service, the exporter, Prometheus and Alertmanager ...")
        commit, committed = _commit(Path.cwd())
        settings = {"ADLOOM_GIT_COMMIT": commit, "ADLOOM_GIT_COMMIT_TIMESTAMP_SECONDS": committed}
        stack = running.enter_context(Stack(folder / "stack", bundle=bundle, settings=settings))
        _add_sample(stack)
        _tell_addresses(stack, _show_dashboards(running, stack, folder))
        if not arguments.no_traffic:
            running.enter_context(_traffic(stack, plan, stop))
        running.callback(_say, "Stopping; requests in progress are finished first ...")
        _say("Ctrl-C stops everything.")
        stop.wait(arguments.seconds)
        stop.set()
    return 0


def _bundle(given: Path | None) -> Path:
    found = given or BUNDLE
    if not (found / "bundle.json").is_file():
        raise WatchError(f"there is no model in {found}: build one with `make bundle`, or use --stub for a stand-in")
    return found


def _emptied(folder: Path) -> Path:
    """A fresh folder. Raises WatchError where it holds what is not ours."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise WatchError(f"{folder} is not empty and not from `adloom watch`: name another folder with --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    return folder.resolve()


def _commit(root: Path) -> tuple[str, str]:
    """Of the working tree, and when it was made, Unix time; empty outside a repository."""
    git = shutil.which("git")
    if git is None:
        return "", ""
    asked = subprocess.run(  # noqa: S603 -- git, with arguments of ours
        [git, "log", "-1", "--format=%H %ct"], cwd=root, capture_output=True, text=True, check=False
    )
    commit, _, seconds = asked.stdout.strip().partition(" ")
    return commit, seconds


def _add_sample(stack: Stack) -> None:
    database = stack.database
    try:
        sample_day.record(database)
    finally:
        database.dispose()


def _show_dashboards(running: ExitStack, stack: Stack, folder: Path) -> str:
    """Grafana where there is one, else pictures, else nothing; a line for people."""
    found = grafana_server.installed()
    if found is not None:
        grafana_folder = folder / "grafana"
        grafana_server.provision(grafana_folder, stack.prometheus_url, stack.root)
        part = grafana_server.grafana(grafana_folder, *found)
        running.callback(part.stop)
        part.start()
        return f"http://127.0.0.1:{part.port}/dashboards"
    if find_spec("matplotlib") is None:
        return "none: install Grafana, or `pip install 'adloom[lab]'` for pictures"
    from app.watch.pages import Pages

    limits = thresholds(stack.root)
    pages = Pages(dashboards.all_boards(), stack.prometheus_url, limits, folder / "pictures")
    running.callback(pages.close)
    pages.start()
    return f"{pages.address}/  (pictures: Grafana is not installed)"


def _tell_addresses(stack: Stack, shown: str) -> None:
    lines = {
        "Dashboards": shown,
        "Prometheus": stack.prometheus_url,
        "Alertmanager": stack.alertmanager_url,
        "Service": f"{stack.service_url}/docs",
        "Exporter": f"{stack.exporter_url}/metrics",
        "Logs": str(stack.folder / "logs"),
    }
    _say("\n".join(f"  {name:<13} {text}" for name, text in lines.items()))


@contextmanager
def _traffic(stack: Stack, plan: Plan, stop: threading.Event) -> Iterator[None]:
    """Sent by a thread while the block runs. Where nobody answers, the block's wait ends and TrafficError is raised."""
    troubles: list[TrafficError] = []
    merchant = Merchant(stack.service_url, stack.client_id, stack.client_secret)

    def send() -> None:
        try:
            drive(merchant, plan, stop=stop, tell=_say)
        except TrafficError as error:
            troubles.append(error)
            stop.set()

    thread = threading.Thread(target=send, name="adloom-traffic", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_SECONDS_MAX)
        merchant.close()
    if troubles:
        raise troubles[0]


@contextmanager
def _ended_in_order(stop: threading.Event) -> Iterator[None]:
    """The first signal ends the wait or unwinds the start; another one does not interrupt the stopping."""

    def end(_number: int, _frame: object) -> None:
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom watch",
        description="Run Adloom with its dashboards on this machine, until Ctrl-C.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--bundle", type=Path, help=f"folder of the model (default: {BUNDLE})")
    add("--stub", action="store_true", help="a writer without a model, that answers at once")
    seconds = number(0.1, SECONDS_MAX, f"write seconds, from 0.1 to {SECONDS_MAX:.0f}")
    add("--seconds", type=seconds, help="stop by itself after so long (default: when you say so)")
    rate = number(0.01, 1000, "write requests a second, from 0.01 to 1000")
    add("--rate", type=rate, default=Plan().rate, help="requests a second that are sent (default: %(default)g)")
    add("--no-traffic", action="store_true", help="send nothing")
    add(
        "--out", type=Path, default=Path("out/watch"), help="folder for stores and logs; emptied (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
