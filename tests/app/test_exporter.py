"""The exporter as a process of its own, on a real database, folder, ledger and service."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import exporter
from app.exporter import STALE_INTERVALS, Exporter, Watched
from app.exporter_sources import PRODUCTS, Reading, SourceError
from tests.app.exporter_stores import HOUR, UPLOADED, Stores, answering_version

WAIT_SECONDS_MAX = 60.0
INTERVAL_SECONDS = 0.4
COUNTED = ("adloom_retrains", "adloom_batches", "adloom_pipeline_failures", "adloom_pipeline_late")
SOURCES = {"catalogue", "batches", "ledger", "drift", "pipelines", "retrains", "service", "truth"}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path)
    made.database.upgrade()
    yield made
    made.database.dispose()


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, str]]]:
    with answering_version() as found:
        yield found


@contextlib.contextmanager
def running(stores: Stores, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address of its metrics."""
    command = [sys.executable, "-m", "app.exporter", "--port", "0", "--ledger", str(stores.ledger_path)]
    process = subprocess.Popen(
        [*command, "--interval-seconds", str(INTERVAL_SECONDS), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=stores.environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


def parsed(text: str) -> dict[str, float]:
    return {
        f"{sample.name}[{','.join(sample.labels[name] for name in sorted(sample.labels))}]": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("adloom_")
    }


def scrape(address: str) -> dict[str, float]:
    with urllib.request.urlopen(address, timeout=WAIT_SECONDS_MAX) as answer:
        return parsed(answer.read().decode())


def scrape_until(address: str, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not holds(found := scrape(address)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def all_up(found: dict[str, float]) -> bool:
    return all(found.get(f"adloom_exporter_source_up[{name}]") == 1 for name in SOURCES)


@pytest.mark.e2e
def test_everything_the_stores_hold_is_published_and_follows_them(
    stores: Stores, service: tuple[str, dict[str, str]]
) -> None:
    address, version = service
    stores.upload("old", 5, datetime(2025, 1, 1, tzinfo=UTC))
    stores.upload("new", 120, UPLOADED)
    stores.order_batch(1)
    stores.promote(7)
    stores.report_drift(UPLOADED - HOUR, 0.9)
    stores.report_drift(UPLOADED, 0.25, hurts=True)
    stores.report_drift(UPLOADED + HOUR, 0.75, mode="batch")
    stores.retrain("drift", "promoted", UPLOADED, helped=True)
    stores.retrain("drift", "promoted", UPLOADED + HOUR, helped=False)
    began = time.time()
    with running(stores, "--service", address) as (_, metrics):
        first = scrape_until(metrics, all_up)
        version["registry_version"] = "6"
        stores.promote(8)
        stores.upload("newer", 121, datetime(2026, 1, 16, tzinfo=UTC))
        stores.retrain("manual", "failed", UPLOADED + 2 * HOUR)
        then = scrape_until(
            metrics,
            lambda found: (
                found.get("adloom_champion_version[]") == 8
                and found.get("adloom_catalogue_products[]") == 121
                and found.get("adloom_truth_divergence[]") == 1
                and found.get("adloom_retrains_total[failed,manual]") == 1
            ),
        )

    assert first["adloom_ingest_timestamp_seconds[]"] == UPLOADED.timestamp()
    assert first["adloom_catalogue_products[]"] == 120
    assert (first["adloom_batches[queued]"], first["adloom_batches[done]"]) == (1, 0)
    assert (first["adloom_champion_version[]"], first["adloom_truth_divergence[]"]) == (7, 0)
    assert (first["adloom_drift_share_ratio[]"], first["adloom_drift_hurts[]"]) == (0.25, 1)
    assert first["adloom_drift_report_timestamp_seconds[]"] == UPLOADED.timestamp()
    assert first["adloom_retrains_useless[]"] == 1
    assert first["adloom_retrains_total[promoted,drift]"] == 2
    assert first["adloom_retrains_total[failed,manual]"] == 0
    assert all(first[f"adloom_exporter_source_success_timestamp_seconds[{name}]"] >= began for name in SOURCES)
    assert then["adloom_retrains_total[promoted,drift]"] == 2


@pytest.mark.e2e
def test_empty_stores_are_up_and_nothing_is_made_up(stores: Stores) -> None:
    with running(stores) as (_, metrics):
        found = scrape_until(metrics, lambda found: found.get("adloom_exporter_source_up[retrains]") == 1)
        found = scrape_until(metrics, lambda found: found.get("adloom_exporter_source_up[batches]") == 1)
        found = scrape_until(metrics, lambda found: found.get("adloom_exporter_source_up[pipelines]") == 1)

    assert {name for name in found if not name.startswith(("adloom_exporter", *COUNTED))} == set()
    assert {value for name, value in found.items() if name.startswith(COUNTED)} == {0}
    assert "adloom_exporter_source_up[service]" not in found


@pytest.mark.e2e
def test_a_dead_source_is_seen_its_values_end_and_the_others_go_on(
    stores: Stores, service: tuple[str, dict[str, str]]
) -> None:
    stores.upload("new", 120, UPLOADED)
    stores.promote(7)
    with running(stores, "--service", service[0]) as (_, metrics):
        scrape_until(metrics, all_up)
        whole = stores.ledger_path.read_bytes()
        stores.ledger_path.write_bytes(b"{}\n")
        broken = scrape_until(
            metrics,
            lambda found: (
                "adloom_champion_version[]" not in found and found["adloom_exporter_source_up[catalogue]"] == 1
            ),
        )
        later = scrape_until(
            metrics,
            lambda found: (
                found["adloom_exporter_source_success_timestamp_seconds[catalogue]"]
                > broken["adloom_exporter_source_success_timestamp_seconds[catalogue]"]
            ),
        )
        stores.ledger_path.write_bytes(whole)
        mended = scrape_until(metrics, all_up)

    assert broken["adloom_exporter_source_up[ledger]"] == 0
    assert broken["adloom_catalogue_products[]"] == 120
    assert broken["adloom_exporter_source_success_timestamp_seconds[ledger]"] > 0
    assert "adloom_champion_version[]" not in later
    assert mended["adloom_champion_version[]"] == 7


@pytest.mark.e2e
def test_sigterm_ends_it_in_order_and_its_log_is_json_without_paths(stores: Stores, tmp_path: Path) -> None:
    stores.ledger_path.write_bytes(b"{}\n")
    with running(stores, "--service", "http://127.0.0.1:9") as (process, metrics):
        for source in SOURCES - {"ledger", "service"}:
            scrape_until(metrics, lambda found, up=f"adloom_exporter_source_up[{source}]": found.get(up) == 1)
        read = "adloom_exporter_source_success_timestamp_seconds[catalogue]"
        began = scrape(metrics)[read]
        scrape_until(metrics, lambda found: found[read] > began + 3 * INTERVAL_SECONDS)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=WAIT_SECONDS_MAX)
    lines = [json.loads(line) for line in log.splitlines()]

    assert process.returncode == 0
    assert str(tmp_path) not in log
    assert sorted(line["source"] for line in lines if line["level"] == "warning") == ["ledger", "service"]
    assert sorted(line["source"] for line in lines if line["level"] == "info") == [
        "batches", "catalogue", "drift", "pipelines", "retrains", "truth",
    ]  # fmt: skip


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert exporter.main(["--help"]) == 0
    assert "adloom-exporter --port 9109 --service http://localhost:8000" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--port", "x"],
        ["--service", "x:8000"],
        ["--git", "git@x:a/b"],
        ["--interval-seconds", "0"],
        ["--nope"],
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exporter.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADLOOM_DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("ADLOOM_THREADS", "hunter2"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    status, message = exporter.main(["--port", "0"]), capsys.readouterr().err

    assert status == 2
    assert name in message
    assert "hunter2" not in message


def test_a_port_in_use_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status = exporter.main(["--port", str(port)])

    assert status == 1
    assert f"port {port} on 127.0.0.1 is in use" in capsys.readouterr().err


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def published(*watched: Watched) -> set[str]:
    return {sample.name for family in Exporter(watched).collect() for sample in family.samples}


def test_a_value_outlives_its_source_by_three_intervals_and_no_more() -> None:
    clock, works = Clock(), [True]

    def read() -> list[Reading]:
        if not works[0]:
            raise SourceError("gone")
        return [Reading(PRODUCTS, 5)]

    watched = Watched("catalogue", read, 10.0, clock)
    watched.read_once()
    works[0] = False
    clock.seconds += STALE_INTERVALS * 10.0
    watched.read_once()
    kept = published(watched)
    clock.seconds += 0.1
    gone = published(watched)

    assert not watched.is_up
    assert PRODUCTS.name in kept
    assert PRODUCTS.name not in gone
    assert exporter.SOURCE_SUCCESS.name in gone


def test_a_source_that_hangs_is_not_up_once_its_values_are_too_old() -> None:
    clock = Clock()
    watched = Watched("catalogue", list, 10.0, clock)
    watched.read_once()
    clock.seconds += 30.0
    still_up = watched.is_up
    clock.seconds += 0.1

    assert still_up
    assert not watched.is_up


def test_a_source_that_was_never_read_is_not_up() -> None:
    watched = Watched("catalogue", list, 10.0)

    assert not watched.is_up
    assert published(watched) == {exporter.SOURCE_UP.name}
