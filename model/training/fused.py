"""
Write a Llama decoder into the ONNX graph that is served: about a dozen nodes a layer, keys and values kept in place.

Knows nothing of ads, nor of who drives the graph (see model/engine.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

FusedScheme = Literal["fp32", "int8-weight", "int4-weight", "int8-rows"]
FUSED_SCHEMES: tuple[str, ...] = get_args(FusedScheme)

BLOCK_SIZE = 32
"""Weights that share one scale. Up to here the kernel's sums do not depend on the number of rows (ADR 0008)."""
INLINE_BYTES_MAX = 1024
"""A larger tensor goes to the data file, a smaller one is not worth a page of it."""
PAGE_BYTES = 4096
"""Tensors begin on page boundaries: onnxruntime then maps them instead of reading them."""
ROWS_AT_ONCE = 4096
"""Rows quantized in one go; bounds the temporary copies of a vocabulary of 49,152 rows."""
OPSET, IR_VERSION = 21, 10
LAST_POSITION = "/last_position"
"""Name prefix of the nodes that let only the last position through; see `give_every_position`."""
MICROSOFT = "com.microsoft"

Array = npt.NDArray[Any]


class FusionError(ValueError):
    """This network cannot be written in the fused form; the message says which of its parts, and what does work."""


def write_fused(model: Any, target: Path, scheme: FusedScheme) -> None:
    """
    Write `model`, a LlamaForCausalLM in fp32, to `target` and its weights beside it in `target`.data.

    fp32 keeps the weights. int8-weight and int4-weight store blocks of 32 weights and multiply with activations
    rounded to int8 per block of one row; int4 spares the output projection (ADR 0010). int8-rows has a scale for each
    output column and one for each row of activations; its sums are exact integers. In the last three a row's logits,
    keys and values do not hang on the rows beside it; for int4-weight that holds on processors with int8 dot products
    (VNNI) alone, and without them the sums of int8-rows saturate. Raises FusionError where the network is no plain
    Llama.
    """
    if scheme not in FUSED_SCHEMES:
        raise FusionError(f"{scheme!r} is no fused scheme: take one of {', '.join(FUSED_SCHEMES)}")
    refuse_unwritable(model.config)
    data = target.with_name(f"{target.name}.data")
    with data.open("wb") as file:
        graph = _Graph(file, data.name, scheme)
        _write_network(graph, model)
    data.chmod(0o644)  # an image runs as somebody else
    caches = [_cache(model.config, prefix) for prefix in ("past_key_values", "present")]
    inputs, outputs = [*_inputs(), *caches[0]], [_logits(["rows"], model.config.vocab_size), *caches[1]]
    proto = helper.make_graph(graph.nodes, "llama", inputs, outputs, initializer=list(graph.initializers.values()))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model_proto = helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="adloom")
    onnx.save(model_proto, str(target))


def give_every_position(source: Path, target: Path) -> None:
    """
    Copy a fused graph so that `logits` is [rows, tokens, vocabulary]: for measures that read all logits of one pass.

    `target` must lie in another folder than `source`: the data file keeps its name.
    """
    if source.parent.resolve() == target.parent.resolve():
        raise FusionError(f"{target} would share its data file with {source}: write it to another folder")
    model = onnx.load(str(source), load_external_data=False)
    cuts = [node for node in model.graph.node if node.name.startswith(LAST_POSITION)]
    if not cuts:
        raise FusionError(f"{source} is no fused graph: no node in it keeps the last position")
    whole = {cut.output[0]: cut.input[0] for cut in cuts}
    for node in model.graph.node:
        node.input[:] = [whole.get(name, name) for name in node.input]
    for cut in cuts:
        model.graph.node.remove(cut)
    vocabulary = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    model.graph.output[0].CopyFrom(_logits(["rows", "tokens"], vocabulary))
    shutil.copy(source.with_name(f"{source.name}.data"), target.parent / f"{source.name}.data")
    onnx.save(model, str(target))


def refuse_unwritable(config: Any) -> None:
    """Raise FusionError where a network of this config holds what the fused graph cannot express."""
    if config.model_type != "llama":
        raise FusionError(f"a network of type {config.model_type} cannot be fused: only llama can")
    scaling = getattr(config, "rope_scaling", None)
    refused = {
        f"activation {config.hidden_act}; only silu is written": config.hidden_act != "silu",
        f"rope scaling {scaling}; only plain rotary positions are written": scaling
        and scaling.get("rope_type", scaling.get("type")) != "default",
        "biases in its attention; none are written": getattr(config, "attention_bias", False),
        "biases in its feed-forward layers; none are written": getattr(config, "mlp_bias", False),
        f"heads of width {config.head_dim}; multiples of 16 are written": config.head_dim % 16,
        f"layers of width {config.hidden_size} and {config.intermediate_size}; multiples of {BLOCK_SIZE} are written": (
            config.hidden_size % BLOCK_SIZE or config.intermediate_size % BLOCK_SIZE
        ),
    }
    if found := [reason for reason, applies in refused.items() if applies]:
        raise FusionError(f"this network cannot be fused: it has {found[0]}; serve Optimum's export of it instead")


@dataclass(slots=True)
class _Graph:
    """Nodes in order, and weights that go to the data file as they come: no second copy of the network is held."""

    file: IO[bytes]
    location: str
    scheme: FusedScheme
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, TensorProto] = field(default_factory=dict)

    def add(
        self, operator: str, name: str, inputs: Sequence[str], *, outputs: Sequence[str] = (), **attributes: Any
    ) -> str:
        """Append a node; its output is called `name` unless `outputs` says otherwise. Returns the first output."""
        outputs = outputs or [name]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def weight(self, name: str, array: Array) -> str:
        """Store a constant, unless there is one of that name, and return its name."""
        if name in self.initializers:
            return name
        if array.nbytes <= INLINE_BYTES_MAX:
            self.initializers[name] = numpy_helper.from_array(array, name)
            return name
        self.file.write(bytes(-self.file.tell() % PAGE_BYTES))
        tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.location), ("offset", self.file.tell()), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        np.ascontiguousarray(array).tofile(self.file)
        self.initializers[name] = tensor
        return name

    def alias(self, name: str, of: str, shape: Sequence[int]) -> str:
        """The bytes of the constant `of` under a second name and shape, stored once."""
        tensor = TensorProto()
        tensor.CopyFrom(self.initializers[of])
        tensor.name, tensor.dims[:] = name, shape
        self.initializers[name] = tensor
        return name


def _inputs() -> list[onnx.ValueInfoProto]:
    tensor = helper.make_tensor_value_info
    return [
        tensor("input_ids", TensorProto.INT64, ["rows", "tokens"]),
        tensor("seqlens_k", TensorProto.INT32, ["rows"]),
        tensor("total_sequence_length", TensorProto.INT32, []),
    ]


def _logits(leading: Sequence[str], vocabulary: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*leading, vocabulary])


def _cache(config: Any, prefix: str) -> list[onnx.ValueInfoProto]:
    shape: list[str | int | None] = ["rows", config.num_key_value_heads, "capacity", config.head_dim]
    return [
        helper.make_tensor_value_info(f"{prefix}.{layer}.{part}", TensorProto.FLOAT, shape)
        for layer in range(config.num_hidden_layers)
        for part in ("key", "value")
    ]


def _write_network(graph: _Graph, model: Any) -> None:
    # The projection first: the embedding may be the same bytes.
    projection = _store(graph, "lm_head", [model.lm_head.weight])
    stream = _embed(graph, model, projection)
    rotary = _write_rotary(graph, model)
    update = ""
    for number, layer in enumerate(model.model.layers):
        prefix = f"/layers.{number}"
        normed, stream = _norm(graph, f"{prefix}/norm", stream, update, layer.input_layernorm)
        attended = _attend(graph, prefix, number, normed, layer.self_attn, rotary)
        if number == model.config.num_hidden_layers - 1:
            # Nothing reads the other positions from here on, and their keys and values are written.
            attended = _last_position(graph, "attended", attended)
            stream = _last_position(graph, "stream", stream)
        update = _linear(graph, f"{prefix}/o_proj", attended, [layer.self_attn.o_proj.weight])
        normed, stream = _norm(graph, f"{prefix}/post_norm", stream, update, layer.post_attention_layernorm)
        update = _feed_forward(graph, prefix, normed, layer.mlp)
    normed, _ = _norm(graph, "/norm", stream, update, model.model.norm)
    _multiply(graph, projection, normed, output="logits")


def _embed(graph: _Graph, model: Any, projection: _Stored) -> str:
    table = model.model.embed_tokens.weight
    tied = table is model.lm_head.weight or table.data_ptr() == model.lm_head.weight.data_ptr()
    if graph.scheme == "fp32":
        name = projection.names[0] if tied else graph.weight("embed_tokens.weight", _numpy(table))
        return graph.add("Gather", "/embed_tokens", [name, "input_ids"])
    if tied and graph.scheme != "int8-rows":
        weights = graph.alias("embed_tokens.weight", projection.names[0], list(table.shape))
        scales = graph.alias("embed_tokens.scales", projection.names[1], [len(table), table.shape[1] // BLOCK_SIZE])
    else:
        packed, factors = quantize_blocks(_numpy(table), bits=8)
        weights = graph.weight("embed_tokens.weight", packed.reshape(table.shape))
        scales = graph.weight("embed_tokens.scales", factors)
    return graph.add(
        "GatherBlockQuantized",
        "/embed_tokens",
        [weights, "input_ids", scales],
        domain=MICROSOFT,
        bits=8,
        block_size=BLOCK_SIZE,
        gather_axis=0,
        quantize_axis=1,
    )


def _write_rotary(graph: _Graph, model: Any) -> list[str]:
    """Tables of cosines and sines, [positions, head width / 2], for every position of the context."""
    frequencies = _numpy(model.model.rotary_emb.inv_freq)
    if len(frequencies) != model.config.head_dim // 2:
        raise FusionError("this network turns only a part of each head; serve Optimum's export of it instead")
    angles = np.arange(model.config.max_position_embeddings, dtype=np.float32)[:, None] * frequencies[None]
    return [graph.weight("cos_cache", np.cos(angles)), graph.weight("sin_cache", np.sin(angles))]


def _norm(graph: _Graph, name: str, stream: str, update: str, norm: Any) -> tuple[str, str]:
    """Normalised stream + update, and their sum itself, which the next block adds to. No update before the first."""
    weight = graph.weight(f"{name}.weight", _numpy(norm.weight))
    epsilon = float(norm.variance_epsilon)
    if not update:
        return graph.add("SimplifiedLayerNormalization", name, [stream, weight], epsilon=epsilon, axis=-1), stream
    outputs = [name, "", "", f"{name}/sum"]
    inputs = [stream, update, weight]
    graph.add("SkipSimplifiedLayerNormalization", name, inputs, outputs=outputs, domain=MICROSOFT, epsilon=epsilon)
    return name, outputs[-1]


def _attend(graph: _Graph, prefix: str, number: int, normed: str, attention: Any, rotary: Sequence[str]) -> str:
    projections = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
    packed = _linear(graph, f"{prefix}/qkv_proj", normed, projections)
    past = [f"past_key_values.{number}.{part}" for part in ("key", "value")]
    present = [f"present.{number}.{part}" for part in ("key", "value")]
    return graph.add(
        "GroupQueryAttention",
        f"{prefix}/attention",
        [packed, "", "", *past, "seqlens_k", "total_sequence_length", *rotary],
        outputs=[f"{prefix}/attention", *present],
        domain=MICROSOFT,
        num_heads=attention.config.num_attention_heads,
        kv_num_heads=attention.config.num_key_value_heads,
        do_rotary=1,
        scale=float(attention.scaling),
    )


def _feed_forward(graph: _Graph, prefix: str, normed: str, mlp: Any) -> str:
    both = _linear(graph, f"{prefix}/gate_up_proj", normed, [mlp.gate_proj.weight, mlp.up_proj.weight])
    gate, up = f"{prefix}/gate", f"{prefix}/up"
    graph.add("Split", f"{prefix}/split", [both], outputs=[gate, up], axis=-1, num_outputs=2)
    # x * sigmoid(x) in one operator.
    active = graph.add("QuickGelu", f"{prefix}/silu", [gate], domain=MICROSOFT, alpha=1.0)
    product = graph.add("Mul", f"{prefix}/gated", [active, up])
    return _linear(graph, f"{prefix}/down_proj", product, [mlp.down_proj.weight])


def _last_position(graph: _Graph, name: str, values: str) -> str:
    """[rows, tokens, width] to [rows, width]."""
    last = graph.weight("last", np.array(-1, np.int64))
    return graph.add("Gather", f"{LAST_POSITION}/{name}", [values, last], axis=1)


def _linear(graph: _Graph, name: str, values: str, weights: Sequence[Any]) -> str:
    """`values` times several matrices of shape [outputs, inputs], side by side in one product."""
    return _multiply(graph, _store(graph, name, weights), values, output=name)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A matrix in the data file: the names of its weights and scales, and its shape and bits."""

    names: tuple[str, ...]
    outputs: int
    inputs: int
    bits: int


def _store(graph: _Graph, name: str, weights: Sequence[Any]) -> _Stored:
    matrix = np.concatenate([_numpy(weight) for weight in weights]) if len(weights) > 1 else _numpy(weights[0])
    outputs, inputs = matrix.shape
    if graph.scheme == "fp32":
        return _Stored((graph.weight(f"{name}.weight", matrix),), outputs, inputs, 32)
    if graph.scheme == "int8-rows":
        columns, scales = quantize_columns(matrix)
        names = (graph.weight(f"{name}.weight", columns), graph.weight(f"{name}.scales", scales))
        return _Stored(names, outputs, inputs, 8)
    bits = 4 if graph.scheme == "int4-weight" and name != "lm_head" else 8
    packed, scales = quantize_blocks(matrix, bits=bits)
    names = (graph.weight(f"{name}.weight", packed), graph.weight(f"{name}.scales", scales))
    return _Stored(names, outputs, inputs, bits)


def _multiply(graph: _Graph, stored: _Stored, values: str, *, output: str) -> str:
    if graph.scheme == "fp32":
        return graph.add("FusedMatMul", output, [values, *stored.names], domain=MICROSOFT, transB=1)
    if graph.scheme == "int8-rows":
        return _multiply_rows(graph, stored, values, output)
    return graph.add(
        "MatMulNBits",
        output,
        [values, *stored.names],
        domain=MICROSOFT,
        K=stored.inputs,
        N=stored.outputs,
        bits=stored.bits,
        block_size=BLOCK_SIZE,
        accuracy_level=4,  # int8 activations, scaled per block of one row
    )


def _multiply_rows(graph: _Graph, stored: _Stored, values: str, output: str) -> str:
    """
    Activations become bytes by the largest of their own row; integer sums; both scales multiplied back.

    A row of zeros divides by zero, rounds to some byte, and is zero again once multiplied by its largest value.
    """
    zero_point = graph.weight("zero_point", np.array(128, np.uint8))
    step = graph.weight("step", np.array(1 / 127, np.float32))
    sizes = graph.add("Abs", f"{output}/abs", [values])
    largest = graph.add(
        "ReduceMax", f"{output}/largest", [sizes, graph.weight("last_axis", np.array([-1], np.int64))], keepdims=1
    )
    scaled = graph.add("Div", f"{output}/scaled", [values, largest])
    rounded = graph.add("QuantizeLinear", f"{output}/bytes", [scaled, step, zero_point])
    # u8 x s8: the one pair of types with a fast path.
    inputs = [rounded, stored.names[0], step, stored.names[1], zero_point]
    product = graph.add("MatMulIntegerToFloat", f"{output}/product", inputs, domain=MICROSOFT)
    return graph.add("Mul", output, [product, largest])


def quantize_blocks(matrix: Array, *, bits: int) -> tuple[Array, Array]:
    """
    Blocks of 32 weights of each row of `matrix` [outputs, inputs], as MatMulNBits reads them.

    Bytes [outputs, blocks, 4 * bits], low half of a byte first, and float32 scales [outputs, blocks]; the zero point is
    the middle of the range.
    """
    blocks = matrix.shape[1] // BLOCK_SIZE
    packed = np.empty((len(matrix), blocks, BLOCK_SIZE * bits // 8), np.uint8)
    scales = np.empty((len(matrix), blocks), np.float32)
    middle = 1 << (bits - 1)
    for start in range(0, len(matrix), ROWS_AT_ONCE):
        chosen = slice(start, start + ROWS_AT_ONCE)
        values = matrix[chosen].reshape(-1, blocks, BLOCK_SIZE)
        places = np.abs(values).argmax(axis=-1, keepdims=True)
        # The weight of largest size lands on the lowest level: the range has one level more below zero than above.
        scale = np.take_along_axis(values, places, axis=-1) / np.float32(-middle)
        scaled = np.divide(values, scale, out=np.zeros_like(values), where=scale != 0)
        levels: Array = np.clip(np.round(scaled) + middle, 0, 2 * middle - 1).astype(np.uint8)
        packed[chosen] = levels if bits == 8 else levels[..., ::2] | levels[..., 1::2] << 4
        scales[chosen] = scale[..., 0]
    return packed, scales


def quantize_columns(matrix: Array) -> tuple[Array, Array]:
    """`matrix` [outputs, inputs] as int8 [inputs, outputs], which MatMulIntegerToFloat reads, and scales [outputs]."""
    levels = np.empty(matrix.shape[::-1], np.int8)
    scales = np.empty(len(matrix), np.float32)
    for start in range(0, len(matrix), ROWS_AT_ONCE):
        chosen = slice(start, start + ROWS_AT_ONCE)
        scale = np.abs(matrix[chosen]).max(axis=1, keepdims=True) / np.float32(127)
        scaled = np.divide(matrix[chosen], scale, out=np.zeros_like(matrix[chosen]), where=scale != 0)
        levels[:, chosen] = np.round(scaled).astype(np.int8).T
        scales[chosen] = scale[:, 0]
    return levels, scales


def _numpy(weight: Any) -> Array:
    array: Array = weight.detach().numpy()
    return array
