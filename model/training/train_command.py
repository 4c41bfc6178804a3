"""
Fine-tune the ad writer on training pairs.

Example: adloom train model/training/configs/smollm2-135m-lora.yaml --out .adloom/runs/first
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "smollm2-135m-lora.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    from model.prompt import tuned_prompt
    from model.training.finetune import finetune, read_config

    adapter = finetune(read_config(arguments.config), tuned_prompt(), arguments.out, _say)
    print(f"adapter in {adapter}; try it with: adloom bundle build --adapter {adapter}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, nargs="?", default=DEFAULT_CONFIG, help="YAML file (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path(".adloom/runs/default"), help="run folder; a killed run goes on (%(default)s)"
    )
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
