"""
Learn from which of two ads a reader preferred: direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290).

The reference is the model as it stood before; its log-probabilities are taken once and kept in the run folder.
Example: adloom train model/training/configs/smollm2-135m-dpo.yaml --out .adloom/runs/preferred
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.creative import Copy
from model.prompt import Prompt
from model.training.bundle_command import prompt_of
from model.training.dataset import Example, encode, shuffled_batches, split_by_family
from model.training.finetune import (
    ADAPTER,
    HELDOUT,
    VALIDATION_BATCH_PAIRS,
    WHOLE,
    Prepared,
    answer_losses,
    claim,
    name_base,
    save_result,
)
from model.training.leakage import refuse_leaks
from model.training.pairs import Pair, copy_from, read_pairs
from model.training.processes import Processes
from model.training.run_config import FinetuneConfig, TrainingError
from model.training.training_run import Say
from model.training.weights import ADAPTER_FILE, Weights, WeightsError, load

if TYPE_CHECKING:
    import torch

CHOSEN_BY = ("model", "edited")
REFERENCE = "reference.json"


class PreferencesError(ValueError):
    """A file of preferences that cannot be learnt from; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Preference:
    """Two ads for one product, and which of them is better."""

    id: str
    pair: Pair
    """Whose product, channel and voice both ads are for."""
    chosen: Copy
    rejected: Copy
    chosen_by: str
    """"model": as it was sampled; "edited": mended by hand."""
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One preference as token ids, with the reference's log-probability of each ad's learnt tokens, in nats."""

    chosen: Example
    rejected: Example
    chosen_reference: float = 0.0
    rejected_reference: float = 0.0


def read_preferences(path: Path, pairs: Sequence[Pair]) -> list[Preference]:
    """Every line of a JSON Lines file. Raises PreferencesError with the number of the first bad line."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)  # not splitlines(): a JSON string may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise PreferencesError(f"{path} cannot be read: {error}") from error
    known = {pair.id: pair for pair in pairs}
    found: dict[str, Preference] = {}
    for number, line in enumerate(lines, start=1):
        try:
            preference = _preference(json.loads(line), known, used=found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PreferencesError(f"{path}, line {number}: not a preference ({error!r})") from error
        found[preference.id] = preference
    if not found:
        raise PreferencesError(f"{path} holds no preferences")
    return list(found.values())


def _preference(table: Mapping[str, Any], known: Mapping[str, Pair], used: Container[str]) -> Preference:
    for key in ("id", "pair", "channel", "voice", "chosen_by", "why"):
        if not isinstance(table[key], str):
            raise TypeError(f"{key} should be a text, and is {table[key]!r}")
    if table["id"] in used:
        raise ValueError(f"id {table['id']} is used twice")
    if table["pair"] not in known:
        raise ValueError(f"no training pair has the id {table['pair']!r}")
    pair = known[table["pair"]]
    for key, value in (("channel", pair.spec.name), ("voice", pair.voice)):
        if table[key] != value:
            raise ValueError(f"{key} is {table[key]!r}, and that of pair {pair.id} is {value!r}")
    if table["chosen_by"] not in CHOSEN_BY:
        raise ValueError(f"chosen_by should be one of {', '.join(CHOSEN_BY)}, and is {table['chosen_by']!r}")
    chosen, rejected = copy_from(table["chosen"]), copy_from(table["rejected"])
    if chosen == rejected:
        raise ValueError("chosen and rejected are the same ad")
    return Preference(table["id"], pair, chosen, rejected, table["chosen_by"], table["why"])


def prepare(config: FinetuneConfig, folder: Path, processes: Processes, say: Say) -> Prepared:
    """A preference run, ready to go: data split, model loaded, reference taken. Raises TrainingError and its kin."""
    start = Path(config.start)
    prompt = prompt_of(start)
    train, validation = _split(config)
    weights = next((start / name for name in (ADAPTER_FILE, "model.safetensors") if (start / name).is_file()), None)
    if weights is None:
        raise WeightsError(f"{start} holds no {ADAPTER_FILE} and no model.safetensors; start names a finished run's")
    inputs = {"pairs": Path(config.pairs), "preferences": Path(config.preferences), "start": weights}
    claim(folder, config, prompt, inputs, processes)
    model, tokenizer = _load(config, is_adapter=weights.name == ADAPTER_FILE)
    sides = [_encoded(side, prompt, tokenizer) for side in (train, validation)]
    if processes.first:
        _take_reference(model, [*train, *validation], [*sides[0], *sides[1]], folder, say)
    processes.wait()
    referred = [_referred(side, choices, folder) for side, choices in zip((train, validation), sides, strict=True)]
    result = folder / (ADAPTER if weights.name == ADAPTER_FILE else WHOLE)
    objective = Preferring(config, prompt, tokenizer, referred[0], referred[1], result)
    return Prepared(config, folder, model, objective, processes, result)


def _split(config: FinetuneConfig) -> tuple[list[Preference], list[Preference]]:
    """Training and validation preferences; the same seed and share set the same families aside as before tuning."""
    pairs = read_pairs(Path(config.pairs))
    preferences = read_preferences(Path(config.preferences), pairs)
    heldout = read_pairs(HELDOUT)
    refuse_leaks(pairs, heldout)
    refuse_leaks([replace(each.pair, id=each.id, words=each.chosen) for each in preferences], heldout)
    _, aside = split_by_family(pairs, config.validation_share, config.seed)
    families = {pair.family for pair in aside}
    validation = [each for each in preferences if each.pair.family in families]
    train = [each for each in preferences if each.pair.family not in families]
    if not train or not validation:
        share = f"{config.validation_share:.0%}"
        raise TrainingError(f"{len(preferences)} preferences are too few to set {share} of families aside")
    return train, validation


def _load(config: FinetuneConfig, *, is_adapter: bool) -> tuple[Any, Any]:
    """The model that `start` holds, its adapter or all its weights to be trained, without dropout."""
    import torch

    torch.manual_seed(config.seed)
    if not is_adapter:
        return load(Weights(config.start))
    model, tokenizer = load(config.weights())
    from peft import PeftModel

    try:
        tuned = PeftModel.from_pretrained(model.to(torch.bfloat16), config.start, is_trainable=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot load the adapter in {config.start}: {error}") from error
    for module in tuned.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the reference was taken without: what dropout changes is no preference
    name_base(tuned, config)
    return tuned, tokenizer


def _encoded(preferences: Sequence[Preference], prompt: Prompt, tokenizer: Any) -> list[Choice]:
    def example(pair: Pair, words: Copy) -> Example:
        return encode(replace(pair, words=words), prompt, tokenizer.backend_tokenizer)

    return [Choice(example(each.pair, each.chosen), example(each.pair, each.rejected)) for each in preferences]


def _take_reference(
    model: Any, preferences: Sequence[Preference], choices: Sequence[Choice], folder: Path, say: Say
) -> None:
    """Write reference.json, unless it is there for this very configuration."""
    import torch

    path, config = folder / REFERENCE, _config_digest(folder)
    if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["config_sha256"] == config:
        return
    say(f"taking the reference of {len(choices)} preferences")
    model.eval()
    table = {}
    with torch.no_grad():
        for each, choice in zip(preferences, choices, strict=True):
            losses = answer_losses(model, [choice.chosen, choice.rejected])
            table[each.id] = [-float(loss) for loss in losses]
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps({"config_sha256": config, "log_probabilities": table}) + "\n", encoding="utf-8")
    os.replace(fresh, path)  # noqa: PTH105 - whole or not at all


def _referred(preferences: Sequence[Preference], choices: Sequence[Choice], folder: Path) -> list[Choice]:
    table = json.loads((folder / REFERENCE).read_text(encoding="utf-8"))["log_probabilities"]
    return [
        replace(choice, chosen_reference=table[each.id][0], rejected_reference=table[each.id][1])
        for each, choice in zip(preferences, choices, strict=True)
    ]


def _config_digest(folder: Path) -> str:
    return hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()


class Preferring:
    """Raise the chosen ad above the rejected one, measured against the reference: an Objective over choices."""

    recorded = ("margin", "accuracy", "sft_loss")
    """`margin`: beta times how much further apart the two ads are than for the reference, in nats; `accuracy`: share
    of choices with a margin above zero; `sft_loss`: nats a learnt token of the chosen ad."""

    def __init__(
        self,
        config: FinetuneConfig,
        prompt: Prompt,
        tokenizer: Any,
        train: Sequence[Choice],
        validation: Sequence[Choice],
        result: Path,
    ) -> None:
        self._config, self._prompt, self._tokenizer, self._result = config, prompt, tokenizer, result
        self._train, self._validation = train, validation
        self.items = len(train)

    def batches(self, epoch: int) -> list[list[Choice]]:
        """An epoch of choices, in an order of its own."""
        draw = random.Random(f"{self._config.seed}/{epoch}")
        return shuffled_batches(self._train, self._config.batch_pairs, draw, _length)

    def validation_batches(self) -> list[list[Choice]]:
        """The choices of the families set aside."""
        return shuffled_batches(self._validation, VALIDATION_BATCH_PAIRS, random.Random(0), _length)

    def weight(self, item: Choice) -> int:  # noqa: ARG002 - the objective of another kind weighs its items
        """Each choice counts alike."""
        return 1

    def summed(self, model: Any, items: Sequence[Choice]) -> tuple[torch.Tensor, Mapping[str, float]]:
        """DPO's loss, and `sft_weight` times the chosen ads' own, which keeps them from growing less likely too."""
        import torch

        both = [item.chosen for item in items] + [item.rejected for item in items]
        chosen, rejected = (-answer_losses(model, both)).split(len(items))
        gained = chosen - torch.tensor([item.chosen_reference for item in items])
        lost = rejected - torch.tensor([item.rejected_reference for item in items])
        margin = self._config.beta * (gained - lost)
        sft = -chosen / torch.tensor([float(sum(item.chosen.learnt)) for item in items])
        loss = -torch.nn.functional.logsigmoid(margin) + self._config.sft_weight * sft
        told = {
            "margin": float(margin.detach().sum()),
            "accuracy": float((margin > 0).sum()),
            "sft_loss": float(sft.detach().sum()),
        }
        return loss.sum(), told

    def save(self, model: Any) -> None:
        """In the form that the run started from."""
        save_result(model, self._tokenizer, self._prompt, self._result)


def _length(choice: Choice) -> int:
    return max(len(choice.chosen.ids), len(choice.rejected.ids))
