"""
Creatives per second of our engine and of Optimum's `generate`: one run, the same bundle, prompts and token counts.

Example: adloom bench --products 12 --tokens 64
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tokenizers import Tokenizer

from model.bundle import Bundle, open_bundle
from model.catalogue import read_catalogue
from model.channel import channel
from model.engine import Engine, Slot, Vocabulary
from model.prompt import prompt_from_dict
from model.sampling import Sampling

SAMPLE = Path(__file__).parents[1] / "data" / "catalogue.csv"
OPTIMUM = "optimum generate"
Call = Callable[[list[int]], int]
"""Continue one prompt; returns how many tokens it wrote over all rows."""


@dataclass(slots=True)
class Contender:
    """One engine under test and the wall-clock seconds of each of its calls."""

    name: str
    call: Call
    seconds: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, print a table of ratios and write every figure to a JSON file."""
    arguments = _parser().parse_args(argv)
    bundle = open_bundle(arguments.bundle)
    prefix, prompts = _prompts(bundle, arguments.products)
    report: dict[str, Any] = {
        "bundle": bundle.digest,
        "scheme": bundle.manifest.scheme,
        "machine": f"{platform.machine()}, {arguments.threads} threads",
        "prompt_tokens_mean": statistics.mean(map(len, prompts)),
        "products": len(prompts),
        "prefix_tokens": len(prefix),
        "tokens_written": arguments.tokens,
        "rows": {},
    }
    console = Console()
    for rows in arguments.rows:
        contenders = _contenders(bundle, prefix, rows, arguments.tokens, arguments.threads)
        _race(contenders, prompts, rows * arguments.tokens)
        figures = {contender.name: _figures(contender, rows) for contender in contenders}
        report["rows"][str(rows)] = figures
        console.print(_table(figures, rows, arguments.tokens))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(f"figures in {arguments.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path(".adloom/bundle"), help="default: %(default)s")
    parser.add_argument("--products", type=int, default=12, help="of the sample catalogue (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="written by each row, exactly (default: %(default)s)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4], help="candidates a call (default: 1 4)")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"), help="default: %(default)s")
    return parser


def _prompts(bundle: Bundle, products: int) -> tuple[list[int], list[list[int]]]:
    """The prefix that all prompts share, and the whole prompts, as token ids."""
    prompt = prompt_from_dict(json.loads((bundle.folder / "prompt.json").read_text(encoding="utf-8")))
    tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    prefix, spec = encode(prompt.preamble), channel("instagram")
    chosen = read_catalogue(SAMPLE).products[:products]
    return prefix, [prefix + encode(prompt.product(product, spec)) for product in chosen]


def _contenders(bundle: Bundle, prefix: list[int], rows: int, tokens: int, threads: int) -> list[Contender]:
    contenders = [
        Contender("adloom engine", _engine_call(bundle, prefix, rows, tokens, threads)),
        Contender(OPTIMUM, _optimum_call(bundle, rows, tokens, threads)),
    ]
    if prefix:  # the peer has no such cache: show what it is worth apart from the rest
        bare = _engine_call(bundle, [], rows, tokens, threads)
        contenders.append(Contender("adloom engine, prefix not kept", bare))
    return contenders


def _engine_call(bundle: Bundle, prefix: list[int], rows: int, tokens: int, threads: int) -> Call:
    size = Tokenizer.from_file(str(bundle.folder / "tokenizer.json")).get_vocab_size()
    # No token stops and none counts: every row writes exactly `tokens`, as the peer is told to.
    vocabulary = Vocabulary(np.zeros(size, np.int32), np.zeros(size, np.bool_))
    engine = Engine(bundle.folder, vocabulary, threads=threads)
    if prefix:
        engine.keep_prefix(prefix)
    slot = [Slot((), tokens, 1)]
    greedy = Sampling(temperature=0, presence_penalty=0)

    def call(prompt: list[int]) -> int:
        return sum(len(row[0].ids) for row in engine.generate(prompt, slot, rows=rows, seed=0, sampling=greedy))

    return call


def _optimum_call(bundle: Bundle, rows: int, tokens: int, threads: int) -> Call:
    import onnxruntime
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    torch.set_num_threads(threads)
    model = ORTModelForCausalLM.from_pretrained(bundle.folder, session_options=options)

    def call(prompt: list[int]) -> int:
        ids = torch.tensor([prompt] * rows)
        written = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
        )
        return int(written.shape[1] - ids.shape[1]) * rows

    return call


def _race(contenders: Sequence[Contender], prompts: Sequence[list[int]], tokens: int) -> None:
    """Prompt by prompt, every contender in turn, so that a slow minute of the machine slows all alike."""
    for contender in contenders:
        contender.call(prompts[0])  # warm-up
    for prompt in track(prompts, description="products", transient=True):
        for contender in contenders:
            start = time.perf_counter()
            written = contender.call(prompt)
            contender.seconds.append(time.perf_counter() - start)
            if written != tokens:
                raise RuntimeError(f"{contender.name} wrote {written} tokens instead of {tokens}: not comparable")


def _figures(contender: Contender, rows: int) -> dict[str, float]:
    seconds = contender.seconds
    p50, p95 = np.percentile(seconds, [50, 95])
    return {
        "creatives_per_second": rows * len(seconds) / sum(seconds),
        "call_seconds_p50": float(p50),
        "call_seconds_p95": float(p95),
    }


def _table(figures: Mapping[str, Mapping[str, float]], rows: int, tokens: int) -> Table:
    table = Table(title=f"{rows} candidate{'s' * (rows > 1)} a call, {tokens} tokens each, greedy")
    for heading in ("engine", "creatives/s", "p50 s", "p95 s", "creatives/s against Optimum"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    peer = figures[OPTIMUM]["creatives_per_second"]
    for name, row in figures.items():
        rate = row["creatives_per_second"]
        latencies = (f"{row['call_seconds_p50']:.2f}", f"{row['call_seconds_p95']:.2f}")
        table.add_row(name, f"{rate:.2f}", *latencies, f"{rate / peer:.2f}x")
    return table
