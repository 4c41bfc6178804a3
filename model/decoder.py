"""
A fused graph on ONNX Runtime and the keys and values that it writes in place: token ids in, logits out.

Rows of different requests share a step; a row's numbers do not hang on the others. Knows no sampling and no requests.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

PREFILL_TOKENS = 64
"""A prompt is read in pieces of this length: bounds the memory of a step, and how long the other rows wait."""
CAPACITY_STEP_TOKENS = 64
"""Room for tokens grows by this; every row of a step has the same, since the graph sees one tensor."""

Floats = npt.NDArray[np.float32]


class EngineError(RuntimeError):
    """The graph cannot be loaded, or failed, or the request does not fit it."""


class Decoder:
    """
    `rows_max` sequences side by side, and one more place, SPARE, where a prompt is read before its rows exist.

    Rows 0 to n - 1 are stepped together, so whoever removes one moves the last into its place (`move`). Not
    thread-safe.
    """

    def __init__(self, folder: Path, *, threads: int = 0, rows_max: int = 16) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.context_tokens_max = int(config["max_position_embeddings"])
        self.vocabulary_size = int(config["vocab_size"])
        self.rows_max = self.spare = rows_max
        self._session = _open_session(folder / "model.onnx", threads)
        if "seqlens_k" not in {entry.name for entry in self._session.get_inputs()}:
            raise EngineError("model.onnx is no fused graph: build the bundle again with `adloom bundle build`")
        layers = range(int(config["num_hidden_layers"]))
        parts = [f"{layer}.{part}" for layer in layers for part in ("key", "value")]
        self._names = [(f"past_key_values.{part}", f"present.{part}") for part in parts]
        self._heads, self._width = int(config["num_key_value_heads"]), int(config["head_dim"])
        self._capacity = 0
        self._cache: list[Floats] = []
        self.lengths = np.zeros(rows_max + 1, np.int64)
        """Tokens that each row holds."""
        self._prefix: tuple[tuple[int, ...], list[Floats]] = ((), [])

    def keep_prefix(self, ids: Sequence[int]) -> None:
        """Read `ids` once; every later prompt that begins with them starts from there."""
        self._prefix = ((), [])
        self.begin(ids)
        self.read(self.spare, ids)
        kept = [tensor[self.spare, :, : len(ids)].copy() for tensor in self._cache]
        self._prefix = (tuple(ids), kept)

    def begin(self, prompt: Sequence[int]) -> int:
        """Empty the spare place, or fill it with the kept prefix; how many ids of `prompt` it holds now."""
        ids, kept = self._prefix
        found = len(ids) if ids and len(ids) < len(prompt) and tuple(prompt[: len(ids)]) == ids else 0
        self._reserve(found)
        if found:
            for tensor, part in zip(self._cache, kept, strict=True):
                tensor[self.spare, :, :found] = part
        self.lengths[self.spare] = found
        return found

    def read(self, row: int, ids: Sequence[int]) -> Floats:
        """Append `ids` to one row; the logits after the last of them, [vocabulary]."""
        logits = np.empty((1, 0), np.float32)
        for start in range(0, len(ids), PREFILL_TOKENS):
            piece = np.array([ids[start : start + PREFILL_TOKENS]], np.int64)
            logits = self.extend(piece, row)
        last: Floats = logits[0]
        return last

    def step(self, ids: Sequence[int]) -> Floats:
        """Append one id to each of the rows from 0 on; their logits [rows, vocabulary]."""
        return self.extend(np.array(ids, np.int64)[:, None], 0)

    def move(self, source: int, target: int) -> None:
        """Make `target` a copy of `source`."""
        tokens = self.lengths[source]
        for tensor in self._cache:
            tensor[target, :, :tokens] = tensor[source, :, :tokens]
        self.lengths[target] = tokens

    def forget(self) -> None:
        """Give the memory of all rows back; the prefix stays."""
        self._cache, self._capacity = [], 0
        self.lengths[:] = 0

    def extend(self, ids: npt.NDArray[np.int64], first: int) -> Floats:
        """Append `ids` [rows, tokens] to the rows from `first` on; logits [rows, the rest of the graph's output]."""
        rows, tokens = ids.shape
        totals = self.lengths[first : first + rows] + tokens
        longest = int(totals.max())
        if longest > self.context_tokens_max:
            raise EngineError(f"{longest} tokens exceed the context of {self.context_tokens_max}")
        self._reserve(longest)
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("seqlens_k", (totals - 1).astype(np.int32))
        binding.bind_cpu_input("total_sequence_length", np.array(longest, np.int32))
        shape = (rows, self._heads, self._capacity, self._width)
        for (past, present), tensor in zip(self._names, self._cache, strict=True):
            address = tensor[first:].ctypes.data
            binding.bind_input(past, "cpu", 0, np.float32, shape, address)
            binding.bind_output(present, "cpu", 0, np.float32, shape, address)
        binding.bind_output("logits")
        self._session.run_with_iobinding(binding)
        self.lengths[first : first + rows] = totals
        logits: Floats = binding.get_outputs()[-1].numpy().reshape(rows, -1)
        return logits

    def _reserve(self, tokens: int) -> None:
        """Room for `tokens` in every row. Grows tensor by tensor, so that only one exists twice."""
        if self._cache and tokens <= self._capacity:
            return
        capacity = -(-max(tokens, 1) // CAPACITY_STEP_TOKENS) * CAPACITY_STEP_TOKENS
        shape = (self.rows_max + 1, self._heads, capacity, self._width)
        if not self._cache:
            self._cache = [_untouched(shape) for _ in self._names]
        for place, old in enumerate(self._cache):
            if old.shape != shape:
                self._cache[place] = _untouched(shape)
                for row in np.flatnonzero(self.lengths):  # the others' pages were never touched, and take no memory
                    self._cache[place][row, :, : self.lengths[row]] = old[row, :, : self.lengths[row]]
        self._capacity = capacity


def _untouched(shape: tuple[int, ...]) -> Floats:
    """Zeros that take memory page by page as they are written; malloc would hand out, and clear, what it holds."""
    pages = mmap.mmap(-1, 4 * math.prod(shape))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32).reshape(shape)


def _cores() -> int:
    """Cores that this process may use. Left to itself the library pins threads to cores: a tenth slower for one row."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open_session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or _cores()
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare Exception subclasses per status code
        raise EngineError(f"{path.name} does not load: {error}") from error
