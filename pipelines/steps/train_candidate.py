"""
Train a candidate on a dataset, stage after stage as the recipe says.

The run is named by what decides its result, so a finished one is found again, and one that was killed goes on from
its checkpoint. What came out lies in the object store under runs/, for whatever machine evaluates it.

Example: adloom train-candidate --dataset 456afe9f071d5a2735a19666654ee9a171af743098a74c3449e277b21000bc49
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from model.ledger import exclusive
from pipelines import commands, datasets, run_files
from pipelines.recipe import CONFIGS, DEFAULT, Recipe, read_recipe
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser, say

LOCK = ".lock"
ADAPTER, MODEL = "adapter", "model"
"""What `adloom train` calls its result: LoRA leaves an adapter, a full run a model."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("train-candidate", __doc__)
    options.add_argument("--dataset", required=True, help="digest, as `adloom build-dataset` gave it")
    options.add_argument("--recipe", type=Path, default=DEFAULT, help="default: %(default)s")
    options.add_argument("--base", default="", help="folder or id of other base weights than the recipe's")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    objects = settings.open_objects()
    recipe = read_recipe(arguments.recipe, arguments.base)
    run = run_key(arguments.dataset, recipe)
    # Absolute: the place stands in the run's own settings, and another way to write it would be another run.
    folder = (settings.root / "runs" / run).resolve()
    # A scheduler may start a step again while the first still runs.
    with exclusive(folder / LOCK):
        finished = run_files.finished(objects, run)
        outcome = "unchanged" if finished else "trained"
        if finished is None:
            datasets.fetch(objects, arguments.dataset, folder / "pairs.jsonl")
            started = time.monotonic()
            kind = _train(recipe, folder, settings.step_seconds_max)
            record = {"run": run, "dataset": arguments.dataset, "kind": kind, "base": recipe.base}
            finished = run_files.put(objects, run, folder / "result", record)
            say(f"trained in {time.monotonic() - started:.0f} s")
        else:
            say(f"run {run} is finished already")
    give({"outcome": outcome, "run": run, "dataset": arguments.dataset, "kind": str(finished["kind"])})
    return 0


def run_key(dataset: str, recipe: Recipe) -> str:
    """Names a run by its data and its settings."""
    return hashlib.sha256(f"{dataset}\n{recipe.identity()}".encode()).hexdigest()[:16]


def _train(recipe: Recipe, folder: Path, seconds_max: float) -> str:
    """All stages; the last one's result and record lie in `folder`/result then. Returns adapter or model."""
    made: Path | None = None
    for number, stage in enumerate(recipe.stages, start=1):
        out = folder / f"stage-{number}"
        table = _stage_settings(stage, recipe.base, folder / "pairs.jsonl", made)
        config = folder / f"stage-{number}.yaml"
        config.write_text(yaml.safe_dump(table, sort_keys=False), encoding="utf-8")
        say(f"stage {number} of {len(recipe.stages)}: {stage.stem}")
        commands.run(["train", config, "--out", out], seconds_max=seconds_max)
        made = out / (ADAPTER if (out / ADAPTER).is_dir() else MODEL)
    assert made is not None  # a recipe has a stage
    link = folder / "result"
    link.unlink(missing_ok=True)
    link.symlink_to(made.parent.name)
    return made.name


def _stage_settings(stage: Path, base: str, pairs: Path, made: Path | None) -> dict[str, Any]:
    """The stage's own file with this run's places in it."""
    table: dict[str, Any] = yaml.safe_load(stage.read_text(encoding="utf-8"))
    table["pairs"] = str(pairs)
    if base:
        table["base"] = base
    if "preferences" in table:
        table["preferences"] = str(CONFIGS / table["preferences"])
    if "start" in table:
        if made is None:
            raise ValueError(f"{stage} starts from an earlier stage's result, and is the first")
        table["start"] = str(made)
    json.dumps(table)  # dates and other YAML surprises are refused here and not by a reader of the run's record
    return table
