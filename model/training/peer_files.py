"""
What each peer reads, made once from the weights that the bundle was made from and kept below one folder.

Knows no schedule; every maker writes into an empty folder and runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from model.bundle import Manifest, file_sha256
from model.training.peers import resolve
from model.training.weights import Weights, embedded_weights, load

DONE = "made.json"
"""Written last: a folder without it is an interrupted attempt."""


def weights_of(manifest: Manifest, hub: Path | None, adapter: Path) -> Weights:
    """
    The weights behind a bundle: the Hugging Face folder `hub`, or the embedded base with the shipped adapter.

    Raises ValueError where neither is what the bundle was made from; a `hub` is taken at its word.
    """
    if hub is not None:
        if not (hub / "config.json").is_file():
            raise ValueError(f"{hub} is no Hugging Face model folder: it holds no config.json")
        return Weights(str(hub))
    weights = embedded_weights(str(adapter))
    if manifest.base not in (weights.identity(), embedded_weights().identity()):
        raise ValueError(
            "the bundle was not made from the embedded weights: "
            "give the Hugging Face folder of its weights, adapter merged in, with --hub"
        )
    return weights if manifest.base == weights.identity() else embedded_weights()


def files_folder(root: Path, weights: Weights, maker: str, package: str) -> Path:
    """Where what `maker` makes of these weights lies, with this code and this version of its package."""
    name = maker.rpartition(":make_")[2]
    parts = [weights.identity(), maker, file_sha256(Path(__file__))]
    with suppress(PackageNotFoundError):
        parts += [package, version(package)]
    return root / f"{name}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"


def make(maker: Callable[[Path, Path], None], hub: Path, target: Path) -> None:
    """Run a maker on the Hugging Face folder `hub` unless `target` is there, whole."""
    if (target / DONE).is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob("making-*"):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=target.parent) as scratch:
        fresh = Path(scratch) / "files"
        fresh.mkdir()
        maker(hub, fresh)
        (fresh / DONE).write_text(json.dumps({"python": sys.version}) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def make_with(maker: str, hub: str, target: str) -> None:
    """`make`, with its arguments as a worker is told them."""
    make(resolve(maker), Path(hub), Path(target))


def save_hub(source: str, gguf_file: str, adapter: str, target: str) -> None:
    """Write the weights, adapter merged in, as the Hugging Face folder that all makers read."""

    def merged(_: Path, folder: Path) -> None:
        model, tokenizer = load(Weights(source, gguf_file, adapter))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    make(merged, Path(source), Path(target))


def make_hub(hub: Path, target: Path) -> None:
    """For transformers: the folder as it is, its large files linked."""
    for path in hub.iterdir():
        if path.is_file():
            (target / path.name).symlink_to(path.resolve())


def make_optimum(hub: Path, target: Path) -> None:
    """Optimum's export and its ORTQuantizer: avx512_vnni, dynamic, per channel."""
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    from model.training.export import export

    logging.disable(logging.INFO)  # the quantizer reports every node
    exported = target / "fp32"
    export(*load(Weights(str(hub))), exported)
    # MatMul alone, as our own int8-dynamic: the token table is looked up row by row and costs a step nothing.
    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True, operators_to_quantize=["MatMul"])
    ORTQuantizer.from_pretrained(exported, file_name="model.onnx").quantize(
        quantization_config=config, save_dir=target, file_suffix=""
    )
    for name in ("config.json", "generation_config.json"):
        shutil.copy(exported / name, target / name)
    shutil.rmtree(exported)


def make_ctranslate2(hub: Path, target: Path) -> None:
    """CTranslate2's own converter."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(hub)).convert(str(target), quantization="int8", force=True)


def make_genai(hub: Path, target: Path) -> None:
    """onnxruntime-genai's own model builder, which is a program: its modules import each other by bare names."""
    import subprocess

    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", "model", "-i", str(hub)]
    options = ["-o", str(target), "-p", "int4", "-e", "cpu", "--extra_options", "int4_accuracy_level=4"]
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run([*command, *options, "-c", cache], capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"its model builder failed: {lines[-1] if lines else f'status {done.returncode}'}")


def make_gguf_q8_0(hub: Path, target: Path) -> None:
    """All matrices in Q8_0."""
    _write_gguf(hub, target / "model.gguf", "Q8_0")


def make_gguf_q4_1(hub: Path, target: Path) -> None:
    """Matrices in Q4_1 and the token table, which is also the output projection, in Q8_0, as llama.cpp's own tool."""
    _write_gguf(hub, target / "model.gguf", "Q4_1")


PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Names in transformers -> in GGUF."""


def _write_gguf(hub: Path, path: Path, matrices: str) -> None:
    """
    Write a Llama model for llama.cpp, without a tokenizer: it is fed token ids.

    Raises ValueError for another architecture.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, quants
    from safetensors import safe_open

    config = json.loads((hub / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] != "llama":
        raise ValueError(f"only Llama models are written as GGUF here, and this is a {config['model_type']}")
    writer = GGUFWriter(str(path), "llama")
    _write_dimensions(writer, config)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    with safe_open(hub / "model.safetensors", framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            target = _gguf_name(name)
            tensor = file.get_tensor(name).astype(np.float32)
            part = target.split(".")[-2]
            if part in heads:
                tensor = _interleaved(tensor, heads[part])
            if tensor.ndim == 1:
                writer.add_tensor(target, tensor)
                continue
            kind = GGMLQuantizationType["Q8_0" if part in ("token_embd", "output") else matrices]
            writer.add_tensor(target, quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_dimensions(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_rope_dimension_count(width)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def _gguf_name(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
    if name in whole:
        return f"{whole[name]}.weight"
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{PARTS[part]}.weight"


def _interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from transformers' rotary order (halves) to GGUF's (pairs)."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
