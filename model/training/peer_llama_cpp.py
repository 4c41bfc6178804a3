"""
llama.cpp with several requests in each step, through the C functions that llama-cpp-python exposes.

Its `Llama` class runs one sequence at a time; llama_decode takes many, and that is how its own server runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.training.peers import Answer, Ids

BATCH_TOKENS = 2048
"""Most tokens handed over in one llama_decode; it cuts them into pieces of its own."""
CACHED = 0
"""The sequence that keeps what all prompts begin with; request n is sequence n + 1."""


class LlamaCpp:
    """A GGUF file, open. A context has a fixed number of sequences and tokens, so `reserve` may make a new one."""

    def __init__(self, path: Path, threads: int, prefix: Ids) -> None:
        import llama_cpp

        self._library: Any = llama_cpp
        self._threads, self._prefix = threads, list(prefix)
        # The pointer is kept: a callback that Python has collected crashes the process. Errors go through.
        self._log = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
        llama_cpp.llama_log_set(self._log, None)
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(bytes(path), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp does not load {path.name}")
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._context: Any = None
        self._room = (0, 0)

    def reserve(self, rows: int, capacity: int) -> None:
        """See Peer. A context for 32 keeps and clears more than one for a single request would."""
        if self._room == (rows, capacity):
            return
        library = self._library
        if self._context:
            library.llama_free(self._context)
        params = library.llama_context_default_params()
        params.n_seq_max = rows + 1
        params.n_ctx = (rows + 1) * -(-capacity // 256) * 256  # it rounds each sequence up to 256 tokens by itself
        params.n_batch = BATCH_TOKENS
        params.n_threads = params.n_threads_batch = self._threads
        self._context = library.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp makes no context for {rows} requests of {capacity} tokens")
        self._memory = library.llama_get_memory(self._context)
        self._room = (rows, capacity)
        if self._prefix:
            self._decode([(CACHED, place, token, False) for place, token in enumerate(self._prefix)])

    def write(self, prompts: Sequence[Ids], tokens: int) -> list[Answer]:
        """See Peer."""
        start = time.perf_counter()
        kept = len(self._prefix)
        entries = []
        for row, prompt in enumerate(prompts, start=1):
            self._library.llama_memory_seq_rm(self._memory, row, -1, -1)
            if kept:
                self._library.llama_memory_seq_cp(self._memory, CACHED, row, -1, -1)
            last = len(prompt) - 1
            entries += [(row, place, prompt[place], place == last) for place in range(kept, len(prompt))]
        chosen = self._decode(entries)
        first = time.perf_counter() - start
        steps = [chosen]
        for step in range(tokens - 1):
            entries = [
                (row, len(prompt) + step, int(token), True)
                for row, (prompt, token) in enumerate(zip(prompts, chosen, strict=True), start=1)
            ]
            chosen = self._decode(entries)
            steps.append(chosen)
        seconds = time.perf_counter() - start
        return [Answer(column.tolist(), seconds, first) for column in np.stack(steps, axis=1)]

    def _decode(self, entries: Sequence[tuple[int, int, int, bool]]) -> npt.NDArray[np.int64]:
        """Run (sequence, position, token, wanted) in order; the likeliest next token of each that is wanted."""
        chosen = []
        for start in range(0, len(entries), BATCH_TOKENS):
            piece = entries[start : start + BATCH_TOKENS]
            for place, (sequence, position, token, wanted) in enumerate(piece):
                self._batch.token[place] = token
                self._batch.pos[place] = position
                self._batch.n_seq_id[place] = 1
                self._batch.seq_id[place][0] = sequence
                self._batch.logits[place] = wanted
            self._batch.n_tokens = len(piece)
            if code := self._library.llama_decode(self._context, self._batch):
                raise RuntimeError(f"llama_decode returned {code} for {len(piece)} tokens")
            for place, (_, _, _, wanted) in enumerate(piece):
                if wanted:
                    logits = self._library.llama_get_logits_ith(self._context, place)
                    chosen.append(np.ctypeslib.as_array(logits, shape=(self._vocabulary,)).argmax())
        return np.array(chosen, np.int64)
