"""
What is handed in for registration: a bundle, its scores and certificate, and the record of the run that made it.

Knows files and their forms, and no MLflow. Whatever is missing or belongs to another bundle is refused here.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import Bundle, file_sha256, open_bundle

FORM = 1
REPORTS = Path(".adloom/reports")
SHIPPED = Path(__file__).parent / "data" / "adapter"
"""The adapter kept in Git; run.json beside it records its run, and scores.json and certificate.json may lie there."""
RUN_RECORD = "run.json"
TRACKED = "mlflow.json"
"""In a run folder: the key of the MLflow run that `adloom train` kept."""
OURS = Path(__file__).resolve().parent / "data" / "pairs.jsonl"


class SubmissionError(ValueError):
    """Something handed in is missing, unreadable or of another bundle; the message says how to make it."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """How the weights were made."""

    parameters: Mapping[str, Any]
    metrics: tuple[Mapping[str, float], ...] = ()
    """One entry a step, with `step` in it."""
    pairs: Mapping[str, Any] | None = None
    """Counts over the training pairs; None where their file is not the one that was trained on."""

    tracking_key: str = ""
    """What `adloom train` marked its own MLflow run with; "" where it kept none."""

    @property
    def pairs_sha256(self) -> str:
        """Digest of the training pairs, "" where nothing records it."""
        return str(self.parameters.get("pairs_sha256", ""))


@dataclass(frozen=True, slots=True)
class Submission:
    """All of it, read and checked against each other."""

    bundle: Bundle
    scores_file: Path
    scores: Mapping[str, Any]
    certificate_file: Path
    certificate: Mapping[str, Any]
    training: TrainingRecord
    samples_file: Path | None = None
    """samples.json beside the scores; None where evaluation wrote none."""

    @property
    def report_page(self) -> Path | None:
        """report.html beside the scores, where there is one."""
        page = self.scores_file.with_name("report.html")
        return page if page.is_file() else None


def read_submission(
    bundle_folder: Path,
    *,
    scores: Path | None = None,
    certificate: Path | None = None,
    run: Path | None = None,
    parameters: Path | None = None,
    reports: Path = REPORTS,
    shipped: Path = SHIPPED,
) -> Submission:
    """
    Read everything, with the usual places for what is not named.

    A bundle of the shipped adapter takes its run's record from `shipped`, unless `run` or `parameters` is given.
    Raises SubmissionError, or BundleError where a file of the bundle does not match its digest.
    """
    bundle = open_bundle(bundle_folder)
    is_shipped = _is_shipped(bundle, shipped)
    places = [reports / bundle.digest[:16], *([shipped] if is_shipped else [])]
    scores_file = scores or _first(places, "scores.json")
    certificate_file = certificate or _first(places, "certificate.json")
    return Submission(
        bundle=bundle,
        scores_file=scores_file,
        scores=_report(scores_file, "scores", "adloom evaluate", bundle.digest),
        certificate_file=certificate_file,
        certificate=_report(certificate_file, "certificate", "adloom certify", bundle.digest),
        training=_training(run, parameters, shipped if is_shipped else None),
        samples_file=_samples(scores_file.with_name("samples.json"), bundle.digest),
    )


def count_pairs(path: Path) -> dict[str, Any]:
    """What a file of training pairs holds: rows, families, and rows by channel, voice and kind of product."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        by_category = Counter(row["product"].get("category", "").partition(" > ")[0] for row in rows)
        return {
            "rows": len(rows),
            "ours": path.resolve() == OURS,
            "families": len({row["family"] for row in rows}),
            "traps": sum(bool(row.get("trap")) for row in rows),
            "by_channel": dict(Counter(row["channel"] for row in rows).most_common()),
            "by_voice": dict(Counter(row["voice"] for row in rows).most_common()),
            "by_category": dict(by_category.most_common()),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SubmissionError(f"{path} is no file of training pairs ({error!r})") from error


def _training(run: Path | None, parameters: Path | None, shipped: Path | None) -> TrainingRecord:
    record: Mapping[str, Any] = {}
    if run is None and parameters is None and shipped is not None and (shipped / RUN_RECORD).is_file():
        record = _object(shipped / RUN_RECORD, "record of a training run")
    settings = record.get("parameters", {})
    steps = tuple(record.get("metrics", ()))
    if run is not None:
        settings = _object(run / "config.json", "settings of a run of `adloom train`")
        steps = _steps(run / "metrics.jsonl")
    if parameters is not None:
        settings = {**settings, **_object(parameters, "parameters")}
    if not isinstance(settings, Mapping) or not all(isinstance(step, Mapping) and "step" in step for step in steps):
        raise SubmissionError(f"{shipped}/{RUN_RECORD} needs `parameters`, and a `step` in each of its `metrics`")
    return TrainingRecord(settings, steps, _counted(settings), _tracking_key(run) if run else "")


def _tracking_key(run: Path) -> str:
    path = run / TRACKED
    key = str(_object(path, "key of a tracked run").get("key", "")) if path.is_file() else ""
    return key if key.isalnum() else ""


def _counted(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    path = Path(str(settings.get("pairs", "")))
    if not path.is_file() or file_sha256(path) != settings.get("pairs_sha256"):
        return None
    return count_pairs(path)


def _steps(path: Path) -> tuple[Mapping[str, float], ...]:
    """Every whole line of metrics.jsonl; a run that is still going on may be writing the last."""
    try:
        whole = path.read_text(encoding="utf-8").split("\n")[:-1]
        steps = [json.loads(line) for line in whole]
        return tuple({name: float(value) for name, value in step.items()} | {"step": step["step"]} for step in steps)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SubmissionError(f"{path} holds no metrics of `adloom train` ({error!r})") from error


def _report(path: Path, what: str, command: str, digest: str) -> dict[str, Any]:
    if not path.is_file():
        raise SubmissionError(f"no {what} at {path}: make it with `{command}`, or name the file with --{what}")
    table = _object(path, what)
    if table.get("form") != FORM:
        raise SubmissionError(f"{path} is of form {table.get('form')!r} instead of {FORM}; run `{command}` again")
    if table.get("bundle") != digest:
        raise SubmissionError(
            f"{path} is of the bundle {str(table.get('bundle'))[:12]}, not {digest[:12]}; run `{command}` for this one"
        )
    return table


def _samples(path: Path, digest: str) -> Path | None:
    """Evaluations of old wrote none."""
    if not path.is_file():
        return None
    _report(path, "samples", "adloom evaluate", digest)
    return path


def _object(path: Path, what: str) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SubmissionError(f"{path} holds no {what}: {error}") from error
    if not isinstance(table, dict):
        raise SubmissionError(f"{path} holds no {what}: it is no JSON object")
    return table


def _first(places: list[Path], name: str) -> Path:
    return next((place / name for place in places if (place / name).is_file()), places[0] / name)


def _is_shipped(bundle: Bundle, shipped: Path) -> bool:
    weights = shipped / "adapter_model.safetensors"
    return weights.is_file() and bundle.manifest.base.endswith(f"adapter@sha256:{file_sha256(weights)}")


def finite(value: object) -> float | None:
    """A number that can be logged or printed, or None: flags and NaN are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
