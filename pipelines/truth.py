"""
Say what Git, registry, ledger and service hold an environment to run, and whether they agree.

Example: adloom truth --env prod --service https://ads.example.com
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from model.ledger import LEDGER, Ledger, LedgerError, champions, registry_folder, unfinished_reversal
from model.registry import CHAMPION, RegistryError, is_empty, open_registry
from model.truth import Side, comparable, disagreements, git_side, served_side
from pipelines.deployment import ENVIRONMENTS, model_file
from pipelines.git_commit import DeployError, cloned
from pipelines.pull_requests import token_from
from pipelines.step import parser

EXIT_DISAGREE = 1
SERVICE_SECONDS = 10.0
ANSWER_BYTES_MAX = 64 * 1024


def main(argv: Sequence[str] | None = None) -> int:
    """0: every two known sides agree; 1: they do not, or fewer than two are known."""
    arguments = _parser().parse_args(argv)
    repository = arguments.repository or os.environ.get("ADLOOM_GITOPS_URL", "")
    service = arguments.service or os.environ.get("ADLOOM_SERVICE_URL", "")
    sides = all_sides(repository, arguments.env, arguments.registry, service, token_from(os.environ))
    notes = _notes(arguments.env, arguments.registry)
    return tell(sides, notes, as_json=arguments.json)


def all_sides(repository: str, environment: str, registry: Path, service: str, token: str = "") -> list[Side]:
    """What each place says; one that cannot be read is unknown, with the reason."""
    return [
        git_says(repository, environment, token),
        registry_says(registry),
        ledger_says(registry),
        service_says(service),
    ]


def tell(sides: Sequence[Side], notes: Sequence[str], *, as_json: bool = False) -> int:
    """Print it; returns the exit status."""
    found, enough = disagreements(sides), comparable(sides)
    if as_json:
        rows = [asdict(one) for one in sides]
        table = {"agree": enough and not found, "sides": rows, "disagreements": list(found), "notes": list(notes)}
        sys.stdout.write(json.dumps(table, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{one.name:<9} {one}\n" for one in sides))
    for line in found:
        sys.stderr.write(f"adloom: they disagree: {line}\n")
    for line in notes:
        sys.stderr.write(f"adloom: {line}\n")
    if not enough:
        sys.stderr.write("adloom: fewer than two places say anything, so nothing was compared\n")
    return EXIT_DISAGREE if found or not enough else 0


def git_says(repository: str, environment: str, token: str = "") -> Side:
    """What model.env tells the environment."""
    if not repository:
        return Side("Git", trouble="no repository was named")
    try:
        with cloned(repository, token) as clone:
            return git_side(clone.read(model_file(environment)))
    except DeployError as error:
        return Side("Git", trouble=str(error))


def registry_says(folder: Path) -> Side:
    """Where the alias champion points."""
    try:
        if is_empty(folder):
            return Side("registry", trouble="there is none yet")
        champion = open_registry(folder).aliased(CHAMPION)
    except RegistryError as error:
        return Side("registry", trouble=str(error))
    return Side("registry", champion.number) if champion else Side("registry", trouble="there is no champion")


def ledger_says(folder: Path) -> Side:
    """The champion by the lines of the ledger."""
    try:
        stack = champions(Ledger(folder / LEDGER).entries())
    except LedgerError as error:
        return Side("ledger", trouble=str(error))
    return Side("ledger", stack[-1]) if stack else Side("ledger", trouble="nothing was ever promoted")


def service_says(url: str) -> Side:
    """What /version answers."""
    if not url:
        return Side("service", trouble="no service was named")
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("the service's address must begin with http:// or https://")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/version", timeout=SERVICE_SECONDS) as answer:  # noqa: S310 - the scheme was looked at
            told = json.loads(answer.read(ANSWER_BYTES_MAX))
            return served_side(str(told.get("registry_version", "")), str(told.get("image_digest", "")))
    except urllib.error.HTTPError as error:
        with error:
            return Side("service", trouble=f"it answers {error.code}")
    except (OSError, ValueError, AttributeError) as error:
        return Side("service", trouble=f"it does not answer as it should ({type(error).__name__})")


def _notes(environment: str, registry: Path) -> list[str]:
    """What explains a disagreement."""
    try:
        begun = unfinished_reversal(Ledger(registry / LEDGER).entries(), environment)
    except LedgerError:
        return []
    if begun is None:
        return []
    again = f"`adloom rollback --env {environment}` goes on with it"
    return [f"a rollback of {environment} to model {begun.target} is unfinished: {again}"]


def _parser() -> argparse.ArgumentParser:
    options = parser("truth", __doc__)
    add = options.add_argument
    add("--env", choices=ENVIRONMENTS, required=True, help="whose model.env to read")
    add("--repository", default="", metavar="URL", help="default: ADLOOM_GITOPS_URL")
    add("--service", default="", metavar="URL", help="default: ADLOOM_SERVICE_URL")
    add("--registry", type=Path, default=registry_folder(), help="its folder (default: %(default)s)")
    add("--json", action="store_true", help="for programs")
    return options
