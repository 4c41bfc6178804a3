"""A search of three trials on the tiny model: it finds settings, keeps its study, and goes on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from model.training.run_config import TrainingError, read_config
from model.training.search import Budget, search, table
from tests.model.training.test_finetune import MUGS, SETTINGS, silent, write_pairs
from tests.tiny import save_tiny_model

for needed in ("peft", "optuna", "matplotlib", "mlflow"):
    pytest.importorskip(needed, reason=f"{needed} is not installed: pip install '.[train,lab]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # of optuna's and MLflow's own dependencies

ROOT = Path(__file__).parents[3]
BUDGET = Budget(steps=4, pairs=12, validation_share=0.25)
KILLED = """
import os, signal, sys
from pathlib import Path
from model.training import search as module
from model.training.run_config import read_config
from model.training.training_run import TrainingRun

folder, record = Path(sys.argv[2]), TrainingRun._record

def record_and_die(run, line):
    record(run, line)
    if len(list((folder / "trials").iterdir())) == 2 and line["step"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)

TrainingRun._record = record_and_die
module.search(read_config(Path(sys.argv[1])), module.Budget(4, 12, 0.25), 3, folder, print)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished search: its folder, its report and the file of its base settings."""
    folder = tmp_path_factory.mktemp("search")
    save_tiny_model(folder / "hub")
    base = {"base": str(folder / "hub"), "pairs": str(write_pairs(folder / "pairs.jsonl", MUGS)), **SETTINGS}
    (folder / "run.yaml").write_text(yaml.safe_dump(base))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.chdir(folder)
        report = search(read_config(folder / "run.yaml"), BUDGET, 3, folder / "out", silent)
    return folder, report


def params_and_losses(report):
    return [(row["params"], row["validation_loss"]) for row in report["trials"]]


def test_three_trials_are_compared_on_one_budget(found):
    folder, report = found
    finals = {row["trial"]: row["validation_loss"]["4"] for row in report["trials"]}

    assert len(finals) == 3
    assert len({row["params"]["learning_rate"] for row in report["trials"]}) == 3
    assert report["best"]["validation_loss"] == min(finals.values())
    assert finals[report["best"]["trial"]] == min(finals.values())
    assert json.loads((folder / "out" / "search.json").read_text()) == report


def test_the_best_settings_are_a_config_of_full_length(found):
    folder, report = found
    best = read_config(folder / "out" / "best.yaml")
    (chosen,) = [row["params"] for row in report["trials"] if row["trial"] == report["best"]["trial"]]

    assert {name: getattr(best, name) for name in chosen} == chosen
    assert best.alpha == 2 * best.rank
    assert best == replace(read_config(folder / "run.yaml"), alpha=best.alpha, **chosen)


def test_the_plots_are_pictures(found):
    from PIL import Image

    folder, _ = found
    for name in ("optimization_history", "slice"):
        with Image.open(folder / "out" / f"{name}.png") as image:
            assert min(image.size) > 200


def test_trials_are_mlflow_runs_nested_in_the_searchs(found, monkeypatch):
    from model.training.tracking import EXPERIMENT, connect

    folder, report = found
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    client = connect()
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]

    assert len(runs) == 4
    assert sorted(round(run.data.metrics["validation_loss"], 4) for run in children) == sorted(
        row["validation_loss"]["4"] for row in report["trials"]
    )
    assert parent.data.metrics["best_validation_loss"] == report["best"]["validation_loss"]
    assert "slice.png" in {file.path for file in client.list_artifacts(parent.info.run_id)}


def test_a_finished_search_has_nothing_left_to_do(found, tmp_path, monkeypatch):
    folder, report = found
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.chdir(tmp_path)  # MLflow's own default for artifacts is ./mlruns
    again = search(read_config(folder / "run.yaml"), BUDGET, 3, folder / "out", silent)

    assert again == report


def test_a_search_with_another_budget_is_refused(found):
    folder, _ = found

    before = (folder / "out" / "pairs.jsonl").read_bytes()
    for other in (replace(BUDGET, steps=6), replace(BUDGET, pairs=10)):
        with pytest.raises(TrainingError, match="holds another search"):
            search(read_config(folder / "run.yaml"), other, 3, folder / "out", silent)

    assert (folder / "out" / "pairs.jsonl").read_bytes() == before


def test_only_lora_is_searched(found, tmp_path):
    folder, _ = found
    full = replace(read_config(folder / "run.yaml"), method="full")

    with pytest.raises(TrainingError, match="over LoRA settings, and the method is full"):
        search(full, BUDGET, 3, tmp_path, silent)


@pytest.mark.proof
def test_a_search_killed_in_a_trial_goes_on_to_the_same_table(found, tmp_path, monkeypatch):
    folder, report = found
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    shutil.copy(folder / "mlflow.db", tmp_path / "mlflow.db")
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}
    command = [sys.executable, "-c", KILLED, folder / "run.yaml", tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    again = search(read_config(folder / "run.yaml"), BUDGET, 3, tmp_path / "out", silent)

    assert params_and_losses(again) == params_and_losses(report)


def test_the_table_puts_the_best_first_and_the_pruned_last():
    params = {"learning_rate": 0.001, "rank": 4, "dropout": 0.0, "swap_share": 0.5}
    rows = [
        {"trial": 0, "state": "pruned", "params": params, "validation_loss": {"2": 1.0}},
        {"trial": 1, "state": "complete", "params": params, "validation_loss": {"2": 3.5, "4": 3.0}},
        {"trial": 2, "state": "complete", "params": params, "validation_loss": {"2": 3.0, "4": 2.0}},
        {"trial": 3, "state": "pruned", "params": params, "validation_loss": {}},
    ]
    lines = table({"trials": rows}).splitlines()[1:]

    assert [line.split()[0] for line in lines] == ["2", "1", "0", "3"]
    assert "1.000 (pruned)" in lines[2]
    assert "diverged" in lines[3]


def test_a_trial_that_diverges_does_not_end_the_search(found, tmp_path, monkeypatch):
    from model.training import finetune as module
    from model.training.run_config import DivergedError

    folder, _ = found
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    real, calls = module.finetune, []

    def second_diverges(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise DivergedError("step 1: the loss is nan")
        return real(*arguments)

    monkeypatch.setattr(module, "finetune", second_diverges)
    report = search(read_config(folder / "run.yaml"), BUDGET, 3, tmp_path / "out", silent)

    assert [row["state"] for row in report["trials"]] == ["complete", "pruned", "complete"]
    assert report["best"]["trial"] != 1
