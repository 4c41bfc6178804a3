"""
The writer as MLflow loads a model: a table of products in, a table of ads out.

MLflow finds `_load_pyfunc` by this module's name, so a registered version needs Adloom installed and nothing pickled.
Load one with `mlflow.pyfunc.load_model("models:/adloom-writer@champion")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.channel import channel
from model.product import product_from_mapping
from model.prompt import VOICES

REQUIRED = ("title", "channel")
OPTIONAL = ("sku", "description", "category", "voice")
OUTPUTS = ("id", "sku", "channel", "headline", "body", "call_to_action", "hashtags", "findings")
"""Text columns; `validity` (0 to 1) comes beside them."""
PARAMS: Mapping[str, int] = {"candidates": 4, "seed": 0}


class PyfuncWriter:
    """What `predict` is called on. One ad a row: the best of its candidates."""

    def __init__(self, folder: Path) -> None:
        from model.writer import open_writer  # noqa: PLC0415 - `adloom register` needs the names here, not the engine

        self._writer = open_writer(folder)

    def predict(self, table: Any, params: Mapping[str, Any] | None = None) -> Any:
        """`table` is a pandas DataFrame; raises ValueError naming the row that is no product or names no channel."""
        settings = {**PARAMS, **(params or {})}
        ads = []
        for place, row in enumerate(table.to_dict("records")):
            given = {name: value for name, value in row.items() if isinstance(value, str) and value}
            try:
                ads.append(self._write(given, int(settings["candidates"]), int(settings["seed"])))
            except ValueError as error:
                raise ValueError(f"row {place}: {error}") from error
        # The caller's own DataFrame class: nothing else here needs pandas.
        return type(table)(ads, columns=[*OUTPUTS, "validity"])

    def _write(self, row: dict[str, str], candidates: int, seed: int) -> dict[str, Any]:
        voice, spec = row.pop("voice", VOICES[0]), channel(row.pop("channel", ""))
        product = product_from_mapping(row)
        best = self._writer.write(product, spec, voice=voice, candidates=candidates, seed=seed)[0].as_dict()
        joined = {
            "hashtags": " ".join(best["hashtags"]),
            "findings": ", ".join(finding["kind"] for finding in best["findings"]),
        }
        return {name: best[name] for name in (*OUTPUTS, "validity")} | joined


def _load_pyfunc(path: str) -> PyfuncWriter:
    return PyfuncWriter(Path(path))
