"""
Quantize an exported decoder to int8 or int4 and cut what serving never reads from it.

Works on ONNX graphs alone; what a scheme costs in quality is measured by its caller.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

Scheme = Literal["fp32", "int8-dynamic", "int8-dynamic-body", "int8-weight", "int4-weight", "int4-weight-body"]
SCHEMES: tuple[str, ...] = get_args(Scheme)

BLOCK_SIZE = 32
"""Weights that share one scale in int8-weight and int4-weight. At 128 the sums depend on the batch (ADR 0008)."""
LAST_POSITION = "/last_position/Slice"
PROJECTION = "/lm_head/MatMul"
"""The product with the vocabulary: a fifth of all weights, and the one whose errors no later layer evens out."""


def quantize(source: Path, target: Path, scheme: Scheme) -> None:
    """
    Write `source` to `target` under `scheme`, logits for the last position only.

    fp32 keeps the weights; int8-dynamic is Optimum's ORTQuantizer, per channel, activations scaled per tensor at run
    time; int8-weight and int4-weight store blocks of 32 and multiply with int8 activations scaled per block of one
    row, so that a row's result does not depend on its neighbours. A scheme that ends in -body treats the output
    projection more gently: fp32 under int8-dynamic, int8 blocks under int4-weight. ADR 0010 compares them.
    """
    model = onnx.load(str(source))
    keep_last_position(model)
    if scheme != "fp32":
        store_embedding_as_fp16(model)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        pruned = Path(scratch) / "model.onnx"
        onnx.save(model, str(pruned))
        with _quiet():
            if scheme in ("int8-dynamic", "int8-dynamic-body"):
                model = _quantize_dynamic(pruned, spared=[PROJECTION] if scheme == "int8-dynamic-body" else [])
            elif scheme == "int4-weight-body":
                model = _quantize_weights(_quantize_weights(onnx.load(str(pruned)), 4, spared=[PROJECTION]), 8)
            elif scheme in ("int8-weight", "int4-weight"):
                model = _quantize_weights(onnx.load(str(pruned)), 4 if scheme == "int4-weight" else 8)
    _save_mappable(model, target)


def keep_last_position(model: onnx.ModelProto) -> None:
    """Feed only the last position to the output projection: a prefill of T tokens then costs one row of it, not T."""
    projection = next(node for node in model.graph.node if "logits" in node.output)
    hidden = projection.input[0]
    # A Slice, not a Gather: it keeps the axis, so `logits` stays [batch, 1, vocabulary].
    for name, value in (("starts", -1), ("ends", np.iinfo(np.int64).max), ("axes", 1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), f"last_{name}"))
    slice_last = helper.make_node(
        "Slice", [hidden, "last_starts", "last_ends", "last_axes"], ["hidden_last"], name=LAST_POSITION
    )
    projection.input[0] = "hidden_last"
    model.graph.node.insert(list(model.graph.node).index(projection), slice_last)


def give_every_position(source: Path, target: Path) -> None:
    """Undo `keep_last_position` in a copy: what is measured token by token needs all logits of one pass."""
    model = onnx.load(str(source))
    cut = next((node for node in model.graph.node if node.name == LAST_POSITION), None)
    if cut is not None:
        for node in model.graph.node:
            node.input[:] = [cut.input[0] if name == cut.output[0] else name for name in node.input]
        model.graph.node.remove(cut)
    _save_mappable(model, target)


def store_embedding_as_fp16(model: onnx.ModelProto) -> None:
    """Halve the token embedding, the one large table no matrix product reads. Rounding is 2^-11 relative."""
    table = next(item for item in model.graph.initializer if item.name.endswith("embed_tokens.weight"))
    gather = next(node for node in model.graph.node if node.op_type == "Gather" and node.input[0] == table.name)
    halved = numpy_helper.from_array(numpy_helper.to_array(table).astype(np.float16), table.name)
    table.CopyFrom(halved)
    output = gather.output[0]
    gather.output[0] = f"{output}_fp16"
    cast = helper.make_node("Cast", [gather.output[0]], [output], name="/embed_cast/Cast", to=TensorProto.FLOAT)
    model.graph.node.insert(list(model.graph.node).index(gather) + 1, cast)
    stale = [info for info in model.graph.value_info if info.name == gather.output[0]]
    for info in stale:
        model.graph.value_info.remove(info)


def _quantize_dynamic(source: Path, spared: Sequence[str]) -> onnx.ModelProto:
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True, operators_to_quantize=["MatMul"])
    config.nodes_to_exclude = list(spared)
    quantizer = ORTQuantizer.from_pretrained(source.parent, file_name=source.name)
    quantizer.quantize(quantization_config=config, save_dir=source.parent)
    return onnx.load(str(source.with_name("model_quantized.onnx")))


def _quantize_weights(model: onnx.ModelProto, bits: int, spared: Sequence[str] = ()) -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        model,
        bits=bits,
        block_size=BLOCK_SIZE,
        is_symmetric=True,
        accuracy_level=4,  # int8 activations: the fast path on AVX2, VNNI and NEON
        nodes_to_exclude=list(spared),
    )
    quantizer.process()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def _save_mappable(model: onnx.ModelProto, target: Path) -> None:
    """Save weights beside the graph: onnxruntime then maps them (255 MB resident after load, 364 MB from one file)."""
    convert_model_to_external_data(model, all_tensors_to_one_file=True, location=f"{target.name}.data")
    onnx.save(model, str(target))
    # onnx makes the data file private to its owner; an image runs as somebody else.
    target.with_name(f"{target.name}.data").chmod(0o644)


@contextmanager
def _quiet() -> Iterator[None]:
    """Both quantizers report every node at INFO, thousands of lines."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
