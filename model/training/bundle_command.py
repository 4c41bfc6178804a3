"""
Build a bundle from base weights, or verify one.

Example: adloom bundle build --scheme int8-weight
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from model.bundle import Bundle, open_bundle
from model.prompt import few_shot_prompt
from model.training.quantize import SCHEMES, Scheme

DEFAULT_SCHEME: Scheme = "int8-weight"
"""Why: ADR 0008."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "verify":
        _describe(open_bundle(arguments.folder))
        return 0
    # Seconds to import, so not before it is needed: `verify` and --help stay quick.
    from model.training.build import build
    from model.training.export import BaseWeights, embedded_weights

    weights = BaseWeights(arguments.base) if arguments.base else embedded_weights()
    scheme = cast(Scheme, arguments.scheme)
    _describe(build(arguments.root, weights, few_shot_prompt(), scheme, _announce, force=arguments.force))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom bundle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="export, quantize and pack; finds an earlier build of the same inputs")
    build.add_argument("--base", default="", help="Hugging Face id or local folder (default: the embedded weights)")
    build.add_argument("--scheme", choices=SCHEMES, default=DEFAULT_SCHEME, help="quantization (default: %(default)s)")
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


def _describe(bundle: Bundle) -> None:
    manifest = bundle.manifest
    print(f"bundle {bundle.digest[:12]}  {manifest.name}  {manifest.scheme}  {manifest.base.partition('@')[0]}")
    for name, value in sorted(manifest.measured.items()):
        print(f"  {name}: {value:,.3f}" if value < 10 else f"  {name}: {value:,.0f}")
    print(f"  at {bundle.folder}")
