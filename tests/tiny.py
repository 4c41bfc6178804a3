"""
A two-layer, randomly initialised decoder with a byte tokenizer, made through the real export and quantization.

Under 1 MB and built in seconds: it writes nonsense, through every real part of the chain.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from model.bundle import Bundle, seal
from model.prompt import few_shot_prompt
from model.training.fused import FusedScheme

LAYERS = 2
SEED = 7


def tiny_tokenizer() -> Tokenizer:
    """One token a byte, and an end token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|end|>": 0} | {char: place + 1 for place, char in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


def save_tiny_model(folder: Path) -> None:
    """A Hugging Face folder: config, safetensors and tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = tiny_tokenizer()
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        initializer_range=0.2,  # wide enough that the tokens' logits differ and sampling has something to choose
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)


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
