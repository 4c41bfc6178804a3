"""
Make a bundle: export, fuse and quantize, compare with the export, pack.

Built once under a key over everything that decides its bytes; the next call finds it there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime

from model.bundle import MANIFEST, Bundle, BundleError, file_sha256, open_bundle, seal
from model.catalogue import read_catalogue
from model.channel import channel
from model.engine import Engine
from model.prompt import Prompt
from model.sampling import Sampling
from model.tickets import Slot, Vocabulary
from model.training import export as export_module
from model.training import fused as fused_module
from model.training import weights as weights_module
from model.training.export import export
from model.training.fused import FusedScheme, write_fused
from model.training.runtimes import GreedyEngine, OnnxNetwork, Reader
from model.training.weights import Weights, load

NAME = "adloom-writer"
PARITY_PRODUCTS = 5
PARITY_TOKENS = 32
"""5 x 32 greedy tokens: enough to see a broken scheme (int8-dynamic keeps none), not to rank good ones."""

Step = Callable[[str], AbstractContextManager[None]]
"""Announces a step by name and, on leaving, how long it took."""


def build(
    root: Path,
    weights: Weights,
    prompt: Prompt,
    scheme: FusedScheme,
    step: Step,
    *,
    force: bool = False,
    point: bool = True,
) -> Bundle:
    """
    Return the bundle for these inputs, building it below `root`/bundles when it is not there, and point `root`/bundle
    at it unless `point` is false. A build that is killed leaves only a temporary folder; two at once do the work twice
    and agree.
    """
    store = root / "bundles"
    folder = store / _key(weights, prompt, scheme)
    if force or not (folder / MANIFEST).is_file():
        store.mkdir(parents=True, exist_ok=True)
        for stale in store.glob("building-*"):
            shutil.rmtree(stale, ignore_errors=True)
        _build_into(folder, weights, prompt, scheme, step)
    with step("verify the bundle's digests"):
        bundle = open_bundle(folder)
    if point:
        _point(root / "bundle", folder)
    return bundle


def _build_into(folder: Path, weights: Weights, prompt: Prompt, scheme: FusedScheme, step: Step) -> None:
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder.parent) as scratch:
        exported, packed = Path(scratch) / "fp32", Path(scratch) / "bundle"
        with step("load the weights"):
            model, tokenizer = load(weights)
        with step("export them to ONNX with KV cache (Optimum), to compare with"):
            reference = export(model, tokenizer, exported)
        packed.mkdir()
        with step(f"write the graph that is served ({scheme})"):
            write_fused(model, packed / "model.onnx", scheme)
        del model
        for name in ("config.json", "generation_config.json", "tokenizer.json"):
            shutil.copy(exported / name, packed / name)
        (packed / "prompt.json").write_text(json.dumps(prompt.as_dict(), indent=2) + "\n", encoding="utf-8")
        with step("compare its greedy tokens with the export's"):
            agreement = greedy_agreement(reference, packed, prompt)
        measured = {"greedy_agreement": agreement, "bytes": float(sum(p.stat().st_size for p in packed.iterdir()))}
        seal(
            packed,
            name=NAME,
            base=weights.identity(),
            scheme=scheme,
            prompt_digest=prompt.digest(),
            measured=measured,
            dataset_digest=weights.dataset_digest(),
            built_with={name: version(name) for name in ("torch", "transformers", "optimum", "onnxruntime")},
        )
        if folder.exists():
            shutil.rmtree(folder)
        packed.rename(folder)


def greedy_agreement(reference: Path, packed: Path, prompt: Prompt) -> float:
    """
    Share of greedy tokens, up to the first difference a prompt, that the exported graph `reference` and the bundle in
    `packed` write alike: 1.0 is no change.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(packed / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    vocabulary = Vocabulary(np.ones(size, np.int32), np.zeros(size, np.bool_))
    sample = Path(__file__).parents[1] / "data" / "catalogue.csv"
    products = read_catalogue(sample).products[:PARITY_PRODUCTS]
    slot = [Slot((), PARITY_TOKENS, PARITY_TOKENS)]
    texts = [(prompt.preamble, prompt.product(product, channel("instagram"))) for product in products]
    prompts = [
        [token for part in parts for token in tokenizer.encode(part, add_special_tokens=False).ids] for parts in texts
    ]
    engine = Engine(packed, vocabulary)
    if prompt.preamble:
        engine.keep_prefix(tokenizer.encode(prompt.preamble, add_special_tokens=False).ids)
    writers = (GreedyEngine(Reader(OnnxNetwork(reference), kv_cache=True), vocabulary), engine)
    greedy = Sampling(temperature=0, presence_penalty=0)
    written = [
        [writer.generate(ids, slot, rows=1, seed=0, sampling=greedy)[0][0].ids for ids in prompts] for writer in writers
    ]
    engine.close()
    alike = sum(_common_prefix(ours, theirs) for ours, theirs in zip(*written, strict=True))
    return alike / (PARITY_TOKENS * len(prompts))


def _common_prefix(ours: list[int], theirs: list[int]) -> int:
    pairs = zip(ours, theirs, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(ours), len(theirs)))


def _key(weights: Weights, prompt: Prompt, scheme: FusedScheme) -> str:
    code = [file_sha256(Path(str(module.__file__))) for module in (weights_module, export_module, fused_module)]
    parts = [
        weights.identity(),
        weights.dataset_digest(),
        prompt.digest(),
        scheme,
        onnxruntime.__version__,
        version("torch"),
        *code,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _point(link: Path, folder: Path) -> None:
    """Make `link` a relative symlink to `folder` in one step, so that a reader never finds it missing."""
    if link.exists() and not link.is_symlink():
        raise BundleError(f"{link} exists and is no link; move it away")
    fresh = link.with_name(f"{link.name}.{os.getpid()}.tmp")
    fresh.symlink_to(folder.relative_to(link.parent), target_is_directory=True)
    fresh.replace(link)
