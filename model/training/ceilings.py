"""
What this machine could do at best, and where a step of our engine goes: the two ceilings and a profile.

Knows no engine's schedule. The measurements run in a process of their own, through bench_worker.py.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BANDWIDTH_BYTES = 512 << 20
"""Far more than any cache holds."""
REPEATS = 5
INT8_ROWS, INT8_DEPTH, INT8_COLUMNS = 512, 2048, 2048
"""Large enough that the product is bound by arithmetic: 2.1 thousand million multiply-accumulates over 6 MB."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one creative costs at least, whoever computes it. Attention is left out: about 4 % at 150 tokens."""

    prompt_tokens: float
    tokens: int
    body_macs: int
    """Multiply-accumulates of all matrices of all layers, a token."""
    head_macs: int
    """Of the output projection, which only written tokens need."""

    def macs(self) -> float:
        """Of one creative. The last token is written, not read."""
        return (self.prompt_tokens + self.tokens - 1) * self.body_macs + self.tokens * self.head_macs


def work(config: Mapping[str, Any], prompt_tokens: float, tokens: int) -> Work:
    """Read the matrices' sizes from a Llama config.json."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    width = config.get("head_dim") or hidden // heads
    attention = 2 * hidden * heads * width + 2 * hidden * config["num_key_value_heads"] * width
    feed_forward = 3 * hidden * config["intermediate_size"]
    body = config["num_hidden_layers"] * (attention + feed_forward)
    return Work(prompt_tokens, tokens, body, config["vocab_size"] * hidden)


def ceilings(work: Work, rows: int, step_bytes: int, machine: Mapping[str, float]) -> dict[str, float]:
    """
    Creatives per second that memory and arithmetic allow `rows` requests in flight.

    Memory: every step reads all weights once for all rows, and a creative takes as many steps as it has tokens.
    Arithmetic: every token's multiply-accumulates at the measured int8 rate.
    """
    memory = rows * machine["bytes_per_second"] / (work.tokens * step_bytes)
    return {"memory": memory, "arithmetic": machine["int8_macs_per_second"] / work.macs()}


def measure_machine(threads: int) -> dict[str, float]:
    """Bytes read from memory and int8 multiply-accumulates in a second, the best of a few repeats."""
    return {
        "bytes_per_second": _bytes_per_second(threads),
        "int8_macs_per_second": _int8_macs_per_second(threads),
    }


def _bytes_per_second(threads: int) -> float:
    # int64: numpy adds it as fast as memory delivers, and with no rounding to care for.
    parts = np.array_split(np.ones(BANDWIDTH_BYTES // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        seconds = _best(lambda: list(pool.map(np.sum, parts)))
    return BANDWIDTH_BYTES / seconds


def _int8_macs_per_second(threads: int) -> float:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.Generator(np.random.PCG64(0))
    weights = generator.integers(-127, 128, (INT8_DEPTH, INT8_COLUMNS), np.int8)
    activations = generator.integers(0, 256, (INT8_ROWS, INT8_DEPTH), np.uint8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["activations", "weights"], ["sums"])],
        "peak",
        [helper.make_tensor_value_info("activations", TensorProto.UINT8, [INT8_ROWS, INT8_DEPTH])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [INT8_ROWS, INT8_COLUMNS])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seconds = _best(lambda: session.run(None, {"activations": activations}))
    return INT8_ROWS * INT8_DEPTH * INT8_COLUMNS / seconds


def _best(run: Callable[[], object]) -> float:
    run()  # pages, threads and packed weights are there from now on
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def step_bytes(folder: Path) -> int:
    """
    Bytes of weights that one step reads, from an engine's files.

    In an ONNX graph, all but tables that are only looked up row by row; in any other form, the weight file.
    """
    if (folder / "model.onnx").is_file():
        return _graph_bytes(folder / "model.onnx")
    files = [path for name in ("*.gguf", "model.bin", "*.safetensors") for path in folder.glob(name)]
    return sum(path.stat().st_size for path in files)


def _graph_bytes(path: Path) -> int:
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    read: set[str] = set()
    for node in graph.node:
        # The first input of a lookup is its table; a table that also feeds a product is read whole.
        looked_up = 1 if node.op_type in ("Gather", "GatherBlockQuantized") else 0
        read.update(node.input[looked_up:])
    return sum(_tensor_bytes(tensor) for tensor in graph.initializer if tensor.name in read)


def _tensor_bytes(tensor: Any) -> int:
    import onnx

    bits: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
    return int(np.prod(tensor.dims, dtype=np.int64)) * bits // 8


def profile(setup: Mapping[str, Any], prompts: Sequence[Sequence[int]], tokens: int) -> dict[str, float]:
    """
    Share of each operator in the time that our engine's graph spends on these requests, prefill included.

    Runs in a worker: it makes every onnxruntime session of the process write a profile.
    """
    import gc

    import onnxruntime

    from model.training.peers import Setup, open_adloom

    plain = onnxruntime.SessionOptions
    with tempfile.TemporaryDirectory() as scratch:

        class Profiled(plain):  # type: ignore[misc, valid-type] # the engine shall not carry a switch for this
            def __init__(self) -> None:
                super().__init__()
                self.enable_profiling = True
                self.profile_file_prefix = str(Path(scratch) / "profile")

        onnxruntime.SessionOptions = Profiled
        try:
            peer = open_adloom(Setup(**setup))
            peer.write(prompts, tokens)
            peer.close()
        finally:
            onnxruntime.SessionOptions = plain
        del peer
        gc.collect()  # a session writes its profile when it goes
        return _operator_shares(Path(scratch))


def _operator_shares(folder: Path) -> dict[str, float]:
    spent: Counter[str] = Counter()
    for path in folder.glob("profile*.json"):
        for event in json.loads(path.read_text(encoding="utf-8")):
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                spent[event["args"]["op_name"]] += event["dur"]
    whole = sum(spent.values())
    return {name: microseconds / whole for name, microseconds in spent.most_common()}
