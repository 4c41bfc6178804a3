"""
Make a two-layer, randomly initialised base with a byte tokenizer, to send through the real chain in seconds.

Under 1 MB; untrained it writes nonsense. Example: adloom tiny-base .adloom/tiny
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LAYERS = 2
SEED = 7


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the folder is written anew each time, and always the same."""
    parser = argparse.ArgumentParser(
        prog="adloom tiny-base", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="becomes a Hugging Face folder")
    folder = parser.parse_args(argv).folder
    save_tiny_model(folder)
    sys.stdout.write(f"a tiny base in {folder}\n")
    return 0


def tiny_tokenizer() -> Tokenizer:
    """One token a byte, and an end token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

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
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)  # noqa: S106 - a word of the vocabulary
