"""
Build a bundle from base weights, or verify one.

Example: adloom bundle build --scheme int8-weight
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from model.bundle import Bundle, open_bundle
from model.prompt import Prompt, few_shot_prompt, prompt_from_dict
from model.training.fused import FUSED_SCHEMES, FusedScheme

DEFAULT_SCHEME: FusedScheme = "int8-weight"
"""Why: ADR 0008."""
SHIPPED_ADAPTER = Path(__file__).parents[1] / "data" / "adapter"
"""Made by `make train`, kept in Git so that a clone writes with the tuned model at once."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "verify":
        _describe(open_bundle(arguments.folder))
        return 0
    # Seconds to import, so not before it is needed: `verify` and --help stay quick.
    from model.training.build import build
    from model.training.weights import Weights, embedded_weights

    # The shipped adapter fits the embedded weights alone: another base is untuned unless an adapter is named.
    folder = arguments.adapter or (None if arguments.base or arguments.untuned else SHIPPED_ADAPTER)
    adapter = str(folder) if folder else ""
    weights = Weights(arguments.base, adapter=adapter) if arguments.base else embedded_weights(adapter)
    # A base that we tuned ourselves holds its prompt as an adapter does.
    tuned = folder or (Path(arguments.base) if _is_tuned(arguments.base) and not arguments.untuned else None)
    prompt = prompt_of(tuned) if tuned else few_shot_prompt()
    scheme = cast(FusedScheme, arguments.scheme)
    _describe(build(arguments.root, weights, prompt, scheme, _announce, force=arguments.force))
    return 0


def _is_tuned(base: str) -> bool:
    return bool(base) and (Path(base) / "prompt.json").is_file()


def prompt_of(folder: Path) -> Prompt:
    """The prompt that an adapter or model was tuned on. Raises ValueError where the folder holds none."""
    path = folder / "prompt.json"
    try:
        return prompt_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is no adapter of ours: {path.name} cannot be read ({error})") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom bundle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser(
        "build", help="export, fuse, quantize and pack; finds an earlier build of the same inputs"
    )
    build.add_argument(
        "--base",
        default="",
        help="Hugging Face id or local folder, a tuned one with its prompt (default: the embedded weights)",
    )
    tuning = build.add_mutually_exclusive_group()
    tuning.add_argument("--adapter", type=Path, help="LoRA folder from `adloom train` (default: the shipped one)")
    tuning.add_argument("--untuned", action="store_true", help="no adapter: the base model, prompted with examples")
    build.add_argument(
        "--scheme", choices=FUSED_SCHEMES, default=DEFAULT_SCHEME, help="quantization (default: %(default)s)"
    )
    build.add_argument("--root", type=Path, default=Path(".adloom"), help="holds all bundles (default: %(default)s)")
    build.add_argument("--force", action="store_true", help="build again even if this bundle exists")
    verify = actions.add_parser("verify", help="check every file of a bundle against its digest")
    verify.add_argument("folder", type=Path, nargs="?", default=Path(".adloom/bundle"), help="default: %(default)s")
    return parser


@contextmanager
def _announce(name: str) -> Iterator[None]:
    start = time.perf_counter()
    print(f"  {name} ...", end=" ", file=sys.stderr, flush=True)
    yield
    print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _short(base: str) -> str:
    """A base's name without its digests."""
    return " + ".join(part.partition("@")[0] for part in base.split(" + "))


def _describe(bundle: Bundle) -> None:
    manifest = bundle.manifest
    print(f"bundle {bundle.digest[:12]}  {manifest.name}  {manifest.scheme}  {_short(manifest.base)}")
    for name, value in sorted(manifest.measured.items()):
        print(f"  {name}: {value:,.3f}" if value < 10 else f"  {name}: {value:,.0f}")
    print(f"  at {bundle.folder}")
