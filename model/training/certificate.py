"""
The quantization certificate: what a bundle's graph costs against the same weights in torch, and whether that will do.

Thresholds and their reasons are in ADR 0010. Knows how to measure and judge; certify_command.py knows files.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from model.bundle import Bundle
from model.engine import Engine
from model.prompt import Prompt
from model.sampling import Sampling, log_probabilities
from model.tickets import Vocabulary
from model.training.dataset import encode
from model.training.pairs import Pair
from model.training.runtimes import GreedyEngine, Network, Reader, Trace, negative_log_likelihood, replay
from model.validity import GROUNDING
from model.writer import Writer

FORM = 1
TORCH = "torch fp32"
ONNX = "onnx fp32"
GREEDY = Sampling(temperature=0, presence_penalty=0)
THRESHOLDS: Mapping[str, float] = MappingProxyType({
    "fp32_greedy_agreement_min": 0.995,
    "fp32_perplexity_change_max": 0.001,
    "greedy_agreement_min": 0.95,
    "perplexity_change_max": 0.02,
    "validity_drop_max": 0.05,
    "grounded_drop_max": 0.1,
    "kv_cache_perplexity_change_max": 0.02,
})  # fmt: skip
NUMBERS = ("greedy_agreement", "perplexity", "perplexity_change", "validity", "grounded", "ms_per_token", "bytes")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One runtime, with or without KV cache, against torch fp32 with it."""

    runtime: str
    kv_cache: bool
    greedy_agreement: float
    """Share of places in torch's own greedy ads where this runtime, given the same history, chooses the same token."""
    free_running_agreement: float
    """Share of torch's greedy tokens that come before the first difference in the ad that this runtime writes."""
    perplexity: float
    """On the contents of held-out ads, labels and prompt not counted."""
    perplexity_change: float
    """Relative: 0.01 is one per cent worse."""
    validity: float
    """Mean over greedy ads."""
    grounded: float
    """Share of greedy ads without an invented fact."""
    ms_per_token: float
    """Median milliseconds of the pass that makes one more token: over one id, or without cache over all ids so far."""
    bytes: int
    differences: int
    """Places where the choice was another than torch's."""
    difference_nats: float
    """Median over those places of how much likelier torch finds its own choice; below 0.1 is close to a tie."""


@dataclass(slots=True)
class Measure:
    """Measures one runtime after another on the same rows; torch with KV cache has to come first."""

    bundle: Bundle
    pairs: Sequence[Pair]
    prompt: Prompt
    say: Say
    _scribe: _Scribe | None = None
    _reference: Sequence[Trace] = ()
    _reference_perplexity: float = math.nan

    def runtime(self, name: str, network: Network, size_bytes: int) -> list[Row]:
        """The two rows of a runtime: with KV cache, then without."""
        with_cache, traces = self._row(name, network, size_bytes, kv_cache=True, foreseen=())
        without, _ = self._row(name, network, size_bytes, kv_cache=False, foreseen=traces)
        return [with_cache, without]

    def _row(
        self, name: str, network: Network, size_bytes: int, *, kv_cache: bool, foreseen: Sequence[Trace]
    ) -> tuple[Row, Sequence[Trace]]:
        started = time.monotonic()
        scribe = self._scribe = self._scribe or _Scribe(self.bundle)
        reader = Reader(network, kv_cache=kv_cache)
        validity, grounded, traces = scribe.write(self.pairs, reader, foreseen)
        reference = self._reference = self._reference or traces
        forced = [
            ours if ours.segments == theirs.segments else replay(theirs, reader)
            for ours, theirs in zip(traces, reference, strict=True)
        ]
        perplexity = self._perplexity(reader, scribe)
        if math.isnan(self._reference_perplexity):
            self._reference_perplexity = perplexity
        gaps = _gaps(forced, reference)
        row = Row(
            runtime=name,
            kv_cache=kv_cache,
            greedy_agreement=1 - len(gaps) / sum(len(trace.choices) for trace in reference),
            free_running_agreement=_common_share(traces, reference),
            perplexity=perplexity,
            perplexity_change=perplexity / self._reference_perplexity - 1,
            validity=validity,
            grounded=grounded,
            ms_per_token=1000 * statistics.median(reader.seconds),
            bytes=size_bytes,
            differences=len(gaps),
            difference_nats=statistics.median(gaps) if gaps else 0.0,
        )
        found = f"agreement {row.greedy_agreement:.4f}, perplexity {row.perplexity_change:+.2%}"
        self.say(f"{_named(name, kv_cache)}: {found} ({time.monotonic() - started:.0f} s)")
        return row, traces

    def _perplexity(self, reader: Reader, scribe: _Scribe) -> float:
        total, count = 0.0, 0
        for pair in self.pairs:
            example = encode(pair, self.prompt, scribe.tokenizer)
            nats, tokens = negative_log_likelihood(reader, example.ids, example.learnt)
            total, count = total + nats, count + tokens
        return math.exp(total / count) if total / count < 700 else math.inf


class _Scribe(Writer):
    """The bundle's writer with another engine in place of its own: same prompt, slots, rules and repairs."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.tokenizer = self._tokenizer
        self._vocabulary: Vocabulary = self._engine._vocabulary  # noqa: SLF001 - what ends a field must be one thing

    def write(  # type: ignore[override]
        self, pairs: Sequence[Pair], reader: Reader, foreseen: Sequence[Trace]
    ) -> tuple[float, float, Sequence[Trace]]:
        """Greedy ads for all pairs: their mean validity, the share grounded, and how each was written."""
        engine = GreedyEngine(reader, self._vocabulary, foreseen)
        self._engine = cast(Engine, engine)
        validity, grounded = [], []
        for pair in pairs:
            creative = super().write(pair.product, pair.spec, voice=pair.voice, candidates=1, sampling=GREEDY)[0]
            validity.append(creative.validity)
            grounded.append(not {finding.kind for finding in creative.findings} & GROUNDING)
        return statistics.mean(validity), statistics.mean(map(float, grounded)), engine.traces


def certificate(bundle: Bundle, rows: Sequence[Row], thresholds: Mapping[str, float] = THRESHOLDS) -> dict[str, Any]:
    """certificate.json of form 1. Passed only where every expected row is there and no threshold is breached."""
    found = breaches(rows, bundle.manifest.scheme, thresholds)
    return {
        "form": FORM,
        "bundle": bundle.digest,
        "scheme": bundle.manifest.scheme,
        "passed": not found,
        "breaches": found,
        "thresholds": dict(thresholds),
        "rows": [as_json(row) for row in rows],
    }


def breaches(rows: Sequence[Row], scheme: str, thresholds: Mapping[str, float] = THRESHOLDS) -> list[str]:
    """What keeps these rows from passing, one sentence each. Anything missing or not finite is a breach too."""
    measured = {(row.runtime, row.kv_cache): row for row in rows}
    names = [TORCH, ONNX, fused_name(scheme)]
    expected = [(name, kv_cache) for name in names for kv_cache in (True, False)]
    found = [f"{_named(*key)} was not measured." for key in expected if key not in measured]
    for row in rows:
        values = asdict(row)
        bad = [name for name in NUMBERS if not math.isfinite(values[name])]
        found += [f"{_named(row.runtime, row.kv_cache)}: {name} is {values[name]}." for name in bad]
    if found:
        return found
    torch = measured[TORCH, True]
    for key in expected[1:]:
        found += _row_breaches(measured[key], torch, thresholds)
    for name in names:
        found += _cache_breaches(measured[name, True], measured[name, False], thresholds)
    return found


def _row_breaches(row: Row, torch: Row, thresholds: Mapping[str, float]) -> list[str]:
    lead = "fp32_" if row.runtime in (TORCH, ONNX, fused_name("fp32")) else ""
    agreement, change = thresholds[f"{lead}greedy_agreement_min"], thresholds[f"{lead}perplexity_change_max"]
    name, found = _named(row.runtime, row.kv_cache), []
    if row.greedy_agreement < agreement:
        found.append(f"{name}: greedy agreement is {row.greedy_agreement:.4f}, and at least {agreement} is needed.")
    # A network in full precision may not differ at all; a quantized one may by chance be better.
    if (abs(row.perplexity_change) if lead else row.perplexity_change) > change:
        found.append(
            f"{name}: perplexity changes by {row.perplexity_change:+.2%}, and at most {change:.2%} is allowed."
        )
    for score in ("validity", "grounded"):
        drop, drop_max = getattr(torch, score) - getattr(row, score), thresholds[f"{score}_drop_max"]
        if drop > drop_max:
            found.append(f"{name}: {score} falls by {drop:.3f}, and at most {drop_max} is allowed.")
    return found


def _cache_breaches(with_cache: Row, without: Row, thresholds: Mapping[str, float]) -> list[str]:
    change = abs(without.perplexity / with_cache.perplexity - 1)
    allowed = thresholds["kv_cache_perplexity_change_max"]
    if change <= allowed:
        return []
    return [
        f"{with_cache.runtime}: the KV cache changes perplexity by {change:.2%}, and at most {allowed:.2%} is allowed."
    ]


def _gaps(forced: Sequence[Trace], reference: Sequence[Trace]) -> list[float]:
    """For each place where the choices differ: log probability of torch's choice less that of the other, by torch."""
    gaps = []
    for ours, theirs in zip(forced, reference, strict=True):
        for choice, wanted, logits in zip(ours.choices, theirs.choices, theirs.logits, strict=True):
            if choice != wanted:
                pair = log_probabilities(np.stack([logits, logits]), np.array([wanted, max(choice, 0)]))
                gaps.append(float(pair[0] - pair[1]))
    return gaps


def _common_share(traces: Sequence[Trace], reference: Sequence[Trace]) -> float:
    alike = 0
    for ours, theirs in zip(traces, reference, strict=True):
        pairs = enumerate(zip(ours.choices, theirs.choices, strict=False))
        shorter = min(len(ours.choices), len(theirs.choices))
        alike += next((place for place, (one, other) in pairs if one != other), shorter)
    return alike / sum(len(trace.choices) for trace in reference)


def fused_name(scheme: str) -> str:
    """How a certificate calls the graph of fused.py under `scheme`."""
    return f"fused {scheme}"


def _named(runtime: str, kv_cache: bool) -> str:  # noqa: FBT001 - the two halves of a row's name
    return f"{runtime} {'with' if kv_cache else 'without'} KV cache"


def as_json(row: Row) -> dict[str, Any]:
    """JSON form, six decimals. JSON knows no NaN: what is no number is null, and was a breach."""
    return {
        name: (round(value, 6) if math.isfinite(value) else None) if isinstance(value, float) else value
        for name, value in asdict(row).items()
    }
