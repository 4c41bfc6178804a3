"""
How a candidate is made and judged: which training stages in which order, and how much of the evaluation.

Knows the form of the file and no training; a stage is a file of `adloom train`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model.bundle import file_sha256
from model.prompt import tuned_prompt

DEFAULT = Path(__file__).parent / "recipes" / "ad_writer.yaml"
CONFIGS = Path(__file__).resolve().parents[1]
"""Paths in a recipe that are not absolute begin here."""


class RecipeError(ValueError):
    """A recipe that cannot be followed; the message names the key."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to a candidate."""

    stages: tuple[Path, ...]
    """Settings of `adloom train`, one after the other; a later one starts from what the one before it made."""
    base: str
    """Replaces the base of every stage; empty: as the stages say."""
    rows: int
    """Held-out rows that it is scored on; 0: all of them."""
    candidates: int
    """Ads written for each of them, of which the best counts."""
    certificate_rows: int

    def identity(self) -> str:
        """Everything but the data that decides what comes out; the contents of files, not their names."""
        base = Path(self.base) if self.base else None
        held = sorted(path for path in base.iterdir() if path.is_file()) if base and base.is_dir() else []
        parts = [tuned_prompt().digest(), self.base, *(f"{path.name} {file_sha256(path)}" for path in held)]
        for stage in self.stages:
            text = stage.read_text(encoding="utf-8")
            preferences = yaml.safe_load(text).get("preferences")
            parts += [text, file_sha256(CONFIGS / preferences) if preferences else ""]
        return "\n".join(parts)


def read_recipe(path: Path = DEFAULT, base: str = "") -> Recipe:
    """Parse a YAML file; `base` goes before the file's own. Raises RecipeError."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from error
    wanted: dict[str, type] = {"stages": list, "base": str, "rows": int, "candidates": int, "certificate_rows": int}
    if not isinstance(table, dict):
        raise RecipeError(f"{path} holds no recipe")
    if unknown := sorted(set(table) - set(wanted)):
        raise RecipeError(f"{path}: {unknown[0]} is unknown")
    for key, kind in wanted.items():
        if not isinstance(table.get(key), kind) or isinstance(table[key], bool):
            raise RecipeError(f"{path}: {key} should be a {kind.__name__}, and is {table.get(key)!r}")
    stages = tuple(_existing(path, name) for name in table["stages"])
    if not stages or table["candidates"] < 1 or table["certificate_rows"] < 1 or table["rows"] < 0:
        raise RecipeError(f"{path}: there has to be a stage, and counts are from 1 (rows from 0)")
    return Recipe(stages, base or table["base"], table["rows"], table["candidates"], table["certificate_rows"])


def _existing(recipe: Path, name: Any) -> Path:
    path = CONFIGS / str(name)
    if not path.is_file():
        raise RecipeError(f"{recipe}: there is no stage {name}")
    return path
