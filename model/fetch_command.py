"""
Fetch the bundle that an image is built with from a tracking server, and refuse every other.

Knows no image: it runs in the build, from the source tree. Example:
python -m model.fetch_command 7 --digest 86ae... --to /opt/adloom/bundle --credentials /run/secrets/registry
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from model.registry import MODEL, RegistryError, open_registry, without_password

CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_REFUSED = re.compile(r"\b(?:401|403)\b")


def main(argv: Sequence[str] | None = None) -> int:
    """0: the bundle lies there; 1: it does not, and one line on stderr says why."""
    arguments = _parser().parse_args(argv)
    try:
        sys.stdout.write(fetch(arguments) + "\n")
    except (OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"adloom: error: {' '.join(str(error).split())}\n")
        return 1
    return 0


def fetch(arguments: argparse.Namespace) -> str:
    """What was fetched, in one line. Raises RegistryError, ValueError or OSError."""
    number, wanted = arguments.version, arguments.digest
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"the model version is {number!r}; give the number of a registered version")
    if not _DIGEST.fullmatch(wanted):
        raise ValueError(f"the bundle digest is {wanted!r}; give 64 hexadecimal digits, as the registry shows them")
    use_credentials(arguments.credentials)
    if arguments.ca_bundle and arguments.ca_bundle.is_file():
        os.environ["REQUESTS_CA_BUNDLE"] = str(arguments.ca_bundle)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")):
        raise ValueError("MLFLOW_TRACKING_URI names no tracking server; give its http or https address")
    try:
        return _fetch(int(number), wanted, arguments.to)
    except RegistryError as error:
        if not _REFUSED.search(str(error)):
            raise
        raise RegistryError(
            f"the registry at {without_password(uri)} refused the credentials of the build secret `registry`, "
            f"or wants some: {', '.join(CREDENTIALS[:2])}, or {CREDENTIALS[2]}"
        ) from error


def use_credentials(path: Path | None) -> None:
    """Put the NAME=VALUE lines of a file into the environment, for MLflow. A missing file means an open registry."""
    if path is None or not path.is_file():
        return
    for place, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, found, value = line.partition("=")
        if not found or name not in CREDENTIALS:  # the line itself may be a password
            raise ValueError(f"line {place} of the registry's credentials is none of {', '.join(CREDENTIALS)}=...")
        os.environ[name] = value


def _fetch(number: int, wanted: str, target: Path) -> str:
    registry = open_registry(target.parent / "registry")
    version = registry.version(number)
    if version.bundle != wanted:
        raise RegistryError(
            f"version {number} of {MODEL} holds bundle {version.bundle or '(unknown)'} and not {wanted}; "
            "say which of the two is meant"
        )
    registry.fetch(version, target)
    return f"version {number}, bundle {wanted}, every file verified"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.fetch_command",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("version", help="number of the registered version")
    parser.add_argument("--digest", required=True, help="digest that its bundle must have, 64 hexadecimal digits")
    parser.add_argument("--to", type=Path, required=True, help="new folder")
    parser.add_argument("--credentials", type=Path, help="file of NAME=VALUE lines for MLflow; may be missing")
    parser.add_argument("--ca-bundle", type=Path, help="certificates to trust, PEM; may be missing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
