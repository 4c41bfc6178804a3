"""Killed anywhere and run again, or run twice at once: the stores end up as after one run that nothing happened to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from model.store import ingests
from pipelines.ingest import run as run_module
from pipelines.ingest.run import OvertakenError, ingest
from pipelines.step import EXIT_REFUSED
from pipelines.steps import ingest as step
from tests.pipelines.ingest_parts import IN_TURN, as_csv, catalogue, file_source, newest_snapshot, state_of, stores_at
from tests.pipelines.ingest_process import PLACES
from tests.real_parts import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table of one source and its file, and the environment that leads the step there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{tmp_path}/adloom.db")
    monkeypatch.setenv("ADLOOM_OBJECTS_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("ADLOOM_ROOT", str(tmp_path))
    monkeypatch.setenv("ADLOOM_SOURCES", str(tmp_path / "sources.yaml"))
    rows = catalogue(20)
    rows[3]["title"] = ""
    (tmp_path / "products.csv").write_text(as_csv(rows), encoding="utf-8")
    table(tmp_path, {"name": "shop", "client": "client", "kind": "file", "url": "products.csv"})
    return tmp_path


def table(folder, *entries):
    (folder / "sources.yaml").write_text(yaml.safe_dump({"sources": list(entries)}), encoding="utf-8")


@pytest.mark.proof
@pytest.mark.parametrize("place", PLACES)
def test_an_ingest_that_is_killed_and_run_again_leaves_what_one_run_leaves(here, tmp_path_factory, place, capsys):
    command = [sys.executable, "-m", "tests.pipelines.ingest_process", place]
    process = subprocess.Popen(command, cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_until(lambda: (here / "held").exists() or process.poll() is not None, f"the step to be {place}")
    process.kill()

    assert process.wait() == -9
    assert step.main([]) == 0
    again = state_of(stores_at(here, "other-work"))
    other = stores_at(tmp_path_factory.mktemp("other"))
    ingest(file_source(Path("products.csv")), other, IN_TURN)
    assert again == state_of(other)
    assert not (here / "ingest/shop").exists()
    assert json.loads(capsys.readouterr().out)["outcome"] == "kept"


@pytest.mark.parametrize("works", [("work", "work"), ("one", "two")])
def test_two_ingests_at_once_do_the_work_of_one(tmp_path, works):
    path = tmp_path / "products.csv"
    path.write_text(as_csv(catalogue(50)), encoding="utf-8")
    both = [stores_at(tmp_path, work) for work in works]
    barrier = threading.Barrier(2)

    def run(stores):
        barrier.wait()
        return ingest(file_source(path), stores, IN_TURN)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, both))

    assert sorted(result.outcome for result in results) == ["kept", "unchanged"]
    state = state_of(both[0])
    assert (len(state["snapshots"]), len(state["cursors"]), len(state["ingests"])) == (1, 1, 2)


def test_a_run_that_was_overtaken_starts_again_from_what_the_other_kept(tmp_path, monkeypatch):
    path = tmp_path / "products.csv"
    path.write_text(as_csv(catalogue(10)), encoding="utf-8")
    stores, elsewhere = stores_at(tmp_path), stores_at(tmp_path, "elsewhere")
    take_in, calls = run_module.take_in, []

    def overtaken(*arguments, **named):
        found = take_in(*arguments, **named)
        calls.append(1)
        if len(calls) == 1:
            path.write_text(as_csv(catalogue(12)), encoding="utf-8")
            ingest(file_source(path), elsewhere, IN_TURN)
        return found

    monkeypatch.setattr(run_module, "take_in", overtaken)
    result = ingest(file_source(path), stores, IN_TURN)

    assert (result.outcome, result.products) == ("unchanged", 12)
    assert newest_snapshot(stores).rows == 12
    assert len(state_of(stores)["snapshots"]) == 1


def test_a_run_that_is_overtaken_all_the_time_gives_up(tmp_path, monkeypatch):
    path = tmp_path / "products.csv"
    path.write_text(as_csv(catalogue(10)), encoding="utf-8")
    monkeypatch.setattr(ingests, "move_cursor", lambda *_: False)

    with pytest.raises(OvertakenError, match="run it again later"):
        ingest(file_source(path), stores_at(tmp_path), IN_TURN)


def test_a_source_that_another_process_holds_is_waited_for_and_not_for_ever(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(as_csv(catalogue(10)), encoding="utf-8")
    stores = stores_at(tmp_path)

    with run_module._alone("shop", stores), pytest.raises(RuntimeError, match="by another process; run it again"):
        ingest(file_source(path), replace(stores, wait_seconds_max=0.2), IN_TURN)
    assert ingest(file_source(path), stores, IN_TURN).outcome == "kept"


def test_the_step_tries_every_source_before_it_complains(here, capsys):
    table(
        here,
        {"name": "gone", "client": "c", "kind": "file", "url": "gone.csv"},
        {"name": "shop", "client": "c", "kind": "file", "url": "products.csv"},
    )

    with pytest.raises(RuntimeError, match=r"1 of 2 sources gave nothing: gone: gone\.csv: No such file"):
        step.main([])
    assert json.loads(capsys.readouterr().out)["source"] == "shop"


def test_the_step_says_in_its_exit_status_that_a_catalogue_was_refused(here, capsys):
    (here / "products.csv").write_text("sku,title\n", encoding="utf-8")

    assert step.main(["shop"]) == EXIT_REFUSED
    said = capsys.readouterr()
    assert "shop: refused" in said.err
    assert json.loads(said.out)["why"] == "no row is a product"


def test_the_last_line_of_the_step_holds_references_and_no_data(here, capsys):
    assert step.main(["shop", "--workers", "1"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert set(answer) == set(
        "source outcome snapshot rows accepted rejected merged products quarantine quality ingest why".split()
    )
    assert answer["rows"] == answer["accepted"] + answer["rejected"] + answer["merged"] == 20
    assert "Oak lamp" not in json.dumps(answer)
