"""
Fine-tune a causal LM on pairs, with LoRA or all of its weights: supervised, loss on the answer's contents only.

Example: adloom train model/training/configs/smollm2-135m-lora.yaml --out .adloom/runs/first
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from model.prompt import Prompt
from model.training.dataset import Example, epoch_batches, split_by_family
from model.training.leakage import novelty, refuse_leaks
from model.training.pairs import Pair, read_pairs
from model.training.processes import Processes, joined
from model.training.run_config import FinetuneConfig, TrainingError
from model.training.training_run import CHECKPOINT, Evaluated, Say, TrainingRun
from model.training.weights import ADAPTER_FILE, BASE_WHEEL, load

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label that torch's cross entropy leaves out."""
ADAPTER, WHOLE = "adapter", "model"
"""Folder of what a run makes, by kind: a LoRA adapter, or all weights."""
HELDOUT = Path(__file__).parents[1] / "data" / "heldout.jsonl"
VALIDATION_BATCH_PAIRS = 8


def nothing_more(step: int, loss: float) -> None:
    """For a run whose validations nobody waits for."""


def finetune(
    config: FinetuneConfig, prompt: Prompt, folder: Path, say: Say, evaluated: Evaluated = nothing_more
) -> Path:
    """
    Train by `config.method` and return the folder of the best adapter or model (by validation loss).

    Everything lands in `folder`: config.json, metrics.jsonl (a line a step), checkpoint.pt, adapter/ or model/. A
    folder that holds a checkpoint of the same configuration and pairs is gone on with; one of another is refused.
    Under torchrun every process calls this, and the first writes.
    """
    with joined() as processes:
        if not processes.first:
            say = _silent
        if config.method == "dpo":
            from model.training.preference import prepare

            return prepare(config, folder, processes, say).go(say, evaluated)
        return _prepare(config, prompt, folder, processes, say).go(say, evaluated)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that has everything it needs: `go` takes up its checkpoint and trains."""

    config: FinetuneConfig
    folder: Path
    model: Any
    objective: Any
    processes: Processes
    result: Path

    def go(self, say: Say, evaluated: Evaluated) -> Path:
        """Train what is left; returns the folder of the result."""
        run: TrainingRun[Any] = TrainingRun(
            self.config, self.folder, self.model, self.objective, self.processes, say, evaluated
        )
        run.resume()
        self.processes.wait()  # nobody reads a checkpoint that the first is already replacing
        run.train()
        self.processes.wait()
        return self.result


def _prepare(config: FinetuneConfig, prompt: Prompt, folder: Path, processes: Processes, say: Say) -> Prepared:
    train, validation = split_pairs(config, say)
    claim(folder, config, prompt, {"pairs": Path(config.pairs)}, processes)
    model, tokenizer = load_for_training(config)
    result = folder / (WHOLE if config.method == "full" else ADAPTER)
    objective = Supervised(config, prompt, tokenizer, train, validation, result)
    return Prepared(config, folder, model, objective, processes, result)


def split_pairs(config: FinetuneConfig, say: Say) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs of a run. Raises TrainingError where a held-out row is among them."""
    pairs = read_pairs(Path(config.pairs))
    refuse_leaks(pairs, read_pairs(HELDOUT))
    train, validation = split_by_family(pairs, config.validation_share, config.seed)
    if not train or not validation:
        raise TrainingError(f"{len(pairs)} pairs are too few to set {config.validation_share:.0%} of families aside")
    # After the split, so that the same families validate whatever the limit is.
    train, validation = ([pair for pair in side if novelty(pair) <= config.novelty_max] for side in (train, validation))
    if left_out := len(pairs) - len(train) - len(validation):
        share = f"{config.novelty_max:.0%}"
        say(f"{left_out} of {len(pairs)} pairs left out: over {share} of their ad is not in the row")
    if not train or not validation:
        raise TrainingError(f"novelty_max {config.novelty_max} leaves too few pairs; raise it")
    return train, validation


def load_for_training(config: FinetuneConfig) -> tuple[Any, Any]:
    """
    The model to train and its tokenizer, as transformers gives it.

    LoRA: the base in bf16 with a fresh fp32 adapter on every linear layer. Full: all weights in fp32, for what a step
    changes is often less than bf16 can show; the arithmetic is bf16 all the same (see `answer_losses`).
    """
    import torch

    torch.manual_seed(config.seed)
    model, tokenizer = load(config.weights())  # before peft: it sets how loud the libraries are that peft imports
    if config.method == "full":
        return model, tokenizer
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules="all-linear")
    # bf16 shortens a step on processors that multiply it; peft keeps the adapter, and so its optimizer, in fp32.
    tuned = get_peft_model(model.to(torch.bfloat16), lora)
    name_base(tuned, config)
    return tuned, tokenizer


def name_base(tuned: Any, config: FinetuneConfig) -> None:
    """The adapter is kept and shared: it must not say where this machine keeps its packages."""
    tuned.peft_config["default"].base_model_name_or_path = config.base or BASE_WHEEL


class Supervised:
    """Learn the ads as they are written: an Objective over examples."""

    recorded: tuple[str, ...] = ()

    def __init__(
        self,
        config: FinetuneConfig,
        prompt: Prompt,
        tokenizer: Any,
        train: Sequence[Pair],
        validation: Sequence[Pair],
        result: Path,
    ) -> None:
        self._config, self._prompt, self._tokenizer, self._result = config, prompt, tokenizer, result
        self._train, self._validation = train, validation
        self.items = len(train)

    def batches(self, epoch: int) -> list[list[Example]]:
        """An epoch of training pairs, some of them swapped."""
        config = self._config
        return self._batches(self._train, epoch, config.seed, config.batch_pairs, config.swap_share)

    def validation_batches(self) -> list[list[Example]]:
        """The validation pairs as they are written."""
        return self._batches(self._validation, 0, 0, VALIDATION_BATCH_PAIRS, 0)

    def _batches(self, pairs: Sequence[Pair], epoch: int, seed: int, size: int, swap: float) -> list[list[Example]]:
        tokenizer: Tokenizer = self._tokenizer.backend_tokenizer
        return epoch_batches(pairs, self._prompt, tokenizer, epoch=epoch, seed=seed, batch_pairs=size, swap_share=swap)

    def weight(self, item: Example) -> int:
        """Learnt tokens: a long ad counts for more."""
        return sum(item.learnt)

    def summed(self, model: Any, items: Sequence[Example]) -> tuple[torch.Tensor, Mapping[str, float]]:
        """Cross entropy over the learnt tokens."""
        return answer_losses(model, items).sum(), {}

    def save(self, model: Any) -> None:
        """The adapter, or the whole model."""
        save_result(model, self._tokenizer, self._prompt, self._result)


def batch_loss(model: Any, batch: Sequence[Example]) -> torch.Tensor:
    """Mean cross entropy over the learnt tokens of a batch."""
    return answer_losses(model, batch).sum() / sum(sum(example.learnt) for example in batch)


def answer_losses(model: Any, batch: Sequence[Example]) -> torch.Tensor:
    """Cross entropy summed over the learnt tokens of each example. Logits are made for those positions only."""
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
    whole = is_whole(model)
    causal = model if whole else model.get_base_model()
    wanted = targets[:, 1:] != IGNORED
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=whole):
        hidden = causal.model(input_ids=ids, attention_mask=mask).last_hidden_state
        # A fifth of a forward pass is the output projection, and most positions are prompt.
        logits = causal.lm_head(hidden[:, :-1][wanted]).float()
    losses = torch.nn.functional.cross_entropy(logits, targets[:, 1:][wanted], reduction="none")
    return torch.zeros(len(batch)).index_add(0, wanted.nonzero()[:, 0], losses)


def is_whole(model: Any) -> bool:
    """Whether all weights are trained; otherwise the model is peft's wrapping of one."""
    return not hasattr(model, "peft_config")


def save_result(model: Any, tokenizer: Any, prompt: Prompt, folder: Path) -> None:
    """Write adapter or model in fp16 with its prompt, as `adloom bundle build` takes it; whole or not at all."""
    fresh = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    if is_whole(model):
        import torch

        # fp16 has three bits more of each weight than bf16, and no weight comes near its range.
        copy.deepcopy(model).to(torch.float16).save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
    else:
        _save_adapter(model, fresh)
    (fresh / "prompt.json").write_text(json.dumps(prompt.as_dict(), indent=2) + "\n", encoding="utf-8")
    for path in fresh.iterdir():
        path.chmod(0o644)  # safetensors makes it private to its owner; an image runs as somebody else
    # A kill between these two lines leaves none; the run then goes on from before this step and writes it again.
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _save_adapter(model: Any, folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    # "auto" would ask the hub whether the vocabulary grew.
    model.save_pretrained(folder, save_embedding_layers=False)
    path = folder / ADAPTER_FILE
    save_file({name: value.to(torch.float16) for name, value in load_file(path).items()}, path)
    settings = folder / "adapter_config.json"
    table = json.loads(settings.read_text(encoding="utf-8"))
    table["target_modules"].sort()  # a set in peft: its order is another in every process
    settings.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)


def claim(
    folder: Path, config: FinetuneConfig, prompt: Prompt, inputs: Mapping[str, Path], processes: Processes
) -> None:
    """Take the folder for this run: settings, prompt and the digest of every input file go into its config.json."""
    digests = {f"{name}_sha256": hashlib.sha256(path.read_bytes()).hexdigest() for name, path in inputs.items()}
    identity = asdict(config) | {"prompt": prompt.digest()} | digests
    text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
    path = folder / "config.json"
    if path.is_file() and path.read_text(encoding="utf-8") != text and (folder / CHECKPOINT).exists():
        raise TrainingError(f"{folder} holds another run; choose another folder, or delete it")
    processes.wait()  # all have looked before the first writes
    if processes.first:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    processes.wait()


def _silent(line: str) -> None:
    pass
