"""
Follow a training run in MLflow: what its folder holds is logged from a thread beside it.

Training writes files and never waits: with MLflow down it goes on, and the next sync or resume logs what is missing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import os
import subprocess
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.ledger import registry_folder
from model.registry import DATABASE
from model.training.run_config import FinetuneConfig
from model.training.training_run import METRICS, Evaluated, Say

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "adloom-training"
STATE, SYSTEM, FIGURE = "mlflow.json", "system.jsonl", "loss.png"
KEY_TAG = "adloom.run_key"
SYNC_SECONDS = 20.0
FAREWELL_SECONDS = 60.0
"""How long a finished run waits for its last sync; first use of a database alone takes MLflow ten."""
BATCH_METRICS = 500
"""MLflow takes 1,000 metrics a request at most."""
DIGEST_CHARS = 36
"""The longest digest of a dataset that MLflow keeps; the whole one is a tag."""


@contextmanager
def tracked(config: FinetuneConfig, folder: Path, say: Say, *, wanted: bool = True) -> Iterator[Evaluated]:
    """Log the run in `folder` while the block trains; the value given is called after each validation."""
    if os.environ.get("RANK", "0") != "0" or not wanted:
        yield _nothing
        return
    if importlib.util.find_spec("mlflow") is None:
        say("mlflow is not installed: the run is not tracked (`pip install -e '.[train,lab]'` brings it)")
        yield _nothing
        return
    follower = _Follower(config, folder, say)
    follower.start()
    status = "FAILED"
    try:
        yield lambda _step, _loss: follower.wake()
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        follower.finish(status)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the folder that ADLOOM_REGISTRY names."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(registry_folder() / DATABASE).resolve()}"


def connect() -> MlflowClient:
    """A client that gives up within seconds. Makes the default's folder; talks to nothing yet."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for name in ("alembic", "mlflow"):  # a database made for the first time reports every table
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies' deprecations
        from mlflow import MlflowClient

        if not os.environ.get("MLFLOW_TRACKING_URI"):
            registry_folder().mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=tracking_uri())  # the first one maps MLflow's tables, and warns


def experiment_id(client: MlflowClient) -> str:
    """The experiment of all training runs, made where it is missing."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    ours = not os.environ.get("MLFLOW_TRACKING_URI")
    artifacts = (registry_folder() / "artifacts").resolve().as_uri() if ours else None
    return client.create_experiment(EXPERIMENT, artifact_location=artifacts)


class RunLog:
    """One run folder and its MLflow run. `sync` may fail anywhere and be called again: nothing is logged twice."""

    def __init__(self, client: MlflowClient, config: FinetuneConfig, folder: Path, parent: str = "") -> None:
        self._client, self._config, self._folder, self._parent = client, config, folder, parent
        self._run_id = ""
        self._logged: dict[str, set[int]] = {}
        """Name to steps that MLflow is known to hold."""

    def sync(self) -> str:
        """Log what MLflow lacks; returns the run's id. Raises whatever MLflow raises."""
        if not self._run_id:
            self._logged.clear()
            self._run_id = self._open()
        waiting = [
            (name, float(value), int(line["step"]))
            for line in (*whole_lines(self._folder / METRICS), *whole_lines(self._folder / SYSTEM))
            for name, value in line.items()
            if name != "step"
        ]
        for name in {name for name, _, _ in waiting} - self._logged.keys():
            # Asked of MLflow, not kept beside it: a request that timed out may have arrived all the same.
            history = self._client.get_metric_history(self._run_id, name)
            self._logged[name] = {metric.step for metric in history}
        self._log([figure for figure in waiting if figure[2] not in self._logged[figure[0]]])
        return self._run_id

    def _log(self, figures: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        for place in range(0, len(figures), BATCH_METRICS):
            part = figures[place : place + BATCH_METRICS]
            now = int(time.time() * 1000)
            try:
                self._client.log_batch(self._run_id, [Metric(name, value, now, step) for name, value, step in part])
            except Exception:
                self._run_id = ""  # ask again what arrived
                raise
            for name, _, step in part:
                self._logged[name].add(step)

    def close(self, status: str) -> None:
        """Log files and figure, and end the run as FINISHED, FAILED or KILLED."""
        run_id = self.sync()
        draw_losses(self._folder)
        for name in ("config.json", METRICS, FIGURE):
            if (self._folder / name).is_file():
                self._client.log_artifact(run_id, str(self._folder / name))
        self._client.set_terminated(run_id, status)

    def _open(self) -> str:
        """The id of this folder's run, made where MLflow has none under the key that the folder keeps."""
        key = _key(self._folder)
        experiment = experiment_id(self._client)
        found = self._client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'")
        if found:
            run = found[0]
            self._client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = self._client.create_run(experiment, tags=self._tags(key), run_name=self._folder.name)
        run_id = str(run.info.run_id)
        self._describe(run_id, has_dataset=bool(found and found[0].inputs and found[0].inputs.dataset_inputs))
        return run_id

    def _describe(self, run_id: str, *, has_dataset: bool) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        settings = [Param(name, str(value)) for name, value in asdict(self._config).items()]
        self._client.log_batch(run_id, params=settings)
        if has_dataset:
            return
        for path in (self._config.pairs, self._config.preferences):
            if path:
                data = Path(path).read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                rows = json.dumps({"num_rows": data.count(b"\n")})
                source = json.dumps({"uri": path})
                dataset = Dataset(Path(path).name, digest[:DIGEST_CHARS], "local", source, profile=rows)
                tags = [InputTag("mlflow.data.context", "training"), InputTag("sha256", digest)]
                self._client.log_inputs(run_id, [DatasetInput(dataset, tags)])

    def _tags(self, key: str) -> dict[str, str]:
        tags = {KEY_TAG: key, "adloom.method": self._config.method} | _commit()
        return tags | ({"mlflow.parentRunId": self._parent} if self._parent else {})


class _Follower(threading.Thread):
    """Syncs now and then while training goes on."""

    def __init__(self, config: FinetuneConfig, folder: Path, say: Say) -> None:
        super().__init__(name="mlflow-sync", daemon=True)
        self._config, self._folder, self._say = config, folder, say
        self._woken, self._ended = threading.Event(), threading.Event()
        self._status = "FAILED"
        self._failing = False

    def wake(self) -> None:
        """Sync soon rather than late; returns at once."""
        self._woken.set()

    def finish(self, status: str) -> None:
        """Sync a last time and end the run; gives up after FAREWELL_SECONDS."""
        self._status = status
        self._ended.set()
        self._woken.set()
        self.join(FAREWELL_SECONDS)
        if self.is_alive():
            self._say(f"MLflow did not answer within {FAREWELL_SECONDS:.0f} s; {_LATER}")

    def run(self) -> None:
        """Until the run ends: sample the machine, sync, wait."""
        log: RunLog | None = None
        sample = system_sampler(self._folder)
        while True:
            self._woken.wait(SYNC_SECONDS)
            self._woken.clear()
            ended = self._ended.is_set()
            if not _holds(self._folder, self._config):
                if ended:
                    return
                continue
            try:
                sample()
                log = log or RunLog(connect(), self._config, self._folder)
                if ended:
                    log.close(self._status)
                else:
                    log.sync()
                self._failing = False
            except Exception as error:  # noqa: BLE001 - whatever MLflow meets, training goes on
                self._warn(error, last=ended)
            if ended:
                return

    def _warn(self, error: Exception, *, last: bool) -> None:
        """Say it once, and once more at the end if it still stands."""
        if not self._failing or last:
            reason = " ".join(str(error).split())[:200]
            self._say(f"warning: MLflow at {tracking_uri()} cannot be reached ({reason}); {_LATER}")
        self._failing = True


_LATER = "nothing is lost: metrics.jsonl has it, and the next sync, or `adloom train` on this folder, logs it"


def system_sampler(folder: Path) -> Callable[[], None]:
    """A function that appends the machine's load to system.jsonl, by the names that MLflow's own monitor uses."""
    if importlib.util.find_spec("psutil") is None:
        return lambda: None
    psutil = importlib.import_module("psutil")
    psutil.cpu_percent()  # the first call sets the mark that the next one counts from

    def sample() -> None:
        path = folder / SYSTEM
        memory = psutil.virtual_memory()
        line = {
            "step": len(list(whole_lines(path))),
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": round(memory.used / 1e6, 1),
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_megabytes": round(psutil.Process().memory_info().rss / 1e6, 1),
        }
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return sample


def draw_losses(folder: Path) -> None:
    """Write loss.png: training loss a step, validation loss where it was taken. Nothing where matplotlib is missing."""
    lines = list(whole_lines(folder / METRICS))
    if importlib.util.find_spec("matplotlib") is None or not lines:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, marker in (("loss", ""), ("validation_loss", "o")):
        points = [(line["step"], line[name]) for line in lines if name in line]
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, label=name.replace("_", " "))
    axes.set_xlabel("step")
    axes.set_ylabel("mean loss")
    axes.legend()
    figure.savefig(folder / FIGURE, dpi=120)


def whole_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Whole lines only: the last may be in the middle of being written."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def _holds(folder: Path, config: FinetuneConfig) -> bool:
    """Whether the folder is this run's: it may not have begun yet, or hold another and be refused."""
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        pairs = hashlib.sha256(Path(config.pairs).read_bytes()).hexdigest()
    except (OSError, ValueError):
        return False
    return bool(said == said | asdict(config) | {"pairs_sha256": pairs})


def _key(folder: Path) -> str:
    """What tells this run from all others; another configuration in the same folder is another run."""
    path = folder / STATE
    config = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    if path.is_file():
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["config_sha256"] == config:
            return str(state["key"])
    # Written before MLflow hears of it: a run made by a request that timed out is found again.
    key = uuid.uuid4().hex
    path.write_text(json.dumps({"key": key, "config_sha256": config}) + "\n", encoding="utf-8")
    return key


def _commit() -> dict[str, str]:
    """The git commit as MLflow names it; empty outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": done.stdout.strip()}


def _nothing(step: int, loss: float) -> None:
    pass
