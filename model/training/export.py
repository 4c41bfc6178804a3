"""
Export a causal LM to ONNX with Optimum, with KV cache.

Knows nothing of ads, nor of what is done to the graph afterwards (see fused.py and quantize.py).
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

OPSET = 18
"""Lowest opset at which torch 2.13 exports this attention without a version conversion."""


def export(model: Any, tokenizer: Any, folder: Path) -> Path:
    """
    Write config, tokenizer and fp32 `model.onnx` (inputs with past, outputs with present) into `folder`.

    `model` and `tokenizer` come from `weights.load`, which also sets how loud the libraries are that Optimum imports.
    """
    from optimum.exporters.onnx import onnx_export_from_model

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Tracing Python branches on tensor shapes is how this exporter works; each branch is constant for a decoder
        # with an attention mask, and tests compare the result with torch.
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
