"""
Make a version of the registered model: one MLflow run with everything that is known of a bundle, then the version.

The version is written last and in one transaction, so whatever a kill leaves behind before it is not seen as one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from model import pyfunc_writer
from model.bundle import MANIFEST, Bundle, file_sha256
from model.ledger import exclusive
from model.model_card import model_card, summary
from model.registry import CANDIDATE, MODEL, Registry, RegistryError, Version
from model.submission import Submission, finite

EXPERIMENT = "adloom-writer"
TRAINING_EXPERIMENT, RUN_KEY = "adloom-training", "adloom.run_key"
"""Where `adloom train` logs a run's steps while it goes on, and the tag that finds it."""
METRICS_A_REQUEST = 1000
"""What MLflow takes in one call."""
DIGEST_CHARS_MAX = 36
"""Width of the column that MLflow keeps a dataset's digest in; the whole one stands in a tag."""
ABOUT = "Writes e-commerce ads from product rows. Promoted and rolled back with `adloom`, never by hand."

Say = Callable[[str], None]


def register(registry: Registry, submission: Submission, say: Say, *, git_commit: str) -> tuple[Version, bool]:
    """
    The version of this bundle, and whether it is new. A new one gets the alias `candidate`.

    A bundle that is registered already keeps its version; one whose registration was cut off is registered anew, and
    what was left of the first attempt is cleared away. Raises RegistryError, and then there is no new version.
    """
    with exclusive(registry.folder / "register.lock"), registry.reached():
        experiment = _experiment(registry)
        known = next((one for one in registry.versions() if one.bundle == submission.bundle.digest), None)
        if known is not None:
            _finish(registry, known)
            return registry.version(known.number), False
        _clear_unfinished(registry, experiment, submission.bundle.digest, say)
        number = _log(registry, experiment, submission, say, git_commit)
        return registry.version(number), True


def git_commit(folder: Path | None = None) -> str:
    """The commit of the working tree, with "-dirty" where files differ from it; "" outside of one."""
    try:
        told = [
            subprocess.run(command, cwd=folder, check=True, text=True, capture_output=True, timeout=10).stdout.strip()  # noqa: S603
            for command in (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{told[0]}-dirty" if told[1] else told[0]


def _log(registry: Registry, experiment: str, submission: Submission, say: Say, commit: str) -> int:
    client, bundle = registry.client, submission.bundle
    tracked = _tracked_run(registry, submission.training.tracking_key)
    tags = _tags(submission, commit) | ({"training_run": tracked} if tracked else {})
    run = client.create_run(experiment, run_name=f"bundle {bundle.digest[:12]}", tags=tags).info.run_id
    # In a `with` of MLflow's own, so that the run ends as FAILED where anything below raises.
    with registry.mlflow.start_run(run_id=run):
        say("parameters, metrics and datasets")
        _log_figures(registry, run, submission, with_steps=not tracked)
        say("scores, certificate and model card")
        _log_files(registry, run, submission, commit)
        size = sum(entry.bytes for entry in bundle.manifest.files.values())
        say(f"the bundle, {size / 1e6:,.1f} MB")
        model = _log_model(registry, bundle)
        with suppress(registry.mlflow.exceptions.MlflowException):  # it is there from the second version on
            client.create_registered_model(MODEL, description=ABOUT)
        made = client.create_model_version(
            MODEL, model.model_uri, run_id=run, tags=tags, description=summary(submission), model_id=model.model_id
        )
        registry.point(CANDIDATE, int(made.version))
    return int(made.version)


def _finish(registry: Registry, version: Version) -> None:
    """Do what a kill after the version was written left undone; nothing where all was done."""
    client = registry.client
    if client.get_run(version.run_id).info.status == "FINISHED":
        return
    registry.point(CANDIDATE, version.number)
    client.set_terminated(version.run_id, "FINISHED")


def _clear_unfinished(registry: Registry, experiment: str, digest: str, say: Say) -> None:
    """Runs of this bundle that never came to a version, with the copies of the bundle that they stored."""
    client = registry.client
    for run in client.search_runs([experiment], f"tags.bundle = '{digest}'"):
        say(f"clearing away an unfinished attempt of {_when(run.info.start_time)}")
        for model in client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'"):
            client.delete_logged_model(model.model_id)
            _delete_files(model.artifact_location)
        client.delete_run(run.info.run_id)
        _delete_files(run.info.artifact_uri)


def _delete_files(location: str) -> None:
    """Only where they lie in a folder of this machine; a store elsewhere has `mlflow gc`."""
    path = Path(location.removeprefix("file://"))
    if path.is_absolute():
        shutil.rmtree(path, ignore_errors=True)


def _experiment(registry: Registry) -> str:
    """Id of the experiment, made where it is absent. Its files lie beside our own database, or where a server says."""
    client = registry.client
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise RegistryError(
                f"the experiment {EXPERIMENT} was deleted; restore it with `mlflow experiments restore`"
            )
        return str(found.experiment_id)
    place = None
    if registry.uri.startswith("sqlite:"):
        place = (registry.folder.resolve() / "artifacts").as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=place))


def _tags(submission: Submission, commit: str) -> dict[str, str]:
    """The same on the run and on the version: `bundle` is what a version is found by."""
    scores = submission.scores
    means = {name: finite(one.get("mean")) for name, one in scores.get("scores", {}).items()}
    samples = submission.samples_file
    return {
        "bundle": submission.bundle.digest,
        "dataset": submission.training.pairs_sha256,
        "heldout": str(scores.get("dataset", {}).get("pairs_sha256", "")),
        "scores": json.dumps({name: mean for name, mean in means.items() if mean is not None}),
        "scores_sha256": file_sha256(submission.scores_file),
        "certificate": "passed" if submission.certificate.get("passed") is True else "failed",
        "certificate_sha256": file_sha256(submission.certificate_file),
        "git_commit": commit,
        **({"samples_sha256": file_sha256(samples)} if samples else {}),
    }


def _tracked_run(registry: Registry, key: str) -> str:
    """Id of the finished run that `adloom train` logged step by step; "" where there is none, and we log the steps."""
    client = registry.client
    experiment = client.get_experiment_by_name(TRAINING_EXPERIMENT) if key else None
    found = client.search_runs([experiment.experiment_id], f"tags.`{RUN_KEY}` = '{key}'") if experiment else []
    return next((str(run.info.run_id) for run in found if run.info.status == "FINISHED"), "")


def _log_figures(registry: Registry, run: str, submission: Submission, *, with_steps: bool) -> None:
    client, entities = registry.client, registry.mlflow.entities
    now = time.time_ns() // 1_000_000
    metrics = [entities.Metric(name, value, now, 0) for name, value in _score_metrics(submission.scores)]
    for line in submission.training.metrics if with_steps else ():
        step = int(line["step"])
        metrics += [entities.Metric(name, value, now, step) for name, value in line.items() if name != "step"]
    for start in range(0, len(metrics), METRICS_A_REQUEST):
        client.log_batch(run, metrics=metrics[start : start + METRICS_A_REQUEST])
    for name, value in submission.training.parameters.items():
        client.log_param(run, name, value)
    inputs = []
    for name, digest, context in (
        ("pairs", submission.training.pairs_sha256, "training"),
        ("heldout", submission.scores.get("dataset", {}).get("pairs_sha256", ""), "evaluation"),
    ):
        if digest:
            inputs.append(_dataset_input(registry, name, str(digest), context))
    client.log_inputs(run, datasets=inputs)


def _dataset_input(registry: Registry, name: str, digest: str, context: str) -> Any:
    entities = registry.mlflow.entities
    source = json.dumps({"name": name, "sha256": digest})
    dataset = entities.Dataset(name, digest[:DIGEST_CHARS_MAX], "local", source)
    return entities.DatasetInput(dataset, [entities.InputTag("mlflow.data.context", context)])


def _score_metrics(scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    writers = {"": scores} | {f"baseline/{name}/": one for name, one in scores.get("baselines", {}).items()}
    for prefix, one in writers.items():
        for name, figures in one.get("scores", {}).items():
            for end, value in figures.items():
                if (number := finite(value)) is not None:
                    yield f"{prefix}{name}" + ("" if end == "mean" else f"_{end}"), number
        for name, value in one.get("corpus", {}).items():
            if (number := finite(value)) is not None:
                yield f"{prefix}{name}", number


def _log_files(registry: Registry, run: str, submission: Submission, commit: str) -> None:
    client = registry.client
    with tempfile.TemporaryDirectory() as scratch:
        for path, name in (
            (submission.scores_file, "scores.json"),
            (submission.certificate_file, "certificate.json"),
            (submission.samples_file, "samples.json"),
            (submission.report_page, "report.html"),
            (submission.bundle.folder / MANIFEST, MANIFEST),
        ):
            if path is not None:  # under our name, whatever the caller's file is called
                client.log_artifact(run, shutil.copy(path, Path(scratch) / name))
        parameters = json.dumps(dict(submission.training.parameters), indent=2, sort_keys=True) + "\n"
        for name, text in (("config.json", parameters), ("model_card.md", model_card(submission, git_commit=commit))):
            (Path(scratch) / name).write_text(text, encoding="utf-8")
            client.log_artifact(run, str(Path(scratch) / name))


def _log_model(registry: Registry, bundle: Bundle) -> Any:
    """The bundle's own files and nothing that lies beside them, with the signature of `pyfunc_writer`."""
    types, models = registry.mlflow.types, registry.mlflow.models
    columns = [types.ColSpec("string", name, required=True) for name in pyfunc_writer.REQUIRED]
    columns += [types.ColSpec("string", name, required=False) for name in pyfunc_writer.OPTIONAL]
    written = [types.ColSpec("string", name) for name in pyfunc_writer.OUTPUTS] + [types.ColSpec("double", "validity")]
    params = [types.ParamSpec(name, "long", value) for name, value in pyfunc_writer.PARAMS.items()]
    signature = models.ModelSignature(
        types.Schema(columns), types.Schema(written), types.schema.ParamSchema(params)
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        # An example would make MLflow load the model and write an ad to check a signature that we state ourselves.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        for name in (MANIFEST, *bundle.manifest.files):
            (folder / name).symlink_to((bundle.folder / name).resolve())
        return registry.mlflow.pyfunc.log_model(
            name="writer",
            loader_module=pyfunc_writer.__name__,
            data_path=str(folder),
            signature=signature,
            pip_requirements=["adloom"],
            metadata={"bundle": bundle.digest},
        )


def _when(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(milliseconds / 1000))
