"""
A two-layer, randomly initialised decoder with a byte tokenizer, made through the real export and quantization.

Under 1 MB and built in seconds: it writes nonsense, through every real part of the chain.
"""

from __future__ import annotations

import json
from pathlib import Path

from model.bundle import Bundle, seal
from model.prompt import few_shot_prompt
from model.training.fused import FusedScheme
from model.training.tiny import save_tiny_model


def build_tiny_bundle(folder: Path, scheme: FusedScheme = "int8-weight") -> Bundle:
    """The real chain on the tiny model: export, fuse, seal."""
    import shutil

    from model.training.export import export
    from model.training.fused import write_fused
    from model.training.weights import Weights, load

    hub, exported, packed = folder / "hub", folder / "fp32", folder / "bundle"
    save_tiny_model(hub)
    model, tokenizer = load(Weights(str(hub)))
    export(model, tokenizer, exported)
    packed.mkdir()
    write_fused(model, packed / "model.onnx", scheme)
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        shutil.copy(exported / name, packed / name)
    prompt = few_shot_prompt(1)
    (packed / "prompt.json").write_text(json.dumps(prompt.as_dict()), encoding="utf-8")
    return seal(
        packed, name="tiny", base="tiny", scheme=scheme, prompt_digest=prompt.digest(), measured={}, built_with={}
    )
