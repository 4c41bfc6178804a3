"""
Quantize an exported decoder as Optimum does it: the scheme that what we serve is compared with (ADR 0010).

Works on ONNX graphs alone. The graph that is served is written by fused.py.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

Scheme = Literal["int8-dynamic", "int8-dynamic-body"]
SCHEMES: tuple[str, ...] = get_args(Scheme)

PROJECTION = "/lm_head/MatMul"
"""The product with the vocabulary: a fifth of all weights, and the one whose errors no later layer evens out."""


def quantize(source: Path, target: Path, scheme: Scheme) -> None:
    """
    Write `source` to `target` by Optimum's ORTQuantizer: int8 per channel, activations scaled per tensor at run time.

    int8-dynamic-body leaves the output projection in fp32. One scale for all activations of a step means that its rows
    and positions change each other.
    """
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True, operators_to_quantize=["MatMul"])
    config.nodes_to_exclude = [PROJECTION] if scheme == "int8-dynamic-body" else []
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, _quiet():
        quantizer = ORTQuantizer.from_pretrained(source.parent, file_name=source.name)
        quantizer.quantize(quantization_config=config, save_dir=scratch)
        shutil.move(Path(scratch) / f"{source.stem}_quantized.onnx", target)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer reports every node at INFO, thousands of lines."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
