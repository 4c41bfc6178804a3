"""
Publish what no request produces: the age of the catalogue, champion, drift, retrains and batches, for Prometheus.

Reads the stores at intervals, each source in a thread of its own; serves no requests but Prometheus' own.
"""

from __future__ import annotations

import argparse
import errno
import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from app.cli import EXIT_FAILED, EXIT_USAGE, CommandParser, guarded
from app.exporter_certificate import CertificateError, address_of
from app.exporter_server import listen
from app.exporter_sources import READ_METRICS, Read, Reading, SourceError, all_sources
from app.exporter_truth import GitFile, TruthError
from app.metrics import Declared
from app.request_log import configure_logging
from app.settings import Settings
from model.ledger import LEDGER, registry_folder
from model.store.tables import Database, StoreError

EXAMPLE = """\
example:
  adloom-exporter --port 9109 --service http://localhost:8000
  curl -sS localhost:9109/metrics | grep '^adloom_'

The database is the service's: ADLOOM_DATABASE_URL. Stop it with Ctrl-C or SIGTERM.
"""
STALE_INTERVALS = 3
"""
A value that is older than this many intervals is no longer published.

One or two missed reads are a hiccup and must not look like one. After that the series ends, so that rules on its
absence fire; a gauge that stood still would go on saying that all is well.
"""

SOURCE_UP = Declared(
    "adloom_exporter_source_up", "1 where the source was read at the last try, and not too long ago.", ("source",)
)
SOURCE_SUCCESS = Declared(
    "adloom_exporter_source_success_timestamp_seconds", "When the source was last read, Unix time.", ("source",)
)
OUR_ERRORS = (SourceError, StoreError, CertificateError, TruthError)
"""Their messages are fit for a log."""
DECLARED = (*READ_METRICS, SOURCE_UP, SOURCE_SUCCESS)
"""All of the exporter's own."""

log = logging.getLogger("adloom.exporter")


class Watched:
    """One source, read again and again in a thread; what it said last, and when."""

    def __init__(self, name: str, read: Read, interval_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._read = read
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._readings: list[Reading] = []
        self._last_ok = False
        self._trouble: str | None = None
        self.success_seconds: float | None = None
        """Unix time of the last read that succeeded; None before the first."""

    @property
    def is_up(self) -> bool:
        """False as soon as a read fails, and where one hangs."""
        return self._last_ok and self._is_fresh()

    @property
    def readings(self) -> list[Reading]:
        """Of the last read that succeeded; none once they are too old."""
        return self._readings if self._is_fresh() else []

    def run(self, stop: threading.Event) -> None:
        """Read until `stop` is set."""
        while True:
            self.read_once()
            if stop.wait(self._interval_seconds):
                return

    def read_once(self) -> None:
        """Never raises: whatever a source does, the others and the server go on."""
        try:
            self._readings = self._read()
            self.success_seconds = self._clock()
            self._last_ok = True
            self._tell("")
        except Exception as error:  # noqa: BLE001 -- see the docstring
            self._last_ok = False
            # Messages of other errors may hold an address or a path.
            self._tell(str(error) if isinstance(error, OUR_ERRORS) else type(error).__name__)

    def _is_fresh(self) -> bool:
        if self.success_seconds is None:
            return False
        return self._clock() - self.success_seconds <= STALE_INTERVALS * self._interval_seconds

    def _tell(self, trouble: str) -> None:
        """A line where something has changed, and not one every interval."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        fields = {"source": self.name, **({"trouble": trouble} if trouble else {})}
        log.log(
            logging.WARNING if trouble else logging.INFO,
            "a source cannot be read" if trouble else "a source is read",
            extra={"fields": fields},
        )


class Exporter(Collector):
    """What Prometheus gets: the fresh values of every source, and how the sources are."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._watched = watched

    def describe(self) -> Iterator[Metric]:
        """Names alone, so that registering reads nothing."""
        yield from (_family(declared) for declared in DECLARED)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at every scrape; waits for no source."""
        families = {declared.name: _family(declared) for declared in DECLARED}
        for each in self._watched:
            families[SOURCE_UP.name].add_metric((each.name,), float(each.is_up))
            if each.success_seconds is not None:
                families[SOURCE_SUCCESS.name].add_metric((each.name,), each.success_seconds)
            for reading in each.readings:
                families[reading.metric.name].add_metric(reading.labels, reading.value)
        yield from (family for family in families.values() if family.samples)


def main(argv: Sequence[str] | None = None) -> int:
    """Publish until SIGTERM or Ctrl-C. 0: stopped in order; 1: could not start; 2: wrong arguments or settings."""
    return guarded(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings()
        database = Database(settings.database_url)
    except ValidationError as error:
        names = ", ".join(f"ADLOOM_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors())
        return _fail(names, EXIT_USAGE)
    except ValueError as error:
        return _fail(f"ADLOOM_DATABASE_URL: {error}", EXIT_USAGE)
    sources = all_sources(
        database,
        arguments.ledger,
        (arguments.service or "").rstrip("/"),
        certificate_url=arguments.certificate or "",
        git=GitFile(arguments.git, arguments.git_token_file) if arguments.git else None,
    )
    watched = [Watched(name, read, arguments.interval_seconds) for name, read in sources.items()]
    return _publish(watched, arguments.host, arguments.port)


def _publish(watched: Sequence[Watched], host: str, port: int) -> int:
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped
    registry = CollectorRegistry()
    registry.register(Exporter(watched))
    ProcessCollector(registry=registry)
    try:
        server = listen(registry, host, port)
    except OSError as error:
        return _fail(_listen_message(host, port, error), EXIT_FAILED)
    configure_logging()
    gc.freeze()  # code and tables are never garbage, and looking at them all would be half the cost of a large scrape
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    for each in watched:  # daemons: one that hangs in a source must not keep the process
        threading.Thread(target=each.run, args=(stop,), name=f"adloom-{each.name}", daemon=True).start()
    threading.Thread(target=server.serve_forever, name="adloom-metrics", daemon=True).start()
    print(f"Adloom's exporter listens on http://{host}:{server.server_port}/metrics", flush=True)
    stop.wait()
    server.shutdown()
    server.server_close()
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom-exporter",
        description="Publish what no request produces, for Prometheus.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=_port, default=9109, help="port to listen on; 0 takes a free one (default: %(default)s)")
    add("--service", type=_address, metavar="URL", help="service to compare with Git and the ledger")
    add(
        "--git", type=_raw_address, metavar="URL", help="raw address (http, https, file) of the environment's model.env"
    )
    add("--git-token-file", type=Path, metavar="FILE", help="a token for that address; read at each look")
    add("--certificate", type=_https_address, metavar="URL", help="address whose certificate is watched")
    add("--ledger", type=Path, default=registry_folder() / LEDGER, help="the promotion ledger (default: %(default)s)")
    add("--interval-seconds", type=_seconds, default=30.0, help="between two looks (default: %(default)g)")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError("an address begins with http:// or https://")
    return text


def _raw_address(text: str) -> str:
    if not text.startswith(("http://", "https://", "file://")):
        raise argparse.ArgumentTypeError("an address of model.env begins with http://, https:// or file://")
    return text


def _https_address(text: str) -> str:
    try:
        address_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("an interval is 0.1 to 3600 seconds")
    return seconds


def _family(declared: Declared) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if declared.name.endswith("_total") else GaugeMetricFamily
    return kind(declared.name, declared.help, labels=declared.labels)


def _listen_message(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop the program that has it, or choose another with --port."
    return f"cannot listen on {host}, port {port}: {error.strerror or error}."


def _fail(message: str, status: int) -> int:
    print(f"adloom-exporter: error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
