"""
Certify a bundle: the same held-out rows in torch fp32, Optimum's export and the graph that is served, with
and without KV cache.

Example: adloom certify --bundle .adloom/bundle --rows 12
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from model.bundle import Bundle, open_bundle
from model.prompt import prompt_from_dict
from model.training.bundle_command import SHIPPED_ADAPTER
from model.training.fused import FUSED_SCHEMES, FusedScheme
from model.training.pairs import Pair, read_pairs
from model.training.quantize import SCHEMES, Scheme
from model.training.weights import Weights, embedded_weights

if TYPE_CHECKING:
    from model.training.runtimes import Network

HELDOUT = Path(__file__).parents[1] / "data" / "heldout.jsonl"
EXIT_BREACHED = 1


class CertificateError(RuntimeError):
    """A bundle cannot be certified; the message says what is missing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write certificate.json and print its table: 0 where it passed, 1 where a threshold is breached."""
    arguments = _parser().parse_args(argv)
    bundle = open_bundle(arguments.bundle)
    weights = weights_of(bundle, arguments.base, arguments.adapter)
    pairs = chosen(read_pairs(arguments.pairs), arguments.rows)
    others = [scheme for scheme in arguments.schemes or [] if scheme != bundle.manifest.scheme]
    report = certify(bundle, weights, pairs, others, arguments.threads)
    print("\n".join(markdown([*report["rows"], *report.get("tried", [])])))
    out = arguments.out or Path(".adloom/reports") / bundle.digest[:16] / "certificate.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for breach in report["breaches"]:
        print(f"  {breach}")
    print(f"{'passed' if report['passed'] else 'refused'}; every figure in {out}")
    return 0 if report["passed"] else EXIT_BREACHED


def certify(
    bundle: Bundle, weights: Weights, pairs: Sequence[Pair], others: Sequence[str] = (), threads: int = 0
) -> dict[str, Any]:
    """
    The bundle's certificate; rows of `others`, schemes on trial, stand in it as `tried` and decide nothing.

    The graphs are in memory one after another, never together.
    """
    from model.training.certificate import ONNX, TORCH, Measure, Row, as_json, certificate, fused_name
    from model.training.export import export
    from model.training.quantize import quantize
    from model.training.runtimes import FusedNetwork, OnnxNetwork, TorchNetwork
    from model.training.weights import load

    prompt = prompt_from_dict(json.loads((bundle.folder / "prompt.json").read_text(encoding="utf-8")))
    scheme = bundle.manifest.scheme
    say = _Progress(steps=2 + 1 + 2 + 2 + 2 * len(others))
    measure = Measure(bundle, pairs, prompt, say)
    model, tokenizer = load(weights)
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    rows: list[Row] = measure.runtime(TORCH, TorchNetwork(model), size)
    with tempfile.TemporaryDirectory(prefix="certify-") as name:
        scratch = Path(name)
        exported = export(model, tokenizer, scratch / "export")
        say("exported the fp32 graph")
        rows += measure.runtime(ONNX, OnnxNetwork(exported, threads), _size(exported))
        whole = _every_position(bundle.folder, scratch / "served")
        rows += measure.runtime(fused_name(scheme), FusedNetwork(whole, threads), _size(bundle.folder / "model.onnx"))
        for other in others:
            folder = scratch / other
            if other in FUSED_SCHEMES:
                graph = _fuse(model, bundle.folder, folder, cast(FusedScheme, other))
                network: Network = FusedNetwork(_every_position(graph.parent, folder / "whole"), threads)
                rows += measure.runtime(fused_name(other), network, _size(graph))
            else:
                graph = folder / "model.onnx"
                folder.mkdir()
                quantize(exported, graph, cast(Scheme, other))
                rows += measure.runtime(f"onnx {other}", OnnxNetwork(graph, threads), _size(graph))
    count = len(rows) - 2 * len(others)
    report = certificate(bundle, rows[:count]) | {"held_out_rows": len(pairs)}
    return report | {"tried": [as_json(row) for row in rows[count:]]} if others else report


def _every_position(packed: Path, folder: Path) -> Path:
    """The fused graph in `packed`, giving all logits, in `folder` with its config."""
    from model.training.fused import give_every_position

    folder.mkdir(parents=True)
    give_every_position(packed / "model.onnx", folder / "model.onnx")
    shutil.copy(packed / "config.json", folder)
    return folder


def _fuse(model: Any, packed: Path, folder: Path, scheme: FusedScheme) -> Path:
    from model.training.fused import write_fused

    graph = folder / "cut" / "model.onnx"
    graph.parent.mkdir(parents=True)
    write_fused(model, graph, scheme)
    shutil.copy(packed / "config.json", graph.parent)
    return graph


def weights_of(bundle: Bundle, base: str = "", adapter: Path | None = None) -> Weights:
    """
    The weights that a bundle says it was made of: those named, or else the embedded ones, with or without the shipped
    adapter. Raises CertificateError where none of them is what the bundle records.
    """
    named = [str(adapter)] if adapter else ["", str(SHIPPED_ADAPTER)]
    candidates = [Weights(base, adapter=folder) if base else embedded_weights(folder) for folder in named]
    identities = []
    for weights in candidates:
        try:
            identities.append(weights.identity())
        except OSError as error:
            identities.append(f"{weights.adapter or weights.source}, which cannot be read ({error})")
            continue
        if identities[-1] == bundle.manifest.base:
            return weights
    raise CertificateError(
        f"the bundle was made of {bundle.manifest.base}, and here is {' or '.join(identities)}; "
        "name its weights with --adapter or --base"
    )


def chosen(pairs: list[Pair], rows: int) -> list[Pair]:
    """A fixed sample, so that two bundles are measured on the same rows."""
    if rows < 1:
        raise ValueError("--rows takes a whole number from 1")
    return pairs if rows >= len(pairs) else random.Random(0).sample(pairs, rows)


class _Progress:
    """Says what is done, and how long the rest takes if it goes on like this."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._started = steps, 0, time.monotonic()

    def __call__(self, line: str) -> None:
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._steps - self._done)
        print(f"  {self._done}/{self._steps}  {line}, about {left:.0f} s left", file=sys.stderr, flush=True)


def _size(graph: Path) -> int:
    return sum(path.stat().st_size for path in graph.parent.glob(f"{graph.name}*"))


def markdown(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table of ADR 0010, line by line."""
    headings = ("runtime", "KV cache", "greedy", "free", "perplexity", "change", "validity", "grounded", "ms a token")
    lines = [f"| {' | '.join([*headings, 'MB', 'differ', 'nats'])} |", "|---|---" + 10 * "|--:" + "|"]
    cached = {True: "yes", False: "no"}
    return lines + [f"| {' | '.join([row['runtime'], cached[row['kv_cache']], *cells(row)])} |" for row in rows]


def cells(row: dict[str, Any]) -> list[str]:
    """The figures of one row as text, as the table of ADR 0010 shows them; "none" where there is no number."""
    forms = {
        "greedy_agreement": "{:.4f}",
        "free_running_agreement": "{:.3f}",
        "perplexity": "{:.3f}",
        "perplexity_change": "{:+.2%}",
        "validity": "{:.3f}",
        "grounded": "{:.3f}",
        "ms_per_token": "{:.0f}",
        "bytes": "{:.0f}",
        "differences": "{:d}",
        "difference_nats": "{:.2f}",
    }
    values = row | {"bytes": row["bytes"] / 1e6}
    return [form.format(values[name]) if values[name] is not None else "none" for name, form in forms.items()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom certify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path(".adloom/bundle"), help="default: %(default)s")
    parser.add_argument("--base", default="", help="what it was made of (default: the embedded weights)")
    parser.add_argument("--adapter", type=Path, help="LoRA folder it was made of (default: the shipped one, or none)")
    parser.add_argument("--pairs", type=Path, default=HELDOUT, help="default: the frozen held-out pairs")
    parser.add_argument("--rows", type=int, default=12, help="held-out rows, always the same (default: %(default)s)")
    parser.add_argument(
        "--schemes", nargs="+", choices=(*FUSED_SCHEMES, *SCHEMES), help="measure these too; they decide nothing"
    )
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime (default: one a core)")
    parser.add_argument("--out", type=Path, help="default: .adloom/reports/<bundle>/certificate.json")
    return parser
