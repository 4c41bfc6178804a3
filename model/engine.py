"""
Token ids in, token ids out: ONNX Runtime, a KV cache, and rows that advance together.

Knows nothing about text (see writer.py) or HTTP (see app/). One call at a time; callers queue outside.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from model.sampling import Sampling, log_probabilities, sample

PREFILL_TOKENS = 64
"""A prompt is read in pieces of this length: bounds the memory of a step whatever the prompt's length."""

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class EngineError(RuntimeError):
    """The graph cannot be loaded or the request does not fit it."""


class CancelledError(RuntimeError):
    """The caller asked to stop; nothing was kept."""


@dataclass(frozen=True, slots=True)
class Slot:
    """
    One stretch of output: `fed` is forced, then tokens are sampled until one of `stops` or a limit.

    `chars_max` is compared with the sum of `Vocabulary.chars` over the sampled tokens.
    """

    fed: tuple[int, ...]
    tokens_max: int
    chars_max: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the engine must know of each token id, without knowing its text."""

    chars: npt.NDArray[np.int32]
    """Characters that each token adds, shape [vocabulary]."""
    stops: npt.NDArray[np.bool_]
    """Tokens that end a slot, shape [vocabulary]."""


@dataclass(slots=True)
class Span:
    """What was sampled for one slot, without fed and stop tokens."""

    ids: list[int] = field(default_factory=list)
    complete: bool = False
    """The model ended it by a stop token; False where a limit did."""
    log_probability: float = 0.0
    """Natural logarithm, summed over `ids`, as the network gave it before temperature, bias and penalties."""


@dataclass(slots=True)
class _Row:
    """One candidate on its way through the slots."""

    number: int
    seen: npt.NDArray[np.bool_]
    """Tokens it has sampled so far, shape [vocabulary]."""
    pending: list[int] = field(default_factory=list)
    """Tokens to feed before the next one is sampled."""
    chars: int = 0
    spans: list[Span] = field(default_factory=lambda: [Span()])


class Cache:
    """
    Keys and values of every layer for `rows` sequences, two copies of them: a step reads one and writes the other.

    The graph returns past and new tokens in one tensor, one token longer at every step. Left to malloc, no freed
    tensor ever fits the next request: with three shots that took 1.2 GB. Here both copies are allocated once.
    """

    def __init__(self, tensors: int, rows: int, heads: int, capacity: int, width: int) -> None:
        self.rows, self.tokens, self.capacity = rows, 0, capacity
        self._heads, self._width = heads, width
        self._past, self._present = (np.empty((tensors, rows * heads * capacity * width), np.float32) for _ in range(2))

    def bind(self, binding: ort.IOBinding, names: Sequence[tuple[str, str]], new_tokens: int) -> None:
        """Point the graph's past inputs and present outputs, as (input, output) names, at the two copies."""
        for tensor, (source, target) in enumerate(names):
            binding.bind_input(source, "cpu", 0, np.float32, self._shape(self.tokens), self._past[tensor].ctypes.data)
            shape = self._shape(self.tokens + new_tokens)
            binding.bind_output(target, "cpu", 0, np.float32, shape, self._present[tensor].ctypes.data)

    def advance(self, new_tokens: int) -> None:
        """What was written is what the next step reads."""
        self._past, self._present = self._present, self._past
        self.tokens += new_tokens

    def take(self, places: Sequence[int], rows: int, capacity: int) -> Cache:
        """A cache of `rows` that begins with the given rows of this one, in their order."""
        taken = Cache(len(self._past), rows, self._heads, capacity, self._width)
        taken.tokens = self.tokens
        for tensor in range(len(self._past)):
            taken._view(tensor)[:] = self._view(tensor)[list(places)]
        return taken

    def drop(self, kept: Sequence[int]) -> None:
        """Keep only these rows, in place; the room of the others stays allocated."""
        for tensor in range(len(self._past)):
            rows = self._view(tensor)[list(kept)]
            self._past[tensor, : rows.size] = rows.ravel()
        self.rows = len(kept)

    def _shape(self, tokens: int) -> list[int]:
        return [self.rows, self._heads, tokens, self._width]

    def _view(self, tensor: int) -> Floats:
        shape = self._shape(self.tokens)
        return self._past[tensor, : int(np.prod(shape))].reshape(shape)


class Engine:
    """A decoder graph with its session. Thread-safe: calls take turns."""

    def __init__(self, folder: Path, vocabulary: Vocabulary, *, threads: int = 0) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.context_tokens_max = int(config["max_position_embeddings"])
        self._layers = int(config["num_hidden_layers"])
        self._cache_shape = (int(config["num_key_value_heads"]), int(config["head_dim"]))
        self._vocabulary = vocabulary
        self._session = _open_session(folder / "model.onnx", threads)
        parts = [f"{layer}.{part}" for layer in range(self._layers) for part in ("key", "value")]
        self._names = [(f"past_key_values.{part}", f"present.{part}") for part in parts]
        self._prefix: tuple[Ids, Cache] | None = None
        self._lock = threading.Lock()

    def keep_prefix(self, ids: Sequence[int]) -> None:
        """Prefill `ids` once; every later prompt that begins with them starts from that cache."""
        prefix = np.array(ids, np.int64)
        with self._lock:
            self._prefix = None
            _, cache = self._prefill(prefix)
            self._prefix = (prefix, cache.take([0], 1, len(prefix)))

    def generate(
        self,
        prompt: Sequence[int],
        slots: Sequence[Slot],
        *,
        rows: int,
        seed: int,
        sampling: Sampling,
        first_row: int = 0,
        bias: Floats | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[list[Span]]:
        """
        Fill `slots` after `prompt`, `rows` times, and return spans by row and slot.

        `bias` is added to the logits, shape [vocabulary]. Rows are numbered from `first_row` and differ only in their
        random stream, which hangs on (seed, row, step). Raises EngineError before any work when prompt
        and slots cannot fit the context, CancelledError at the next step once `cancelled()` is true.
        """
        length = len(prompt) + sum(len(slot.fed) + slot.tokens_max for slot in slots)
        if length > self.context_tokens_max:
            raise EngineError(f"{length} tokens of prompt and answer exceed the context of {self.context_tokens_max}")
        if not slots or rows < 1:
            raise EngineError("nothing to generate: at least one slot and one row are needed")
        with self._lock:
            numbers = range(first_row, first_row + rows)
            return self._run(np.array(prompt, np.int64), slots, numbers, seed, sampling, bias, cancelled)

    def _run(
        self,
        prompt: Ids,
        slots: Sequence[Slot],
        numbers: range,
        seed: int,
        sampling: Sampling,
        bias: Floats | None,
        cancelled: Callable[[], bool],
    ) -> list[list[Span]]:
        room = len(prompt) + sum(len(slot.fed) + slot.tokens_max for slot in slots)
        logits, prefilled = self._prefill(np.concatenate([prompt, np.array(slots[0].fed, np.int64)]))
        # All rows share one prefill: its cache is copied, not computed again.
        logits, cache = np.repeat(logits, len(numbers), axis=0), prefilled.take([0] * len(numbers), len(numbers), room)
        del prefilled
        finished = [_Row(number, np.zeros(logits.shape[1], np.bool_)) for number in numbers]
        active = finished
        step = 0
        while True:
            if cancelled():
                raise CancelledError
            streams = [row.number for row in active]
            seen = np.stack([row.seen for row in active])
            sampled = sample(logits, sampling, seed=seed, step=step, rows=streams, bias=bias, seen=seen)
            likely = log_probabilities(logits, sampled)
            kept = [
                place
                for place, row in enumerate(active)
                if self._advance(row, int(sampled[place]), float(likely[place]), slots)
            ]
            if not kept:
                return [row.spans for row in finished]
            if len(kept) < len(active):
                active = [active[place] for place in kept]
                cache.drop(kept)
            logits = self._forward(np.array([[row.pending.pop(0)] for row in active], np.int64), cache)
            step += 1

    def _advance(self, row: _Row, sampled: int, likely: float, slots: Sequence[Slot]) -> bool:
        """Leave the row's next token in front of `pending`; False when its last slot is closed."""
        if row.pending:
            return True
        slot, span = slots[len(row.spans) - 1], row.spans[-1]
        span.complete = bool(self._vocabulary.stops[sampled])
        chars = row.chars + int(self._vocabulary.chars[sampled])
        if not span.complete and len(span.ids) < slot.tokens_max and chars <= slot.chars_max:
            span.ids.append(sampled)
            span.log_probability += likely
            row.chars = chars
            row.seen[sampled] = True
            row.pending = [sampled]
            return True
        if len(row.spans) == len(slots):
            return False
        row.pending = list(slots[len(row.spans)].fed)
        row.spans.append(Span())
        row.chars = 0
        return True

    def _prefill(self, whole: Ids) -> tuple[Floats, Cache]:
        cache = self._new_cache(len(whole))
        if self._prefix is not None:
            kept, kept_cache = self._prefix
            if len(kept) < len(whole) and np.array_equal(whole[: len(kept)], kept):
                cache = kept_cache.take([0], 1, len(whole))
        while True:
            logits = self._forward(whole[None, cache.tokens : cache.tokens + PREFILL_TOKENS], cache)
            if cache.tokens == len(whole):
                return logits, cache

    def _forward(self, ids: Ids, cache: Cache) -> Floats:
        """Append `ids` [rows, tokens] to every row of `cache`; the logits of the last token, [rows, vocabulary]."""
        rows, tokens = ids.shape
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("attention_mask", np.ones((rows, cache.tokens + tokens), np.int64))
        positions = np.broadcast_to(np.arange(cache.tokens, cache.tokens + tokens, dtype=np.int64), ids.shape)
        binding.bind_cpu_input("position_ids", np.ascontiguousarray(positions))
        binding.bind_output("logits")
        cache.bind(binding, self._names, tokens)
        self._session.run_with_iobinding(binding)
        cache.advance(tokens)
        logits: Floats = binding.get_outputs()[0].numpy()[:, -1, :]
        return logits

    def _new_cache(self, capacity: int) -> Cache:
        heads, width = self._cache_shape
        return Cache(len(self._names), 1, heads, capacity, width)


def _open_session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads  # 0: one a physical core
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare Exception subclasses per status code
        raise EngineError(f"{path.name} does not load: {error}") from error
