"""
The real service around a writer without a model, whose speed, validity and failures a file sets while it runs.

Stands in for the model in drills and in `adloom watch --stub`: `python -m app.watch.stub_service --control FILE`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.main import create_app
from app.overhead_servers import StubWriter
from app.request_log import configure_logging
from app.serve import keep_for_good, listen, new_server, share_interpreter
from app.settings import Settings
from model.channel import ChannelSpec
from model.creative import Creative, Finding
from model.product import Product
from model.tally import EngineCounts
from model.tickets import CancelledError, Watch

POLL_SECONDS = 0.05
EXAMPLE = "example:\n  python -m app.watch.stub_service --control out/control.json --port 8000"


@dataclass(frozen=True, slots=True)
class Control:
    """How the writer behaves. A fault that a restart mends names the process it is meant for."""

    latency_seconds: float = 0.0
    validity: float = 1.0
    finding: str = ""
    """Kind of the one finding that every creative gets; empty for none."""
    fails: bool = False
    is_dead: bool = False
    """As an engine whose thread is gone."""
    every: int = 1
    """Only each so many-th creative is slow or fails."""
    version: str = ""
    """Only a service of this version in the registry behaves so; empty: every one."""
    started_before_seconds: float = 0.0
    """Only a process that started before then, Unix time, behaves so; 0: every one."""

    def write(self, path: Path) -> None:
        """Whole or not at all: the service reads it at any moment."""
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
        partial.replace(path)


def read_control(path: Path) -> Control:
    """As it should be where there is no file."""
    try:
        return Control(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Control()


class ControlledWriter(StubWriter):
    """A StubWriter that a file makes slow, wrong or dead."""

    def __init__(self, control: Path, version: str) -> None:
        self._control = control
        self._version = version
        self._started_seconds = time.time()
        self._calls = itertools.count(1)
        self._counting = threading.Lock()  # a tally is for one thread, and the studio has several
        super().__init__()

    @property
    def alive(self) -> bool:
        """Whether the next call can succeed."""
        return not self._behaviour().is_dead

    @alive.setter
    def alive(self, _value: bool) -> None:
        """The parent class sets what the file decides here."""

    def write(
        self,
        product: Product,
        spec: ChannelSpec,
        *,
        voice: str,
        candidates: int,
        seed: int,
        interactive: bool,
        cancelled: Callable[[], bool],
        watch: Watch,
    ) -> tuple[Creative, ...]:
        """Waits, fails or marks its creative as the file says. Raises RuntimeError where it is to fail."""
        behaviour = self._behaviour()
        is_hit = next(self._calls) % behaviour.every == 0
        _wait(behaviour.latency_seconds if is_hit else 0.0, cancelled)
        if behaviour.fails and is_hit:
            raise RuntimeError("the control file asked for a failure")
        written = super().write(
            product, spec, voice=voice, candidates=candidates, seed=seed, interactive=interactive,
            cancelled=cancelled, watch=watch,
        )  # fmt: skip
        self._count(len(written))
        found = (Finding(behaviour.finding, "body", "made up for a drill"),) if behaviour.finding else ()
        return tuple(self._marked(one, behaviour.validity, found) for one in written)

    def _marked(self, one: Creative, validity: float, found: tuple[Finding, ...]) -> Creative:
        passport = dataclasses.replace(one.passport, registry_version=self._version)
        return dataclasses.replace(one, passport=passport, validity=validity, findings=found)

    def _behaviour(self) -> Control:
        control = read_control(self._control)
        is_other_version = control.version not in ("", self._version)
        is_newer = 0 < control.started_before_seconds < self._started_seconds
        return Control() if is_other_version or is_newer else control

    def _count(self, creatives: int) -> None:
        """So that panels and rules about the engine have something to show."""
        counts: EngineCounts = self.counts
        with self._counting:
            counts.tokens += 64 * creatives
            counts.step_rows.add(4)
            counts.wait_seconds.add(0.001)
            counts.first_token_seconds.add(0.01)


def _wait(seconds: float, cancelled: Callable[[], bool]) -> None:
    ends_at_seconds = time.monotonic() + seconds
    while (left := ends_at_seconds - time.monotonic()) > 0:
        if cancelled():
            raise CancelledError
        time.sleep(min(left, POLL_SECONDS))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. The settings are those of `adloom serve`, without a bundle."""
    arguments = _parser().parse_args(argv)
    settings = Settings()
    with listen(arguments.host, arguments.port) as listener:
        app = create_app(settings, writer=ControlledWriter(arguments.control, settings.registry_version))
        configure_logging()
        keep_for_good()
        share_interpreter()
        new_server(app, settings).run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.watch.stub_service",
        description="The service around a writer without a model.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--control", type=Path, required=True, help="file that says how the writer behaves")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
