"""
From a dataset to a judged version on the tiny base: every step twice, killed and gone on with, MLflow down and back.

Each step is the real one and starts the real commands; only the numbers of steps and rows are small.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from app import cli
from model.bundle import open_bundle
from model.store import retrains
from model.store.retrains import NewRetrain
from model.training.lab import MEASURING
from model.training.tiny import save_tiny_model
from pipelines import datasets
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED
from pipelines.steps import build_dataset, claim_retrain, evaluate_candidate, gate_candidate, train_candidate
from tests.pipelines.taught import NOON, curated, found, keep, kept, verdict
from tests.pipelines.versions import registry_here
from tests.real_parts import free_port, wait_until
from tests.registrations import ledger_of

PAIRS, STEPS = 32, 24
STAGE = {
    "method": "full",
    "base": "elsewhere",
    "pairs": "elsewhere.jsonl",
    "learning_rate": 3.0e-3,
    "warmup_share": 0.0,
    "weight_decay": 0.0,
    "epochs": 9,
    "batch_pairs": 4,
    "swap_share": 0.0,
    "validation_share": 0.2,
    "steps_max": STEPS,
    "checkpoint_steps": 2,
    "seed": 17,
}
RECIPE = {"stages": ["stage.yaml"], "base": "base", "rows": 3, "candidates": 1, "certificate_rows": 1}

needs_training = pytest.mark.skipif(
    not all(map(find_spec, ("mlflow", "optimum", *MEASURING))), reason="needs the extras train and lab: run `make test`"
)


@pytest.fixture
def shop_floor(workplace, monkeypatch):
    """A working folder with a tiny base, a small recipe, few curated pairs and an empty registry."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # matrices this small lose by being shared out
    save_tiny_model(workplace / "base")
    stage = workplace / "stage.yaml"
    stage.write_text(yaml.safe_dump(STAGE))
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"stages": [str(stage)]}))
    Path("pairs.jsonl").write_text("".join(f"{line}\n" for line in curated(PAIRS, channel="x")), encoding="utf-8")
    registry_here()
    return workplace


@pytest.fixture
def dataset(shop_floor, step):
    """Its digest."""
    return step(build_dataset.main, "--pairs", "pairs.jsonl")[1]["dataset"]


def trained(step, dataset):
    return step(train_candidate.main, "--dataset", dataset, "--recipe", "recipe.yaml")


def evaluated(step, run):
    return step(evaluate_candidate.main, "--run", run, "--recipe", "recipe.yaml")


def metrics(run):
    lines = Path(f".adloom/runs/{run}/stage-1/metrics.jsonl").read_text().splitlines()
    return [line["step"] for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.proof
@needs_training
@pytest.mark.filterwarnings("ignore")  # MLflow's own dependencies warn of their deprecations
def test_from_an_accepted_ad_to_a_judged_version_and_every_step_twice(shop_floor, step, capfd, monkeypatch):
    settings = PipelineSettings()
    database, objects = settings.open_database(), settings.open_objects()
    keep(database, kept("cr_0"), verdict("fb_0", "cr_0"))
    with database.begin() as connection:
        asked = retrains.ask(connection, NewRetrain(TASK, "feedback", {"usable": 1}, "decide", NOON)).id

    claimed = [step(claim_retrain.main, "--by", "run-1", "--pairs", "pairs.jsonl") for _ in range(2)]
    built = [step(build_dataset.main, "--pairs", "pairs.jsonl")[1] for _ in range(2)]
    made = [trained(step, built[0]["dataset"])[1] for _ in range(2)]
    run = made[0]["run"]
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        down = cli.main(["evaluate-candidate", "--run", run, "--recipe", "recipe.yaml"])
        told = capfd.readouterr()
    (scores,) = Path(f".adloom/candidates/{run}/reports").glob("*/scores.json")
    written_at = scores.stat().st_mtime_ns
    judged = [evaluated(step, run)[1] for _ in range(2)]
    gated = [
        step(gate_candidate.main, "--version", judged[0]["version"], "--run", run, "--retrain", asked) for _ in range(2)
    ]

    assert claimed == [(0, {"outcome": "claimed", "retrain": asked, "trigger": "feedback"})] * 2
    assert [each["outcome"] for each in built] == ["built", "unchanged"]
    assert built[0]["pairs"] == built[1]["pairs"] == PAIRS + 1
    assert made[1] == made[0] | {"outcome": "unchanged"}
    assert made[0] == {"outcome": "trained", "run": run, "dataset": built[0]["dataset"], "kind": "model"}
    assert metrics(run) == list(range(1, STEPS + 1))

    assert (down, told.out) == (cli.EXIT_FAILED, "")
    assert told.err.splitlines()[-1].startswith("adloom: error: nobody answers at http://127.0.0.1:")
    assert scores.stat().st_mtime_ns == written_at  # what was done before MLflow was asked is not done again
    bundle = open_bundle(Path(f".adloom/candidates/{run}/bundle"))
    assert judged[1] == judged[0] | {"outcome": "unchanged"}
    assert judged[0] == {
        "outcome": "evaluated",
        "version": 1,
        "bundle": bundle.digest,
        "run": run,
        "dataset": built[0]["dataset"],
    }

    registry = registry_at_hand()
    version, row = registry.version(1), retrain(database, asked)
    assert version.tags["dataset"] == built[0]["dataset"] == bundle.manifest.dataset_digest
    assert json.loads(scores.read_text())["settings"] == {"candidates": 1, "seed": 0, "rows": 3}
    assert datasets.find(objects, version.tags["dataset"]).manifest["feedback"] == ["fb_0"]
    assert gated[0] == gated[1] == (EXIT_REFUSED, {"outcome": "refused", "version": 1, "bundle": bundle.digest})
    assert (row.state, row.version, row.run_id) == ("refused", "1", run)
    assert (row.dataset_digest, row.bundle_digest) == (built[0]["dataset"], bundle.digest)
    assert [entry.action for entry in ledger_of(registry).entries()] == ["refused"]
    assert (found(database, "fb_0").state, found(database, "fb_0").served_version) == ("used", "")


def registry_at_hand():
    from model.registry import open_registry

    return open_registry(PipelineSettings().registry)


def retrain(database, retrain_id):
    with database.connect() as connection:
        return retrains.find(connection, retrain_id)


def of_this_run(run):
    """Ids of processes that name the run's folder, except ours."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"runs/{run}/".encode() in line:
            found.append(int(folder.name))
    return found


@pytest.mark.proof
@needs_training
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc to see that nothing is left")
def test_training_that_is_killed_goes_on_from_its_checkpoint_and_leaves_no_process_behind(dataset, step):
    run = train_candidate.run_key(dataset, train_candidate.read_recipe(Path("recipe.yaml")))
    checkpoint = Path(f".adloom/runs/{run}/stage-1/checkpoint.pt").resolve()
    command = [sys.executable, "-m", "app.cli", "train-candidate", "--dataset", dataset, "--recipe", "recipe.yaml"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(5):
        with Path("first.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            wait_until(lambda: checkpoint.exists() or process.poll() is not None, "the first checkpoint", 300)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            status = process.wait(60)
        wait_until(lambda: not of_this_run(run), "the command to end with its step")
        before = metrics(run)
        if status and len(before) < STEPS:
            break
        shutil.rmtree(f".adloom/runs/{run}")  # we came too late: once more
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)

    assert status == -signal.SIGKILL, Path("first.log").read_text()
    assert 0 < len(before) < STEPS
    assert again.returncode == 0, again.stderr
    assert f"of {STEPS}\n" in again.stderr.split("going on after step ")[1]
    assert metrics(run) == list(range(1, STEPS + 1))
    answer = json.loads(again.stdout.splitlines()[-1])
    assert answer == {"outcome": "trained", "run": run, "dataset": dataset, "kind": "model"}
    assert trained(step, dataset) == (0, answer | {"outcome": "unchanged"})


def test_a_dataset_or_run_that_there_is_not_is_refused_with_what_makes_it(workplace, step):
    with pytest.raises(ValueError, match="there is no dataset d0; make it with `adloom build-dataset`"):
        train_candidate.main(["--dataset", "d0"])
    with pytest.raises(ValueError, match="there is no finished run 0a; make it with `adloom train-candidate`"):
        evaluate_candidate.main(["--run", "0a"])


def test_a_second_step_on_the_same_run_is_kept_out_while_the_first_works(workplace, monkeypatch):
    from model import ledger

    monkeypatch.setattr(ledger.exclusive.__wrapped__, "__defaults__", (0.2,))
    folder = Path(".adloom/candidates/0a")
    with ledger.exclusive(folder / ".lock"), pytest.raises(RuntimeError, match="another process holds"):
        evaluate_candidate.main(["--run", "0a"])


@pytest.mark.parametrize("key", ["dataset", "seed", "nothing"])
def test_a_run_is_named_by_its_data_and_its_settings(tmp_path, key):
    def name(dataset="d", seed=1):
        (tmp_path / "stage.yaml").write_text(yaml.safe_dump(STAGE | {"seed": seed}))
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(RECIPE | {"stages": [str(tmp_path / "stage.yaml")], "base": ""}))
        return train_candidate.run_key(dataset, train_candidate.read_recipe(path))

    changes = {"dataset": {"dataset": "e"}, "seed": {"seed": 2}, "nothing": {}}[key]

    assert (name(**changes) == name()) == (key == "nothing")


def test_a_stage_is_given_this_runs_data_the_base_and_what_the_stage_before_it_made(tmp_path):
    stage = tmp_path / "stage.yaml"
    stage.write_text(yaml.safe_dump({"start": "x", "base": "y", "pairs": "z", "preferences": "model/data/p.jsonl"}))
    table = train_candidate._stage_settings(stage, "base", tmp_path / "pairs.jsonl", tmp_path / "adapter")

    assert table["start"] == str(tmp_path / "adapter")
    assert (table["base"], table["pairs"]) == ("base", str(tmp_path / "pairs.jsonl"))
    assert Path(table["preferences"]).is_absolute()
    assert train_candidate._stage_settings(stage, "", tmp_path / "p", tmp_path / "a")["base"] == "y"
    with pytest.raises(ValueError, match="starts from an earlier stage's result, and is the first"):
        train_candidate._stage_settings(stage, "", tmp_path / "p", None)
