"""Runs in a real MLflow on SQLite, and one whose server is killed in the middle: nothing is lost, nothing twice."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from model.training import tracking
from model.training.run_config import FinetuneConfig
from model.training.tracking import EXPERIMENT, RunLog, connect, draw_losses, system_sampler, tracked

pytest.importorskip("mlflow", reason="mlflow is not installed: pip install '.[train,lab]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own dependencies warn of their deprecations


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database with MLflow's tables; made once, for that takes it seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        connect().search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def mlflow_uri(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MLflow's own default for artifacts is ./mlruns
    shutil.copy(database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def config(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    return FinetuneConfig(
        base="",
        pairs=str(tmp_path / "pairs.jsonl"),
        learning_rate=0.001,
        warmup_share=0.1,
        weight_decay=0.0,
        epochs=1,
        batch_pairs=2,
        swap_share=0.5,
        validation_share=0.1,
        checkpoint_steps=5,
        seed=3,
        rank=4,
        alpha=8,
    )


@pytest.fixture
def folder(tmp_path, config):
    """A run folder in which three steps and a validation are done."""
    folder = tmp_path / "first"
    folder.mkdir()
    pairs = hashlib.sha256(Path(config.pairs).read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(asdict(config) | {"pairs_sha256": pairs}))
    for step in (1, 2, 3):
        train_step(folder, step)
    write_line(folder, {"step": 3, "epoch": 1.0, "validation_loss": 2.5})
    return folder


def write_line(folder, line):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def train_step(folder, step):
    write_line(folder, {"step": step, "learning_rate": 0.001 / step, "loss": 4.0 - step / 10})


def runs(client):
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client.search_runs([experiment.experiment_id]) if experiment else []


def steps_of(client, run_id, name="loss"):
    return [metric.step for metric in client.get_metric_history(run_id, name)]


def test_a_run_is_logged_with_all_that_tells_what_it_was(mlflow_uri, config, folder):
    client = connect()
    RunLog(client, config, folder).close("FINISHED")
    (run,) = runs(client)
    (data,) = run.inputs.dataset_inputs

    assert run.data.params["learning_rate"] == "0.001"
    assert run.data.params["method"] == "lora"
    assert [round(m.value, 6) for m in client.get_metric_history(run.info.run_id, "loss")] == [3.9, 3.8, 3.7]
    assert steps_of(client, run.info.run_id, "learning_rate") == [1, 2, 3]
    assert run.data.metrics["validation_loss"] == 2.5
    assert data.dataset.name == "pairs.jsonl"
    assert json.loads(data.dataset.profile) == {"num_rows": 2}
    assert {tag.key: tag.value for tag in data.tags}["sha256"].startswith(data.dataset.digest)
    assert run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "config.json",
        "metrics.jsonl",
        "loss.png",
    }


def test_the_git_commit_is_logged(mlflow_uri, config, folder):
    client = connect()
    RunLog(client, config, folder).sync()
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    if head.returncode:
        pytest.skip("not a git checkout")

    assert runs(client)[0].data.tags["mlflow.source.git.commit"] == head.stdout.strip()


def test_what_is_new_is_logged_once_by_whoever_syncs(mlflow_uri, config, folder):
    client = connect()
    log = RunLog(client, config, folder)
    log.sync()
    train_step(folder, 4)
    log.sync()
    log.sync()
    train_step(folder, 5)
    RunLog(connect(), config, folder).sync()  # a resumed run, in another process
    (run,) = runs(client)

    assert steps_of(client, run.info.run_id) == [1, 2, 3, 4, 5]
    assert len(run.inputs.dataset_inputs) == 1


def test_a_line_half_written_waits_for_the_next_sync(mlflow_uri, config, folder):
    client = connect()
    log = RunLog(client, config, folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    run_id = log.sync()
    assert steps_of(client, run_id) == [1, 2, 3]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('ss": 3.5}\n')
    log.sync()

    assert steps_of(client, run_id) == [1, 2, 3, 4]


def test_another_configuration_in_the_folder_is_another_run(mlflow_uri, config, folder):
    client = connect()
    RunLog(client, config, folder).sync()
    (folder / "config.json").write_text('{"seed": 4}')
    RunLog(client, config, folder).sync()

    assert len(runs(client)) == 2


def test_the_machine_is_sampled_under_mlflows_names(mlflow_uri, config, folder):
    pytest.importorskip("psutil", reason="psutil is not installed")
    sample = system_sampler(folder)
    sample()
    sample()
    run_id = RunLog(connect(), config, folder).sync()

    assert steps_of(connect(), run_id, "system/cpu_utilization_percentage") == [0, 1]
    assert connect().get_run(run_id).data.metrics["system/process_memory_megabytes"] > 10


@pytest.mark.parametrize(
    ("ending", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_followed_run_ends_as_the_training_did(ending, status, mlflow_uri, config, folder):
    with pytest.raises(ending) if ending else nullcontext(), tracked(config, folder, print) as evaluated:
        evaluated(3, 2.5)
        train_step(folder, 4)
        if ending:
            raise ending
    (run,) = runs(connect())

    assert run.info.status == status
    assert steps_of(connect(), run.info.run_id) == [1, 2, 3, 4]


@pytest.mark.parametrize(("wanted", "rank"), [(False, "0"), (True, "1")])
def test_no_tracking_and_the_other_processes_log_nothing(wanted, rank, mlflow_uri, config, folder, monkeypatch):
    monkeypatch.setenv("RANK", rank)
    with tracked(config, folder, print, wanted=wanted) as evaluated:
        evaluated(3, 2.5)

    assert runs(connect()) == []
    assert not (folder / "mlflow.json").exists()


def test_without_mlflow_one_line_says_so(config, folder, monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    said = []
    with tracked(config, folder, said.append) as evaluated:
        evaluated(3, 2.5)

    assert len(said) == 1
    assert said[0].startswith("mlflow is not installed: the run is not tracked")


def test_a_run_refused_before_it_began_leaves_no_trace(mlflow_uri, config, tmp_path):
    with pytest.raises(ValueError, match="too few"), tracked(config, tmp_path / "none", print):
        raise ValueError("too few")

    assert runs(connect()) == []


def test_a_folder_of_another_run_is_left_alone(mlflow_uri, config, folder):
    RunLog(connect(), config, folder).close("FINISHED")
    with pytest.raises(ValueError, match="refused"), tracked(replace(config, seed=4), folder, print):
        raise ValueError("refused")
    (run,) = runs(connect())

    assert run.info.status == "FINISHED"


def test_an_mlflow_that_cannot_be_reached_is_a_warning(config, folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    said = []
    with tracked(config, folder, said.append) as evaluated:
        evaluated(3, 2.5)

    assert said
    assert all("cannot be reached" in line and "nothing is lost" in line for line in said)


def test_the_figure_shows_both_losses(folder):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    draw_losses(folder)
    from PIL import Image

    with Image.open(folder / "loss.png") as image:
        assert image.size == (840, 480)
        assert len(image.convert("RGB").getcolors(100_000)) > 10


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def started_server(port, database):
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", f"{database.parent}/kept"]
    server = subprocess.Popen(
        command, cwd=database.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10):
                return server
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                break
            time.sleep(0.5)
    os.killpg(server.pid, signal.SIGKILL)
    pytest.fail("mlflow server did not start")


def killed(server):
    os.killpg(server.pid, signal.SIGKILL)
    server.wait(timeout=60)


@pytest.mark.proof
def test_a_server_killed_in_the_middle_gets_what_it_missed_when_it_is_back(
    database, config, folder, monkeypatch, tmp_path
):
    shutil.copy(database, tmp_path / "server.db")
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    server = started_server(port, tmp_path / "server.db")
    try:
        log = RunLog(connect(), config, folder)
        run_id = log.sync()
        killed(server)
        train_step(folder, 4)
        said = []
        with tracked(config, folder, said.append) as evaluated:  # a run that trains and ends while MLflow is down
            evaluated(4, 2.4)
            train_step(folder, 5)
        with pytest.raises(Exception, match=r"(?i)connection|retries"):
            log.sync()
        server = started_server(port, tmp_path / "server.db")
        train_step(folder, 6)
        log.sync()  # the run that was going on all the while
        with tracked(config, folder, said.append):  # and the folder taken up again
            pass
        client = connect()
        (run,) = runs(client)

        assert run.info.run_id == run_id
        assert run.info.status == "FINISHED"
        assert steps_of(client, run_id) == [1, 2, 3, 4, 5, 6]
        assert "cannot be reached" in said[0]
        assert "loss.png" in {file.path for file in client.list_artifacts(run_id)}
    finally:
        killed(server)
