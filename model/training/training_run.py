"""
The training loop: steps, validation, early stopping, checkpoints. What is learnt from a batch is the objective's.

Deterministic for a seed; a run that was killed goes on from its last checkpoint to the same result.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from model.training.processes import Processes
from model.training.run_config import DivergedError, FinetuneConfig, TrainingError

FINAL_RATE_SHARE = 0.1
CLIP_NORM = 1.0
CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
RANK_SEED_STRIDE = 7_368_787
"""Keeps the dropout of processes apart; a prime beyond any number of steps."""

Say = Callable[[str], None]
Evaluated = Callable[[int, float], None]
"""Told the step and validation loss after each validation, when everything is written."""
Item = TypeVar("Item")


class Objective(Protocol[Item]):
    """What a run learns: where its batches come from and what one of them costs."""

    items: int
    """Training items an epoch."""
    recorded: tuple[str, ...]
    """Names of the further sums that `summed` returns."""

    def batches(self, epoch: int) -> list[list[Item]]:
        """One epoch's batches; the same epoch gives the same batches."""
        ...

    def validation_batches(self) -> list[list[Item]]:
        """What the validation loss is taken over."""
        ...

    def weight(self, item: Item) -> int:
        """What an item counts in a mean: its learnt tokens, or one."""
        ...

    def summed(self, model: Any, items: Sequence[Item]) -> tuple[Any, Mapping[str, float]]:
        """Loss summed over the items' weights, as a tensor, and further sums to record."""
        ...

    def save(self, model: Any) -> None:
        """Write the model in the form that its user takes."""
        ...


class TrainingRun(Generic[Item]):
    """One training run and where it stands."""

    def __init__(
        self,
        config: FinetuneConfig,
        folder: Path,
        model: Any,
        objective: Objective[Item],
        processes: Processes,
        say: Say,
        evaluated: Evaluated,
    ) -> None:
        import torch

        self._config, self._folder, self._model, self._objective = config, folder, model, objective
        self._processes, self._say, self._evaluated = processes, say, evaluated
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._steps_an_epoch = math.ceil(objective.items / config.batch_pairs)
        self._steps = config.epochs * self._steps_an_epoch
        if config.steps_max:
            self._steps = min(self._steps, config.steps_max)
        self._done = 0
        self._best = math.inf
        self._waited = 0
        """Validations since the best one."""

    @property
    def _finished(self) -> bool:
        return self._done >= self._steps or 0 < self._config.patience <= self._waited

    def resume(self) -> None:
        """Take up the checkpoint of this folder, if it has one."""
        import torch

        path = self._folder / CHECKPOINT
        if not path.is_file():
            self._cut_metrics()
            return
        try:
            state = torch.load(path, weights_only=True)
            named = dict(self._model.named_parameters())
            with torch.no_grad():
                for name, value in state["trained"].items():
                    named[name].copy_(value)
            self._optimizer.load_state_dict(state["optimizer"])
            self._done, self._best, self._waited = int(state["done"]), float(state["best"]), int(state["waited"])
        except (RuntimeError, KeyError, TypeError, ValueError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(f"{path} is cut short or of another model; delete it to start over") from error
        self._cut_metrics()
        self._say(f"going on after step {self._done} of {self._steps}")

    def train(self) -> None:
        """Every step that is left."""
        started, begun_at = time.monotonic(), self._done
        while not self._finished:
            epoch = self._done // self._steps_an_epoch
            for batch in self._objective.batches(epoch)[self._done % self._steps_an_epoch :]:
                rate = self._rate()
                figures = self._step(batch, rate)
                self._done += 1
                self._record({"step": self._done, "learning_rate": rate} | figures)
                if self._done % 10 == 0:
                    left = (time.monotonic() - started) / (self._done - begun_at) * (self._steps - self._done)
                    self._say(f"step {self._done}/{self._steps}  loss {figures['loss']:.3f}  {left / 60:.0f} min left")
                # Either, never both: a run resumed between the two would never validate.
                if self._validates():
                    self._validate()
                elif self._done % self._config.checkpoint_steps == 0:
                    self._save()
                if self._finished:
                    break

    def _validates(self) -> bool:
        every = self._config.validation_steps or self._steps_an_epoch
        return self._done == self._steps or self._done % every == 0

    def _step(self, batch: Sequence[Item], rate: float) -> dict[str, float]:
        import torch

        # Dropout hangs on step and process alone, so that a resumed run draws what an unbroken one would have.
        torch.manual_seed(self._config.seed * 1_000_003 + self._done + self._processes.rank * RANK_SEED_STRIDE)
        self._model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        weight = sum(map(self._objective.weight, batch))
        figures: dict[str, float] = {}
        if share := self._processes.share(batch):
            loss, sums = self._objective.summed(self._model, share)
            (loss / weight).backward()
            figures = {"loss": float(loss.detach())} | dict(sums)
        self._processes.sum_gradients(self._trained)
        figures = self._means(figures, weight)
        if not math.isfinite(figures["loss"]):
            raise DivergedError(f"step {self._done + 1}: the loss is {figures['loss']}; lower learning_rate")
        torch.nn.utils.clip_grad_norm_(self._trained, CLIP_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return figures

    def _means(self, sums: Mapping[str, float], weight: int) -> dict[str, float]:
        """Means over all processes; one with an empty share adds nothing, and learns the names from the objective."""
        names = ("loss", *self._objective.recorded)
        totals = self._processes.sum([sums.get(name, 0.0) for name in names])
        return {name: total / weight for name, total in zip(names, totals, strict=True)}

    def _rate(self) -> float:
        """Linear warm-up, then half a cosine from the peak to a tenth of it."""
        peak, warmup = self._config.learning_rate, max(1, round(self._config.warmup_share * self._steps))
        if self._done < warmup:
            return peak * (self._done + 1) / warmup
        way = (self._done - warmup) / max(1, self._steps - warmup)
        return peak * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * (1 + math.cos(math.pi * way)) / 2)

    def _validate(self) -> None:
        figures = self.validation()
        loss, epoch = figures["loss"], round(self._done / self._steps_an_epoch, 2)
        told = {f"validation_{name}": value for name, value in figures.items()}
        self._record({"step": self._done, "epoch": epoch} | told)
        better = loss < self._best
        self._say(f"epoch {epoch:g}: validation loss {loss:.3f}{' (best)' if better else ''}")
        self._waited = 0 if better else self._waited + 1
        if better:
            self._best = loss
            if self._processes.first:
                self._objective.save(self._model)
        self._save()
        if self._finished and self._done < self._steps:
            self._say(f"stopped early: no better validation loss in {self._waited} validations")
        self._evaluated(self._done, loss)

    def validation(self) -> dict[str, float]:
        """Mean loss, and whatever else the objective records, over the validation items as they are written."""
        import torch

        self._model.eval()
        sums: dict[str, float] = {}
        weight = 0
        with torch.no_grad():
            for batch in self._objective.validation_batches():
                weight += sum(map(self._objective.weight, batch))
                if share := self._processes.share(batch):
                    loss, more = self._objective.summed(self._model, share)
                    for name, value in ({"loss": float(loss)} | dict(more)).items():
                        sums[name] = sums.get(name, 0.0) + value
        return self._means(sums, weight)

    def _save(self) -> None:
        import torch

        if not self._processes.first:
            return
        trained = {name: weight.detach() for name, weight in self._model.named_parameters() if weight.requires_grad}
        state = {
            "trained": trained,
            "optimizer": self._optimizer.state_dict(),
            "done": self._done,
            "best": self._best,
            "waited": self._waited,
        }
        fresh = self._folder / f"{CHECKPOINT}.tmp"
        torch.save(state, fresh)
        os.replace(fresh, self._folder / CHECKPOINT)  # noqa: PTH105 - whole or not at all

    def _record(self, line: Mapping[str, float]) -> None:
        if self._processes.first:
            with (self._folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _cut_metrics(self) -> None:
        """Drop the steps after the checkpoint: they are made again, and would stand there twice."""
        path = self._folder / METRICS
        if not path.is_file() or not self._processes.first:
            return
        whole = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= self._done]
        fresh = path.with_suffix(".tmp")
        fresh.write_text("".join(kept), encoding="utf-8")
        os.replace(fresh, path)  # noqa: PTH105 - whole or not at all
