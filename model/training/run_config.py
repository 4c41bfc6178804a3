"""
The settings of one training run, read from YAML into a frozen object.

Knows which method needs which key; nothing of networks or data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from model.training.weights import Weights, embedded_weights

METHOD_KEYS: Mapping[str, frozenset[str]] = {
    "lora": frozenset({"rank", "alpha", "dropout", "swap_share"}),
    "full": frozenset({"swap_share"}),
    "dpo": frozenset({"start", "preferences", "beta", "sft_weight"}),
}
"""Keys that one method asks for and the others refuse: a rank in a full run would mislead its reader."""
_ABOVE_ZERO = ("rank", "alpha", "epochs", "batch_pairs", "checkpoint_steps", "learning_rate", "beta")
_SHARES = ("dropout", "warmup_share", "swap_share", "validation_share", "novelty_max")
_NOT_NEGATIVE = ("weight_decay", "patience", "validation_steps", "steps_max", "sft_weight")


class TrainingError(ValueError):
    """The configuration or its data cannot be trained on; the message says what to change."""


class DivergedError(TrainingError):
    """The loss is no number any more."""


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """One run, as its YAML file says it; unknown keys are refused."""

    base: str
    pairs: str
    learning_rate: float
    warmup_share: float
    weight_decay: float
    epochs: int
    batch_pairs: int
    validation_share: float
    checkpoint_steps: int
    seed: int
    method: str = "lora"
    rank: int = 0
    alpha: int = 0
    dropout: float = 0.0
    swap_share: float = 0.0
    novelty_max: float = 1.0
    """Pairs whose ad has a larger share of content words that their row lacks are left out; see leakage.novelty."""
    validation_steps: int = 0
    """Validate each time so many steps are done; 0: at each epoch's end."""
    patience: int = 0
    """Stop after so many validations in a row without a better loss; 0: never."""
    steps_max: int = 0
    """Stop after so many steps, the learning rate's curve fitted to them; 0: after all epochs."""
    start: str = ""
    """What a preference step begins from: an adapter folder, or a whole model's."""
    preferences: str = ""
    beta: float = 0.0
    sft_weight: float = 0.0

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
    try:
        return config_from_dict(table)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from None


def config_from_dict(table: Mapping[Any, Any]) -> FinetuneConfig:
    """The settings, checked. Raises TrainingError naming the key at fault."""
    kinds = {field.name: str(field.type) for field in fields(FinetuneConfig)}
    method = table.get("method", "lora")
    if method not in METHOD_KEYS:
        raise TrainingError(f"method should be one of {', '.join(METHOD_KEYS)}, and is {method!r}")
    _check_keys(table, method, set(kinds))
    for key, value in table.items():
        accepted = {"str": (str,), "int": (int,), "float": (float, int)}[kinds[key]]
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise TrainingError(f"{key} should be a {kinds[key]}, and is {value!r}")
    for key in table:
        if key in _ABOVE_ZERO and not 0 < table[key] < math.inf:
            raise TrainingError(f"{key} should be above zero, and is {table[key]}")
        if key in _SHARES and not 0 <= table[key] <= 1:
            raise TrainingError(f"{key} should lie between 0 and 1, and is {table[key]}")
        if key in _NOT_NEGATIVE and not 0 <= table[key] < math.inf:
            raise TrainingError(f"{key} should not be below zero, and is {table[key]}")
    return FinetuneConfig(**table)


def _check_keys(table: Mapping[Any, Any], method: str, known: set[str]) -> None:
    if unknown := sorted(set(table) - known, key=str):
        raise TrainingError(f"{unknown[0]} is unknown")
    required = {field.name for field in fields(FinetuneConfig) if field.default is MISSING} | METHOD_KEYS[method]
    if missing := sorted(required - set(table)):
        raise TrainingError(f"{missing[0]} is missing")
    if method == "dpo" and "novelty_max" in table:
        raise TrainingError("novelty_max chooses pairs, and method dpo learns from preferences")
    for other in sorted(set(METHOD_KEYS) - {method}):
        if foreign := sorted((METHOD_KEYS[other] - METHOD_KEYS[method]) & set(table)):
            raise TrainingError(f"{foreign[0]} belongs to method {other}, and the method is {method}")
