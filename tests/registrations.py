"""
What the tests of the registry hand in: tiny bundles of different digests, scores and certificates of the agreed form.

MLflow's tables take seconds to make, so they are made once a session and copied.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from model.bundle import MANIFEST, Bundle, open_bundle, seal
from model.ledger import LEDGER, Ledger
from model.registration import register
from model.registry import DATABASE, Registry, open_registry
from model.submission import read_submission

ROWS = 150
"""Enough for the gate to call equal scores no worse."""
PAIRS = Path(__file__).resolve().parents[1] / "model/data/pairs.jsonl"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@cache
def _tables() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="adloom-tables-"))
    open_registry(folder, uri=f"sqlite:///{folder / DATABASE}")
    return folder / DATABASE


def fresh_registry(folder: Path) -> Registry:
    """A registry without a model in it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_tables(), folder / DATABASE)
    return open_registry(folder, uri=f"sqlite:///{folder / DATABASE}")


def variant(tiny_bundle: Path, folder: Path, name: str) -> Bundle:
    """The tiny bundle under another name, and so with another digest."""
    shutil.copytree(tiny_bundle, folder)
    (folder / MANIFEST).unlink()
    manifest = open_bundle(tiny_bundle).manifest
    return seal(
        folder,
        name=name,
        base="tiny",
        scheme=manifest.scheme,
        prompt_digest=manifest.prompt_digest,
        measured={},
        built_with={"torch": "0"},
    )


def scores_of(digest: str, *, chrf: float = 0.3) -> dict:
    """Perfect on everything but chrF, which rises and falls around `chrf` from row to row."""
    fixed = {"validity": 1.0, "valid": 1.0, "grounded": 1.0, "structural": 1.0, "relevance": 0.7, "rouge_l": 0.2}
    rows = [
        {"id": f"row-{place}", "channel": "x", "category": "Kitchen", **fixed, "chrf": chrf + 0.001 * (place % 5)}
        for place in range(ROWS)
    ]
    means = {name: sum(row[name] for row in rows) / ROWS for name in (*fixed, "chrf")}
    scores = {name: {"mean": mean, "low": mean - 0.01, "high": mean} for name, mean in means.items()}
    return {
        "form": 1,
        "bundle": digest,
        "base": "tiny",
        "dataset": {"pairs_sha256": "ab" * 32, "rows": ROWS},
        "settings": {"candidates": 2, "seed": 0, "rows": ROWS},
        "validity_version": "1",
        "scores": scores,
        "by_channel": {"x": scores, "pinterest": {"validity": {"mean": 0.911, "low": 0.9, "high": 0.92}}},
        "by_category": {},
        "per_row": rows,
        "corpus": {"distinct_2": 0.8, "perplexity": None},
        "baselines": {"copy": {"scores": {"chrf": {"mean": 0.111, "low": 0.1, "high": 0.12}}, "corpus": {}}},
    }


def certificate_of(digest: str, *, passed: bool = True) -> dict:
    """One row, with or without a breach."""
    row = {
        "runtime": "fused int8-weight",
        "kv_cache": True,
        "greedy_agreement": 0.987,
        "ms_per_token": 4.5,
        "bytes": 99,
    }
    return {
        "form": 1,
        "bundle": digest,
        "scheme": "int8-weight",
        "passed": passed,
        "breaches": [] if passed else ["Grounding fell by 0.1."],
        "thresholds": {},
        "rows": [row],
    }


def hand_in(bundle: Bundle, folder: Path, *, chrf: float = 0.3, passed: bool = True) -> tuple[Path, Path]:
    """Write scores.json and certificate.json for a bundle; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    scores, certificate = folder / "scores.json", folder / "certificate.json"
    scores.write_text(json.dumps(scores_of(bundle.digest, chrf=chrf)))
    certificate.write_text(json.dumps(certificate_of(bundle.digest, passed=passed)))
    return scores, certificate


def training_run(folder: Path, pairs: Path = PAIRS) -> Path:
    """A run folder as `adloom train` leaves it."""
    from model.bundle import file_sha256

    folder.mkdir(parents=True, exist_ok=True)
    settings = {"method": "lora", "rank": 4, "pairs": str(pairs), "pairs_sha256": file_sha256(pairs), "seed": 17}
    (folder / "config.json").write_text(json.dumps(settings))
    lines = [{"step": 1, "loss": 3.5}, {"step": 2, "loss": 2.25}, {"step": 2, "epoch": 1.0, "validation_loss": 2.125}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 3, "lo')  # a run that still writes
    return folder


def put_in(registry: Registry, tiny_bundle: Path, folder: Path, name: str, **scores) -> int:
    """Register a variant of the tiny bundle; returns the number of its version."""
    bundle = variant(tiny_bundle, folder / name, name)
    files = hand_in(bundle, folder / f"{name}-reports", **scores)
    submission = read_submission(folder / name, scores=files[0], certificate=files[1])
    return register(registry, submission, lambda line: None, git_commit=COMMIT)[0].number


def ledger_of(registry: Registry) -> Ledger:
    """The ledger beside a registry."""
    return Ledger(registry.folder / LEDGER)
