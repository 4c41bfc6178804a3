"""
One network, four ways to run it: torch or ONNX Runtime, with a KV cache or reading everything again for each token.

Knows nothing of text or ads: token ids in, logits of every position out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model.decoder import Decoder
from model.tickets import Slot, Span, Vocabulary

Floats = npt.NDArray[np.float32]


class Network(Protocol):
    """A decoder that continues from what it returned last time."""

    def run(self, ids: Sequence[int], past: Any) -> tuple[Floats, Any]:
        """Logits [len(ids), vocabulary], and the past to hand back with the ids that follow; None begins."""
        ...


class TorchNetwork:
    """The weights as torch runs them in fp32: what every other runtime is compared with."""

    def __init__(self, model: Any) -> None:
        self._model = model.eval()

    def run(self, ids: Sequence[int], past: Any) -> tuple[Floats, Any]:
        """See Network."""
        import torch

        with torch.inference_mode():
            output = self._model(input_ids=torch.tensor([list(ids)]), past_key_values=past, use_cache=True)
        logits: Floats = output.logits[0].numpy()
        return logits, output.past_key_values


class OnnxNetwork:
    """A graph as Optimum exports it, with logits of every position (see `quantize.give_every_position`)."""

    def __init__(self, graph: Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._to_device = onnxruntime.OrtValue.ortvalue_from_numpy
        self._outputs = [output.name for output in self._session.get_outputs()]
        pasts = [entry for entry in self._session.get_inputs() if entry.name.startswith("past_key_values.")]
        self._empty = {entry.name: np.zeros((1, entry.shape[1], 0, entry.shape[3]), np.float32) for entry in pasts}

    def run(self, ids: Sequence[int], past: Any) -> tuple[Floats, Any]:
        """See Network. The past stays where onnxruntime left it: nothing is copied."""
        read, cache = past or (0, {name: self._to_device(value) for name, value in self._empty.items()})
        inputs = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, read + len(ids)), np.int64),
            "position_ids": np.arange(read, read + len(ids), dtype=np.int64)[None],
        }
        feed = {name: self._to_device(value) for name, value in inputs.items()} | cache
        found = dict(zip(self._outputs, self._session.run_with_ort_values(self._outputs, feed), strict=True))
        logits: Floats = found.pop("logits").numpy()[0]
        return logits, (read + len(ids), {name.replace("present", "past_key_values"): v for name, v in found.items()})


class FusedNetwork:
    """A graph of `fused.give_every_position` in a folder with its config, as the engine runs it: one sequence."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self._decoder = Decoder(folder, threads=threads, rows_max=1)

    def run(self, ids: Sequence[int], past: Any) -> tuple[Floats, Any]:
        """See Network. The past is the number of ids read: keys and values stay in the decoder."""
        if past is None:
            self._decoder.forget()
        elif past != self._decoder.lengths[0]:
            raise ValueError("a fused network goes on from where it stopped, and from nowhere else")
        logits = self._decoder.extend(np.array([ids], np.int64), 0).reshape(len(ids), -1)
        return logits, int(self._decoder.lengths[0])


class Reader:
    """
    One sequence on its way through a network, with or without KV cache.

    Without one, each call reads the whole sequence again. Where `begin` is told how the sequence may go on, one pass
    over that serves for all its beginnings: a causal network's logits do not hang on what comes later. (In int8-dynamic
    they do, by the scale of activations; there the figure without cache is that of one long pass.)
    """

    def __init__(self, network: Network, *, kv_cache: bool) -> None:
        self.kv_cache = kv_cache
        self.seconds: list[float] = []
        """Of every pass that made one more token: with cache a pass over one id, without it over all of them."""
        self._network = network
        self._past: Any = None
        self._ids: list[int] = []
        self._foreseen: tuple[list[int], Floats] | None = None

    def begin(self, foreseen: Sequence[int] = ()) -> None:
        """Forget the sequence. `foreseen` is how the next one may go on."""
        self._past, self._ids, self._foreseen = None, [], None
        if foreseen and not self.kv_cache:
            self._foreseen = (list(foreseen), self._timed(foreseen, None)[0])

    def extend(self, ids: Sequence[int]) -> Floats:
        """Append `ids`; the logits of the last of them, [vocabulary]."""
        self._ids += ids
        if self.kv_cache:
            logits, self._past = self._timed(ids, self._past) if len(ids) == 1 else self._network.run(ids, self._past)
        elif self._foreseen is not None and self._foreseen[0][: len(self._ids)] == self._ids:
            logits = self._foreseen[1][: len(self._ids)]
        else:
            logits, _ = self._timed(self._ids, None)
        last: Floats = logits[-1]
        return last

    def _timed(self, ids: Sequence[int], past: Any) -> tuple[Floats, Any]:
        start = time.perf_counter()
        found = self._network.run(ids, past)
        self.seconds.append(time.perf_counter() - start)
        return found


class Trace:
    """What a greedy run read and chose: `segments[i]` was read, then `choices[i]` was the likeliest token."""

    def __init__(self, bias: Floats | None) -> None:
        self.bias = bias
        self.segments: list[list[int]] = []
        self.choices: list[int] = []
        self.logits: list[Floats] = []
        """With the bias added, one array [vocabulary] a choice."""

    def ids(self) -> list[int]:
        """Everything that was read, in order."""
        return [token for segment in self.segments for token in segment]

    def read(self, reader: Reader, segment: Sequence[int]) -> int:
        """Read a segment and choose; -1 where the network gives no number."""
        logits = reader.extend(segment)
        logits = logits if self.bias is None else logits + self.bias
        choice = -1 if np.isnan(logits).any() else int(logits.argmax())
        self.segments.append(list(segment))
        self.choices.append(choice)
        self.logits.append(logits)
        return choice


class GreedyEngine:
    """Fills slots as model/engine.py does, one row, always the likeliest token, and keeps the trace of each call."""

    def __init__(self, reader: Reader, vocabulary: Vocabulary, foreseen: Sequence[Trace] = ()) -> None:
        self.traces: list[Trace] = []
        self._reader, self._vocabulary, self._foreseen = reader, vocabulary, foreseen

    def generate(
        self,
        prompt: Sequence[int],
        slots: Sequence[Slot],
        *,
        bias: Floats | None = None,
        **_drawing: Any,
    ) -> list[list[Span]]:
        """As Engine.generate; its arguments about drawing and waiting do nothing here."""
        trace = Trace(bias)
        place = len(self.traces)
        self._reader.begin(self._foreseen[place].ids() if place < len(self._foreseen) else ())
        spans = []
        lead = list(prompt)
        for slot in slots:
            spans.append(self._fill(slot, [*lead, *slot.fed], trace))
            lead = []
        self.traces.append(trace)
        return [spans]

    def _fill(self, slot: Slot, segment: Sequence[int], trace: Trace) -> Span:
        span, chars = Span(), 0
        while True:
            token = trace.read(self._reader, segment)
            span.complete = token < 0 or bool(self._vocabulary.stops[token])
            chars += 0 if span.complete else int(self._vocabulary.chars[token])
            if span.complete or len(span.ids) == slot.tokens_max or chars > slot.chars_max:
                return span
            span.ids.append(token)
            segment = [token]


def replay(trace: Trace, reader: Reader) -> Trace:
    """What this reader chooses at every place of another's history, whatever it chose itself (teacher forcing)."""
    again = Trace(trace.bias)
    reader.begin(trace.ids())
    for segment in trace.segments:
        again.read(reader, segment)
    return again


def negative_log_likelihood(reader: Reader, ids: Sequence[int], counted: Sequence[bool]) -> tuple[float, int]:
    """Sum in nats over the counted ids, each given all before it, and how many were counted. The first never is."""
    first = counted.index(True)
    reader.begin(ids)
    logits = reader.extend(ids[:first])
    total, count = 0.0, 0
    for place in range(first, len(ids)):
        if counted[place]:
            top = float(logits.max())
            total += top + float(np.log(np.exp(logits - top).sum())) - float(logits[ids[place]])
            count += 1
        if place + 1 < len(ids):
            logits = reader.extend([ids[place]])
    return total, count
