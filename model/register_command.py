"""
Put a bundle into the registry as a new version, with its scores, certificate and training run.

Example: adloom register --run .adloom/runs/default
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.ledger import registry_folder
from model.publication import publish_after
from model.registration import git_commit, register
from model.registry import MODEL, open_registry
from model.submission import read_submission


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    submission = read_submission(
        arguments.bundle,
        scores=arguments.scores,
        certificate=arguments.certificate,
        run=arguments.run,
        parameters=arguments.parameters,
    )
    _say("open the registry")
    registry = open_registry(arguments.registry)
    version, is_new = register(registry, submission, _say, git_commit=git_commit())
    told = "registered as" if is_new else "is already"
    sys.stdout.write(f"bundle {version.bundle[:12]} {told} version {version.number} of {MODEL}")
    sys.stdout.write(f", alias {', '.join(version.aliases)}\n" if version.aliases else "\n")
    publish_after(arguments.registry)
    return 0


def _say(line: str) -> None:
    print(f"  {line} ...", file=sys.stderr, flush=True)  # noqa: T201 - progress


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom register", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = "(default: where the bundle's reports lie)"
    parser.add_argument("--bundle", type=Path, default=Path(".adloom/bundle"), help="default: %(default)s")
    parser.add_argument("--scores", type=Path, help=f"scores.json of `adloom evaluate` {beside}")
    parser.add_argument("--certificate", type=Path, help=f"certificate.json of `adloom certify` {beside}")
    parser.add_argument("--run", type=Path, help="folder of `adloom train` that made the weights")
    parser.add_argument("--parameters", type=Path, help="JSON object of further parameters of that run")
    parser.add_argument("--registry", type=Path, default=registry_folder(), help="its folder (default: %(default)s)")
    return parser
