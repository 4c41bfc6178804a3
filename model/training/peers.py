"""
Every engine of the benchmark behind one small interface: prompts in as token ids, greedy tokens and their times out.

Knows no schedule and no report (see benchmark.py). Each engine is imported where it opens, in a process of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine is opened with."""

    bundle: str
    """Folder of the bundle."""
    files: str
    """Folder with what `peer_files` made for this engine, or empty."""
    threads: int
    prefix: list[int]
    """What all prompts begin with; empty where that is too little to be worth a cache."""
    rows_max: int
    """Most requests that will be in flight."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's tokens; its times count from the moment when the whole group was handed over."""

    ids: list[int]
    seconds: float
    first_token_seconds: float | None
    """None where the engine does not tell."""


class Peer(Protocol):
    """An engine, open and ready."""

    def reserve(self, rows: int, capacity: int) -> None:
        """Make room for `rows` requests of `capacity` tokens each; not timed."""
        ...

    def write(self, prompts: Sequence[Ids], tokens: int) -> list[Answer]:
        """Continue every prompt by exactly `tokens` tokens, greedily, with no token that stops."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """What is known of an engine before it is opened."""

    title: str
    opener: str
    """module:function, from Setup to Peer; imported by the worker."""
    maker: str = ""
    """module:function that makes the engine's files, or empty: see peer_files.py."""
    modules: tuple[str, ...] = ()
    """Without these it is skipped."""
    package: str = ""
    """Distribution whose version the report names."""
    note: str = ""
    """How several requests in flight are served, and what else a reader must know."""


OURS = "adloom"
BATCHED = "the whole group is one batch, padded on the left"
_HERE, _FILES = "model.training.peers", "model.training.peer_files"
_LLAMA_CPP = "all requests in flight share each llama_decode, through the low-level API; common beginnings are cached"

ENGINES: dict[str, Engine] = {
    OURS: Engine(
        "Adloom",
        f"{_HERE}:open_adloom",
        package="onnxruntime",
        note="requests are queued one by one and share each step",
    ),
    "transformers": Engine(
        "transformers fp32",
        f"{_HERE}:open_transformers",
        f"{_FILES}:make_hub",
        ("transformers", "torch"),
        "transformers",
        f"eager, not compiled; {BATCHED}",
    ),
    "optimum-int8": Engine(
        "Optimum int8",
        f"{_HERE}:open_optimum",
        f"{_FILES}:make_optimum",
        ("optimum.onnxruntime",),
        "optimum-onnx",
        f"ORTModelForCausalLM, ORTQuantizer avx512_vnni, dynamic, per channel; {BATCHED}",
    ),
    "ctranslate2-int8": Engine(
        "CTranslate2 int8",
        f"{_HERE}:open_ctranslate2",
        f"{_FILES}:make_ctranslate2",
        ("ctranslate2",),
        "ctranslate2",
        "the whole group is one batch; static_prompt caches common beginnings",
    ),
    "llama.cpp-q8_0": Engine(
        "llama.cpp Q8_0",
        f"{_HERE}:open_llama_cpp",
        f"{_FILES}:make_gguf_q8_0",
        ("llama_cpp", "gguf"),
        "llama-cpp-python",
        _LLAMA_CPP,
    ),
    "llama.cpp-q4_1": Engine(
        "llama.cpp Q4_1",
        f"{_HERE}:open_llama_cpp",
        f"{_FILES}:make_gguf_q4_1",
        ("llama_cpp", "gguf"),
        "llama-cpp-python",
        f"token table Q8_0; {_LLAMA_CPP}",
    ),
    "genai-int4": Engine(
        "onnxruntime-genai int4",
        f"{_HERE}:open_genai",
        f"{_FILES}:make_genai",
        ("onnxruntime_genai",),
        "onnxruntime-genai",
        "accuracy level 4; the whole group is one batch, padded on the right",
    ),
}


def open_adloom(setup: Setup) -> Adloom:
    """Our own engine, as the service runs it."""
    return Adloom(setup)


class Adloom:
    """
    Requests of one candidate each, submitted together, as so many callers of the service would.

    No token stops and none counts as a character, so every row writes exactly what it is asked for.
    """

    def __init__(self, setup: Setup) -> None:
        from tokenizers import Tokenizer

        from model.engine import Engine as AdloomEngine
        from model.tickets import Vocabulary

        folder = Path(setup.bundle)
        size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
        vocabulary = Vocabulary(np.zeros(size, np.int32), np.zeros(size, np.bool_))
        self._engine = AdloomEngine(folder, vocabulary, threads=setup.threads, rows_max=setup.rows_max)
        if setup.prefix:
            self._engine.keep_prefix(setup.prefix)

    def reserve(self, rows: int, capacity: int) -> None:
        """See Peer: it makes room as requests come."""

    def write(self, prompts: Sequence[Ids], tokens: int) -> list[Answer]:
        """See Peer."""
        from model.sampling import Sampling
        from model.tickets import Request, Slot, Ticket

        start = time.monotonic()
        greedy = Sampling(temperature=0, presence_penalty=0)
        slots = [Slot((), tokens, 1)]
        tickets = [self._engine.submit(Request(prompt, slots, 1, 0, greedy)) for prompt in prompts]

        def wait(ticket: Ticket) -> Answer:
            (row,) = ticket.result()
            return Answer(row[0].ids, time.monotonic() - start, ticket.first_token - start)

        with ThreadPoolExecutor(len(tickets)) as threads:
            return list(threads.map(wait, tickets))

    def close(self) -> None:
        """End the engine's thread, which holds its graph."""
        self._engine.close()


class _Generate:
    """transformers' `generate`, which Optimum's models share."""

    def __init__(self, model: Any) -> None:
        model.generation_config.eos_token_id = None
        self._model = model

    def reserve(self, rows: int, capacity: int) -> None:
        """See Peer: it makes room as it goes."""

    def write(self, prompts: Sequence[Ids], tokens: int) -> list[Answer]:
        """See Peer."""
        import torch

        start = time.perf_counter()
        seen: list[float] = []

        def first_token(_: Any, scores: Any) -> Any:
            if not seen:
                seen.append(time.perf_counter() - start)
            return scores

        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=tokens,
                pad_token_id=0,
                logits_processor=[first_token],
            )
        seconds = time.perf_counter() - start
        return [Answer(row, seconds, seen[0]) for row in written[:, longest:].tolist()]


def open_transformers(setup: Setup) -> Peer:
    """The weights in fp32 as transformers loads them, without compilation."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(setup.threads)
    return _Generate(AutoModelForCausalLM.from_pretrained(setup.files, dtype=torch.float32))


def open_optimum(setup: Setup) -> Peer:
    """Optimum's export under its own int8 quantization."""
    import onnxruntime
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM

    torch.set_num_threads(setup.threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup.threads
    options.log_severity_level = 3
    return _Generate(ORTModelForCausalLM.from_pretrained(setup.files, session_options=options))


def open_ctranslate2(setup: Setup) -> Peer:
    """CTranslate2's converted model; it takes and gives tokens as strings."""
    return _CTranslate2(setup)


class _CTranslate2:
    def __init__(self, setup: Setup) -> None:
        import ctranslate2

        self._texts: list[str] = json.loads((Path(setup.files) / "vocabulary.json").read_text(encoding="utf-8"))
        self._prefix = setup.prefix
        self._generator = ctranslate2.Generator(
            setup.files, device="cpu", compute_type="int8", inter_threads=1, intra_threads=setup.threads
        )

    def reserve(self, rows: int, capacity: int) -> None:
        """See Peer: it makes room as it goes."""

    def write(self, prompts: Sequence[Ids], tokens: int) -> list[Answer]:
        """See Peer."""
        start = time.perf_counter()
        seen: list[float] = []

        def first_token(_: Any) -> bool:
            if not seen:
                seen.append(time.perf_counter() - start)
            return False

        prefix = [self._texts[token] for token in self._prefix]
        cached = {"static_prompt": prefix, "cache_static_prompt": True} if prefix else {}
        results = self._generator.generate_batch(
            [[self._texts[token] for token in prompt[len(prefix) :]] for prompt in prompts],
            max_length=tokens,
            min_length=tokens,  # no stop before the last
            beam_size=1,
            sampling_topk=1,
            include_prompt_in_result=False,
            callback=first_token,
            **cached,
        )
        seconds = time.perf_counter() - start
        return [Answer(list(result.sequences_ids[0]), seconds, seen[0]) for result in results]


def open_llama_cpp(setup: Setup) -> Peer:
    """llama.cpp by the functions of its C interface that llama-cpp-python exposes."""
    from model.training.peer_llama_cpp import LlamaCpp

    return LlamaCpp(Path(setup.files) / "model.gguf", setup.threads, setup.prefix)


def open_genai(setup: Setup) -> Peer:
    """onnxruntime-genai on what its model builder wrote."""
    return _GenAI(setup)


class _GenAI:
    def __init__(self, setup: Setup) -> None:
        import onnxruntime_genai

        self._library = onnxruntime_genai
        config = onnxruntime_genai.Config(setup.files)
        session = {"intra_op_num_threads": setup.threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self._model = onnxruntime_genai.Model(config)
        settings = json.loads((Path(setup.files) / "genai_config.json").read_text(encoding="utf-8"))
        self._pad = int(settings["model"]["pad_token_id"])

    def reserve(self, rows: int, capacity: int) -> None:
        """See Peer: every call makes its own room, of exactly the length it needs."""

    def write(self, prompts: Sequence[Ids], tokens: int) -> list[Answer]:
        """See Peer."""
        start = time.perf_counter()
        longest = max(map(len, prompts))
        length = longest + tokens
        params = self._library.GeneratorParams(self._model)
        params.set_search_options(batch_size=len(prompts), max_length=length, min_length=length, do_sample=False)
        generator = self._library.Generator(self._model, params)
        padded = np.full((len(prompts), longest), self._pad, np.int32)
        for row, prompt in enumerate(prompts):
            padded[row, : len(prompt)] = prompt
        generator.append_tokens(padded)
        steps: list[npt.NDArray[np.int32]] = []
        first = 0.0
        for step in range(tokens):
            generator.generate_next_token()
            steps.append(np.array(generator.get_next_tokens()))
            first = first if step else time.perf_counter() - start
        seconds = time.perf_counter() - start
        return [Answer(column.tolist(), seconds, first) for column in np.stack(steps, axis=1)]


def resolve(reference: str) -> Callable[..., Any]:
    """The function that module:function names."""
    from importlib import import_module

    module, _, name = reference.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def missing(engine: Engine) -> str:
    """Why an engine cannot run here, and what to do; empty where nothing is known to be missing."""
    from importlib.util import find_spec

    for module in engine.modules:
        try:
            found = find_spec(module) is not None
        except ModuleNotFoundError:  # the package around it
            found = False
        if not found:
            return f"{module} is not installed: run `make bench`, or pip install -e '.[train,bench]'"
    return ""
