"""
The bundles behind two baselines: the untuned base with the tuned prompt's form, and with worked examples.

Both carry the same graph and differ in prompt.json alone; neither is ever what `.adloom/bundle` points at.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import cast

from model.bundle import MANIFEST, Bundle, open_bundle, seal
from model.prompt import Prompt, few_shot_prompt, tuned_prompt
from model.training.build import Step, build
from model.training.fused import FusedScheme
from model.training.weights import embedded_weights

PROMPTS = {"untuned": tuned_prompt, "few_shot": few_shot_prompt}
"""Baseline -> the prompt that its bundle carries."""


def untuned_bundle(root: Path, given: Path | None, scheme: str, step: Step) -> Bundle:
    """The bundle in `given`, or the embedded base built below `root` under `scheme`, which both then share."""
    if given is not None:
        return open_bundle(given)
    return build(root, embedded_weights(), few_shot_prompt(), cast(FusedScheme, scheme), step, point=False)


def with_prompt(bundle: Bundle, prompt: Prompt, folder: Path) -> Bundle:
    """`bundle` under another prompt, below `folder`; its large files are linked, not copied, where the disk allows."""
    if bundle.manifest.prompt_digest == prompt.digest():
        return bundle
    target = folder / f"{bundle.digest[:16]}-{prompt.digest()[:16]}"
    if not (target / MANIFEST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="prompting-", dir=folder) as scratch:
            packed = Path(scratch) / "bundle"
            packed.mkdir()
            for name in bundle.manifest.files:
                _link(bundle.folder / name, packed / name)
            (packed / "prompt.json").unlink()  # first: writing through a link would change the other bundle
            (packed / "prompt.json").write_text(json.dumps(prompt.as_dict(), indent=2) + "\n", encoding="utf-8")
            manifest = bundle.manifest
            seal(
                packed,
                name=manifest.name,
                base=manifest.base,
                scheme=manifest.scheme,
                prompt_digest=prompt.digest(),
                measured={},  # the other prompt's figures are not this one's
                built_with=manifest.built_with,
            )
            packed.rename(target)
    return open_bundle(target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk
        shutil.copy(source, target)
