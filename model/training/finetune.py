"""
Fine-tune a causal LM on pairs with LoRA: supervised, loss on the answer's contents only.

Deterministic for a seed, and a run that was killed goes on from its last checkpoint to the same result.
Example: adloom train model/training/configs/smollm2-135m-lora.yaml --out .adloom/runs/first
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tokenizers import Tokenizer

from model.prompt import Prompt
from model.training.dataset import Example, epoch_batches, split_by_family
from model.training.pairs import Pair, read_pairs
from model.training.weights import ADAPTER_FILE, BASE_WHEEL, Weights, embedded_weights, load

if TYPE_CHECKING:
    import torch

FINAL_RATE_SHARE = 0.1
CLIP_NORM = 1.0
IGNORED = -100
"""Label that torch's cross entropy leaves out."""
CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
ADAPTER = "adapter"
Say = Callable[[str], None]


class TrainingError(ValueError):
    """The configuration or its data cannot be trained on; the message says what to change."""


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """One run, as its YAML file says it; unknown keys are refused."""

    base: str
    pairs: str
    rank: int
    alpha: int
    dropout: float
    learning_rate: float
    warmup_share: float
    weight_decay: float
    epochs: int
    batch_pairs: int
    swap_share: float
    validation_share: float
    checkpoint_steps: int
    seed: int

    def weights(self) -> Weights:
        """Where the base weights come from."""
        return Weights(self.base) if self.base else embedded_weights()


def read_config(path: Path) -> FinetuneConfig:
    """Parse a YAML file. Raises TrainingError naming the key at fault."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise TrainingError(f"{path} holds no settings")
    kinds = {field.name: field.type for field in fields(FinetuneConfig)}
    if wrong := sorted(set(table) ^ set(kinds), key=str):
        raise TrainingError(f"{path}: {wrong[0]} is {'unknown' if wrong[0] in table else 'missing'}")
    for key, value in table.items():
        accepted = {"str": (str,), "int": (int,), "float": (float, int)}[str(kinds[key])]
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise TrainingError(f"{path}: {key} should be a {kinds[key]}, and is {value!r}")
    for key in ("rank", "alpha", "epochs", "batch_pairs", "checkpoint_steps", "learning_rate"):
        if not 0 < table[key] < math.inf:
            raise TrainingError(f"{path}: {key} should be above zero, and is {table[key]}")
    for key in ("dropout", "warmup_share", "swap_share", "validation_share"):
        if not 0 <= table[key] <= 1:
            raise TrainingError(f"{path}: {key} should lie between 0 and 1, and is {table[key]}")
    return FinetuneConfig(**table)


def finetune(config: FinetuneConfig, prompt: Prompt, folder: Path, say: Say) -> Path:
    """
    Train and return the folder of the best epoch's adapter (by validation loss).

    Everything lands in `folder`: config.json, metrics.jsonl (a line a step), checkpoint.pt, adapter/. A folder that
    holds a checkpoint of the same configuration and pairs is gone on with; one of another is refused.
    """
    import torch

    pairs = read_pairs(Path(config.pairs))
    train, validation = split_by_family(pairs, config.validation_share, config.seed)
    if not train or not validation:
        raise TrainingError(f"{len(pairs)} pairs are too few to set {config.validation_share:.0%} of families aside")
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(Path(config.pairs).read_bytes()).hexdigest()
    identity = asdict(config) | {"prompt": prompt.digest(), "pairs_read": len(pairs), "pairs_sha256": digest}
    _claim(folder, identity)
    torch.manual_seed(config.seed)
    model, tokenizer = load_for_training(config)
    run = _Run(config, prompt, folder, model, tokenizer, train, validation, say)
    run.resume()
    run.train()
    return folder / ADAPTER


def load_for_training(config: FinetuneConfig) -> tuple[Any, Tokenizer]:
    """The base model in bf16 with a fresh fp32 LoRA on every linear layer, and its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model

    model, tokenizer = load(config.weights())
    lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules="all-linear")
    # bf16 shortens a step on processors that multiply it; peft keeps the adapter, and so its optimizer, in fp32.
    tuned = get_peft_model(model.to(torch.bfloat16), lora)
    # The adapter is kept and shared: it must not say where this machine keeps its packages.
    tuned.peft_config["default"].base_model_name_or_path = config.base or BASE_WHEEL
    return tuned, tokenizer.backend_tokenizer


class _Run:
    """One training run and where it stands."""

    def __init__(
        self,
        config: FinetuneConfig,
        prompt: Prompt,
        folder: Path,
        model: Any,
        tokenizer: Tokenizer,
        train: Sequence[Pair],
        validation: Sequence[Pair],
        say: Say,
    ) -> None:
        import torch

        self._config, self._prompt, self._folder, self._model = config, prompt, folder, model
        self._tokenizer, self._train, self._validation, self._say = tokenizer, train, validation, say
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        self._trained: list[torch.nn.Parameter] = trained
        self._optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._steps_an_epoch = math.ceil(len(train) / config.batch_pairs)
        self._steps = config.epochs * self._steps_an_epoch
        self._done = 0
        self._best = math.inf

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
                for name, value in state["adapter"].items():
                    named[name].copy_(value)
            self._optimizer.load_state_dict(state["optimizer"])
            self._done, self._best = int(state["done"]), float(state["best"])
        except (RuntimeError, KeyError, TypeError, ValueError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(f"{path} is cut short or of another model; delete it to start over") from error
        self._cut_metrics()
        self._say(f"going on after step {self._done} of {self._steps}")

    def train(self) -> None:
        """All epochs that are left."""
        started, begun_at = time.monotonic(), self._done
        while self._done < self._steps:
            epoch = self._done // self._steps_an_epoch
            for batch in self._batches(epoch)[self._done % self._steps_an_epoch :]:
                rate, loss = self._rate(), self._step(batch)
                self._done += 1
                self._record({"step": self._done, "loss": loss, "learning_rate": rate})
                if self._done % 10 == 0:
                    left = (time.monotonic() - started) / (self._done - begun_at) * (self._steps - self._done)
                    self._say(f"step {self._done}/{self._steps}  loss {loss:.3f}  {left / 60:.0f} min left")
                # Not at an epoch's last step: a run resumed there would never validate that epoch.
                if self._done % self._config.checkpoint_steps == 0 and self._done % self._steps_an_epoch:
                    self._save()
            self._end_epoch(epoch)

    def _batches(self, epoch: int) -> list[list[Example]]:
        return epoch_batches(
            self._train,
            self._prompt,
            self._tokenizer,
            epoch=epoch,
            seed=self._config.seed,
            batch_pairs=self._config.batch_pairs,
            swap_share=self._config.swap_share,
        )

    def _step(self, batch: Sequence[Example]) -> float:
        import torch

        # Dropout hangs on the step alone, so that a resumed run draws what an unbroken one would have.
        torch.manual_seed(self._config.seed * 1_000_003 + self._done)
        self._model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        loss = batch_loss(self._model, batch)
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(f"step {self._done + 1}: the loss is {float(loss.detach())}; lower learning_rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._trained, CLIP_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(loss.detach())

    def _rate(self) -> float:
        """Linear warm-up, then half a cosine from the peak to a tenth of it."""
        peak, warmup = self._config.learning_rate, max(1, round(self._config.warmup_share * self._steps))
        if self._done < warmup:
            return peak * (self._done + 1) / warmup
        way = (self._done - warmup) / max(1, self._steps - warmup)
        return peak * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * (1 + math.cos(math.pi * way)) / 2)

    def _end_epoch(self, epoch: int) -> None:
        loss = self.validation_loss()
        self._record({"step": self._done, "epoch": epoch + 1, "validation_loss": loss})
        better = loss < self._best
        self._say(f"epoch {epoch + 1}: validation loss {loss:.3f}{' (best)' if better else ''}")
        if better:
            self._best = loss
            save_adapter(self._model, self._prompt, self._folder / ADAPTER)
        self._save()

    def validation_loss(self) -> float:
        """Mean loss a learnt token over the validation pairs as they are written."""
        import torch

        self._model.eval()
        total, tokens = 0.0, 0
        batches = epoch_batches(
            self._validation, self._prompt, self._tokenizer, epoch=0, seed=0, batch_pairs=8, swap_share=0
        )
        with torch.no_grad():
            for batch in batches:
                learnt = sum(sum(example.learnt) for example in batch)
                total += float(batch_loss(self._model, batch)) * learnt
                tokens += learnt
        return total / tokens

    def _save(self) -> None:
        import torch

        adapter = {name: weight.detach() for name, weight in self._model.named_parameters() if weight.requires_grad}
        state = {
            "adapter": adapter,
            "optimizer": self._optimizer.state_dict(),
            "done": self._done,
            "best": self._best,
        }
        fresh = self._folder / f"{CHECKPOINT}.tmp"
        torch.save(state, fresh)
        os.replace(fresh, self._folder / CHECKPOINT)  # noqa: PTH105 - whole or not at all

    def _record(self, line: dict[str, float]) -> None:
        with (self._folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _cut_metrics(self) -> None:
        """Drop the steps after the checkpoint: they are made again, and would stand there twice."""
        path = self._folder / METRICS
        if not path.is_file():
            return
        whole = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= self._done]
        fresh = path.with_suffix(".tmp")
        fresh.write_text("".join(kept), encoding="utf-8")
        os.replace(fresh, path)  # noqa: PTH105 - whole or not at all


def batch_loss(model: Any, batch: Sequence[Example]) -> torch.Tensor:
    """Mean cross entropy over the learnt tokens of a batch. Logits are made for those positions only."""
    import torch

    length = max(len(example.ids) for example in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    targets = torch.full((len(batch), length), IGNORED)
    mask = torch.zeros(len(batch), length, dtype=torch.long)
    for row, example in enumerate(batch):
        size = len(example.ids)
        ids[row, :size] = torch.tensor(example.ids)
        mask[row, :size] = 1
        learnt = torch.tensor(example.learnt)
        targets[row, :size] = torch.where(learnt, ids[row, :size], IGNORED)
    causal = model.get_base_model()
    hidden = causal.model(input_ids=ids, attention_mask=mask).last_hidden_state
    wanted = targets[:, 1:] != IGNORED
    # A fifth of a forward pass is the output projection, and most positions are prompt.
    logits = causal.lm_head(hidden[:, :-1][wanted]).float()
    return torch.nn.functional.cross_entropy(logits, targets[:, 1:][wanted])


def save_adapter(model: Any, prompt: Prompt, folder: Path) -> None:
    """Write the adapter in fp16 with the prompt it was tuned on: what `adloom bundle build --adapter` takes."""
    import torch
    from safetensors.torch import load_file, save_file

    # "auto" would ask the hub whether the vocabulary grew.
    model.save_pretrained(folder, save_embedding_layers=False)
    path = folder / ADAPTER_FILE
    save_file({name: value.to(torch.float16) for name, value in load_file(path).items()}, path)
    path.chmod(0o644)  # safetensors makes it private to its owner; an image runs as somebody else
    settings = folder / "adapter_config.json"
    table = json.loads(settings.read_text(encoding="utf-8"))
    table["target_modules"].sort()  # a set in peft: its order is another in every process
    settings.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "prompt.json").write_text(json.dumps(prompt.as_dict(), indent=2) + "\n", encoding="utf-8")


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    path = folder / "config.json"
    text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text and (folder / CHECKPOINT).exists():
        raise TrainingError(f"{folder} holds another run; choose another folder, or delete it")
    path.write_text(text, encoding="utf-8")
