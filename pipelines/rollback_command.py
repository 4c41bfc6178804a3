"""
Go back: with --env one environment in Git, registry and service, without it the alias champion alone.

Killed anywhere, the same command goes on where it stopped. Each further rollback goes further back, never forth.

Example: adloom rollback --env prod --why "odd ads since this morning" --service https://ads.example.com
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from model import rollback_command as alias_command
from model.ledger import registry_folder
from model.promote_command import EXIT_REFUSED, present_user, reason
from model.promotion import Asked, RefusedError
from model.publication import publish_after
from pipelines.deploy_command import repository_url, settle, version
from pipelines.deployment import ENVIRONMENTS
from pipelines.environment_rollback import Places, Progress, UnfinishedError, roll_back
from pipelines.pull_requests import token_from
from pipelines.step import parser, say
from pipelines.truth import all_sides, service_says, tell

WAIT_SECONDS = 900.0
"""A canary of the rollback and its analysis are over by then."""


def main(argv: Sequence[str] | None = None) -> int:
    """0: rolled back; 1: refused, or not finished yet. Other expected errors leave for app.cli to print."""
    given = list(sys.argv[1:] if argv is None else argv)
    options = _parser()
    if not _names_environment(given):
        # As before there were environments; its parser knows what is missing.
        return alias_command.main(given)
    arguments = options.parse_args(given)
    service = arguments.service or os.environ.get("ADLOOM_SERVICE_URL", "")
    if not service and not arguments.no_wait:
        options.error("name the service to wait for with --service URL, or give --no-wait")
    token = token_from(os.environ)
    places = Places(repository_url(arguments.repository), arguments.registry, token)
    asked = Asked("rollback", arguments.who or present_user(), arguments.why)
    progress = Progress(
        say,
        lambda landed, title, why: settle(places.repository, token, landed, title, why),
        None if arguments.no_wait else lambda: service_says(service),
        arguments.wait_seconds,
    )
    try:
        line = roll_back(places, arguments.env, asked, arguments.to, progress)
    except (RefusedError, UnfinishedError) as error:
        word = "refused" if isinstance(error, RefusedError) else "not finished"
        sys.stderr.write(f"adloom: {word}: {error}\n")
        publish_after(arguments.registry)
        return EXIT_REFUSED
    publish_after(arguments.registry)
    say(f"{arguments.env} is back at model {line.target}, after model {line.source}")
    tell(all_sides(places.repository, arguments.env, arguments.registry, service, token), [])
    return 0


def _names_environment(given: Sequence[str]) -> bool:
    return any(each in ("--env", "-h", "--help") or each.startswith("--env=") for each in given)


def _parser() -> argparse.ArgumentParser:
    options = parser("rollback", __doc__)
    add = options.add_argument
    add("--env", choices=ENVIRONMENTS, help="which environment goes back (default: the alias and the ledger alone)")
    add("--to", type=version, metavar="VERSION", help="any model that ran there (default: the deploy before)")
    add("--why", type=reason, required=True, help="kept in the ledger and in the commit")
    add("--who", type=reason, help="default: git's user.name, or the account")
    add("--service", default="", metavar="URL", help="to wait until it serves what it should (ADLOOM_SERVICE_URL)")
    add("--wait-seconds", type=float, default=WAIT_SECONDS, help="for merge and service (default: %(default)g)")
    add("--no-wait", action="store_true", help="do not look at the service")
    add("--repository", default="", metavar="URL", help="default: ADLOOM_GITOPS_URL")
    add("--registry", type=Path, default=registry_folder(), help="its folder (default: %(default)s)")
    return options
