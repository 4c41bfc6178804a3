"""
Fine-tune the ad writer on training pairs, or on preferences between two ads.

Example: adloom train model/training/configs/smollm2-135m-lora.yaml --out .adloom/runs/first
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "smollm2-135m-lora.yaml"
PROCESSES = "two processes: torchrun --nproc-per-node 2 -m model.training.train_command CONFIG --out FOLDER"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is first imported, which optuna and mlflow do early
    from model.prompt import tuned_prompt
    from model.training.finetune import ADAPTER, finetune
    from model.training.run_config import read_config
    from model.training.tracking import tracked

    config = read_config(arguments.config)
    with tracked(config, arguments.out, _say, wanted=not arguments.no_tracking) as evaluated:
        made = finetune(config, tuned_prompt(), arguments.out, _say, evaluated)
    option = "--adapter" if made.name == ADAPTER else "--base"
    print(f"{made.name} in {made}; try it with: adloom bundle build {option} {made}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom train",
        description=__doc__,
        epilog=PROCESSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, nargs="?", default=DEFAULT_CONFIG, help="YAML file (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path(".adloom/runs/default"), help="run folder; a killed run goes on (%(default)s)"
    )
    parser.add_argument("--no-tracking", action="store_true", help="do not log the run to MLflow")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":  # torchrun starts a module, not an entry point
    try:
        sys.exit(main())
    except (ValueError, RuntimeError, OSError) as problem:
        sys.exit(f"adloom: error: {problem}")
