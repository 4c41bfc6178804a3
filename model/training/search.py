"""
Search hyper-parameters of the fine-tune: many short runs on a small fixed budget, compared by validation loss.

A search that was killed goes on. Example: adloom search --trials 12 --steps 12 --out .adloom/search
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from model.training.lab import require_lab
from model.training.pairs import PairsError
from model.training.run_config import METHOD_KEYS, DivergedError, FinetuneConfig, TrainingError, read_config
from model.training.tracking import whole_lines
from model.training.train_command import DEFAULT_CONFIG
from model.training.training_run import CHECKPOINT, METRICS

if TYPE_CHECKING:
    import optuna

STARTUP_TRIALS = 4
"""Drawn at random before TPE begins to learn, and before the median may prune."""
PLOTS = ("optimization_history", "param_importances", "slice")
ALPHA_A_RANK = 2
"""alpha = 2 x rank, so that another rank does not also scale what the adapter adds."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What every trial gets: training steps, and so many of the shortest pairs, a part of which validates."""

    steps: int
    pairs: int
    validation_share: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is first imported, which optuna and mlflow do early
    require_lab(("optuna", "matplotlib"))
    if arguments.trials < 1 or arguments.steps < 2:
        raise TrainingError("--trials takes a number from 1, --steps one from 2")
    budget = Budget(arguments.steps, arguments.pairs_limit, arguments.validation_share)
    report = search(read_config(arguments.config), budget, arguments.trials, arguments.out, _say)
    print(table(report))
    print(f"best settings in {arguments.out / 'best.yaml'}; train with: adloom train {arguments.out / 'best.yaml'}")
    return 0


def search(
    base: FinetuneConfig, budget: Budget, trials: int, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """
    Bring the study in `folder` to so many trials, and write search.json, best.yaml and plots there.

    One folder holds one search: another base or budget is refused. Raises TrainingError.
    """
    import optuna

    if base.method != "lora":
        raise TrainingError(f"the search is over LoRA settings, and the method is {base.method}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    short = _shortest(Path(base.pairs), budget.pairs)
    folder.mkdir(parents=True, exist_ok=True)
    study = _study(folder, base, budget, short)
    (folder / "pairs.jsonl").write_text(short, encoding="utf-8")
    fixed = _fixed(base, budget, folder / "pairs.jsonl")
    parent = _Parent(folder, base, say)
    started, already = time.monotonic(), _counted(study)
    while (done := _counted(study)) < trials:
        # Seeded by its number, so that a search that was killed draws what an unbroken one would have.
        study.sampler = optuna.samplers.TPESampler(seed=base.seed + done, n_startup_trials=STARTUP_TRIALS)
        study.optimize(lambda trial: _objective(trial, fixed, folder, parent), n_trials=1)
        left = (time.monotonic() - started) / (done + 1 - already) * (trials - done - 1)
        say(f"trial {done + 1}/{trials}: {_told(study.trials[-1])}  {left / 60:.0f} min left")
    report = _report(study, fixed, budget)
    (folder / "search.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _write_best(base, study.best_params, folder / "best.yaml", report)
    _draw(study, folder, say)
    parent.close(report, study.best_params)
    return report


def _shortest(path: Path, count: int) -> str:
    """The shortest lines of a file of pairs: a step over them costs least."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)  # not splitlines(): a JSON string may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise PairsError(f"{path} cannot be read: {error}") from error
    return "".join(sorted(lines, key=lambda line: (len(line), line))[:count])


def _fixed(base: FinetuneConfig, budget: Budget, pairs: Path) -> FinetuneConfig:
    """The settings that all trials share."""
    return replace(
        base,
        pairs=str(pairs),
        validation_share=budget.validation_share,
        steps_max=budget.steps,
        epochs=max(base.epochs, budget.steps),  # the budget of steps decides, however few the pairs are
        validation_steps=budget.steps // 2,
        checkpoint_steps=budget.steps,
        patience=0,
    )


def _study(folder: Path, base: FinetuneConfig, budget: Budget, short: str) -> optuna.Study:
    """The study in the folder, what a kill left running queued again. Raises TrainingError for another search's."""
    import optuna
    from optuna.trial import TrialState

    study = optuna.create_study(
        storage=f"sqlite:///{(folder / 'study.db').resolve()}",
        study_name="adloom-search",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        load_if_exists=True,
    )
    pairs = hashlib.sha256(short.encode()).hexdigest()
    said = json.dumps([asdict(base), asdict(budget), pairs], sort_keys=True)
    if study.user_attrs.setdefault("identity", said) != said:
        raise TrainingError(f"{folder} holds another search; choose another folder, or delete it")
    study.set_user_attr("identity", said)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    return study


def _counted(study: optuna.Study) -> int:
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _objective(trial: optuna.Trial, fixed: FinetuneConfig, folder: Path, parent: _Parent) -> float:
    """Validation loss, nats a token, after the budget's last step. Raises TrialPruned at half way."""
    import optuna

    from model.prompt import tuned_prompt
    from model.training.finetune import finetune

    rank = trial.suggest_categorical("rank", [4, 8, 16, 32])
    config = replace(
        fixed,
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 5e-3, log=True),
        rank=rank,
        alpha=ALPHA_A_RANK * rank,
        dropout=trial.suggest_float("dropout", 0.0, 0.2, step=0.05),
        swap_share=trial.suggest_float("swap_share", 0.0, 1.0, step=0.25),
    )
    # By its settings, not its number: a trial that was killed is queued anew and finds its folder.
    name = hashlib.sha256(json.dumps(trial.params, sort_keys=True).encode()).hexdigest()[:12]
    run = folder / "trials" / name
    losses: dict[int, float] = {}

    def seen(step: int, loss: float) -> None:
        if step in losses:
            return
        losses[step] = loss
        trial.report(loss, step)
        if step < fixed.steps_max and trial.should_prune():
            raise optuna.TrialPruned

    started = time.monotonic()
    try:
        for line in whole_lines(run / METRICS):  # of a trial that was killed: the median needs what it reported
            if "validation_loss" in line:
                seen(line["step"], line["validation_loss"])
        finetune(config, tuned_prompt(), run, lambda _line: None, seen)
    except (optuna.TrialPruned, DivergedError) as error:
        _clear(run)
        raise optuna.TrialPruned(str(error)) from error
    finally:
        trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
        parent.trial(config, run)
    _clear(run)
    return losses[fixed.steps_max]


def _clear(run: Path) -> None:
    """Keep what a trial told, not its weights: a checkpoint is three times the adapter."""
    (run / CHECKPOINT).unlink(missing_ok=True)
    shutil.rmtree(run / "adapter", ignore_errors=True)


class _Parent:
    """The search's MLflow run and, below it, one a trial. Says a word and goes on where MLflow is not there."""

    def __init__(self, folder: Path, base: FinetuneConfig, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        (folder / "config.json").write_text(json.dumps(asdict(base), indent=2) + "\n", encoding="utf-8")
        self._base = base

    def _try(self, work: Callable[[Any, str], None]) -> None:
        try:
            require_lab(("mlflow",))
            from model.training.tracking import RunLog, connect

            client = connect()
            work(client, RunLog(client, self._base, self._folder).sync())
        except Exception as error:  # noqa: BLE001 - whatever MLflow meets, the search goes on
            self._say(f"warning: not logged to MLflow: {' '.join(str(error).split())[:200]}")

    def trial(self, config: FinetuneConfig, run: Path) -> None:
        """Log one trial as a run nested in the search's."""
        from model.training.tracking import RunLog

        self._try(lambda client, run_id: RunLog(client, config, run, parent=run_id).close("FINISHED"))

    def close(self, report: Mapping[str, Any], best: Mapping[str, Any]) -> None:
        """Log what came out, with the plots."""

        def work(client: Any, run_id: str) -> None:
            client.log_metric(run_id, "best_validation_loss", report["best"]["validation_loss"])
            for name, value in best.items():
                client.set_tag(run_id, f"best.{name}", value)
            for path in (*self._folder.glob("*.png"), self._folder / "search.json", self._folder / "best.yaml"):
                client.log_artifact(run_id, str(path))
            client.set_terminated(run_id)

        self._try(work)


def _report(study: optuna.Study, fixed: FinetuneConfig, budget: Budget) -> dict[str, Any]:
    from optuna.trial import TrialState

    trials = [
        {
            "trial": trial.number,
            "params": trial.params,
            "state": trial.state.name.lower(),
            "validation_loss": {str(step): round(loss, 4) for step, loss in trial.intermediate_values.items()},
            "seconds": trial.user_attrs.get("seconds"),
        }
        for trial in study.trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    ]
    best = {"trial": study.best_trial.number, "validation_loss": round(study.best_value, 4)}
    return {
        "form": 1,
        "budget": asdict(budget) | {"batch_pairs": fixed.batch_pairs},
        "pairs_sha256": hashlib.sha256(Path(fixed.pairs).read_bytes()).hexdigest(),
        "seed": fixed.seed,
        "trials": trials,
        "best": best,
    }


def table(report: Mapping[str, Any]) -> str:
    """The trials as lines of text, best first; those that were pruned last."""
    rows = sorted(report["trials"], key=lambda row: (row["state"] != "complete", _last(row)))
    lines = ["trial  validation loss  learning rate  rank  dropout  swap share"]
    for row in rows:
        params, loss = row["params"], _last(row)
        said = f"{loss:.3f}" if row["state"] == "complete" else f"{loss:.3f} (pruned)"
        said = said if math.isfinite(loss) else "diverged"
        lines.append(
            f"{row['trial']:5}  {said:15}  {params['learning_rate']:13.5f}  {params['rank']:4}"
            f"  {params['dropout']:7.2f}  {params['swap_share']:10.2f}"
        )
    return "\n".join(lines)


def _last(row: Mapping[str, Any]) -> float:
    """The last validation loss of a trial; none was taken where it diverged early."""
    return list(row["validation_loss"].values())[-1] if row["validation_loss"] else math.inf


def _told(trial: optuna.trial.FrozenTrial) -> str:
    settings = ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
    losses = list(trial.intermediate_values.values())
    return (
        f"{settings}: validation loss {losses[-1]:.3f} ({trial.state.name.lower()})"
        if losses
        else f"{settings}: diverged"
    )


def _write_best(base: FinetuneConfig, best: Mapping[str, Any], path: Path, report: Mapping[str, Any]) -> None:
    """`base` with the best trial's settings, its own pairs and length."""
    chosen = replace(base, **best, alpha=ALPHA_A_RANK * best["rank"])
    foreign = METHOD_KEYS["dpo"] - METHOD_KEYS["lora"]
    settings = {name: value for name, value in asdict(chosen).items() if name not in foreign}
    head = f"# Found by `adloom search`: trial {report['best']['trial']} of {len(report['trials'])}.\n"
    path.write_text(head + yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def _draw(study: optuna.Study, folder: Path, say: Callable[[str], None]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from optuna.visualization import matplotlib as plots

    for name in PLOTS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # optuna calls this part of itself experimental
                drawn = getattr(plots, f"plot_{name}")(study)
        except (ValueError, RuntimeError, ImportError) as error:
            say(f"no plot of {name.replace('_', ' ')}: {error}")  # importances need trials that differ
            continue
        figure = drawn.figure if hasattr(drawn, "figure") else drawn[0].figure
        figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        plt.close(figure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="what is not searched (%(default)s)")
    parser.add_argument("--trials", type=int, default=12, help="in all, earlier ones counted (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=12, help="training steps a trial (default: %(default)s)")
    parser.add_argument("--pairs-limit", type=int, default=128, help="the shortest so many (default: %(default)s)")
    parser.add_argument("--validation-share", type=float, default=0.25, help="of their families (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(".adloom/search"), help="default: %(default)s")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, RuntimeError, OSError) as problem:
        sys.exit(f"adloom: error: {problem}")
