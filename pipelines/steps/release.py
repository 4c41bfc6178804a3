"""
Say which model the next image shall hold, the champion: one commit to one file of the GitOps repository.

The workflow release.yml builds the image from it and deploys to dev. The same version again changes nothing.

Example: adloom release --version 7
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from model.registry import CHAMPION, Version, open_registry
from pipelines.deploy_command import settle
from pipelines.deployment import want_model
from pipelines.pull_requests import token_from
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("release", __doc__)
    options.add_argument("--version", type=int, help="of the registered model (default: the champion)")
    options.add_argument("--why", default="", help="for the commit's message")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    if not settings.gitops_url:
        raise ValueError("set ADLOOM_GITOPS_URL to the Git repository that the cluster follows")
    version, token = _version(settings, arguments.version), token_from(os.environ)
    why = arguments.why or f"Version {version.number} is champion."
    why = f"{why}\nDataset: {version.tags.get('dataset', '') or 'unknown'}"
    landed = want_model(settings.gitops_url, version.number, version.bundle, why, token)
    title = f"Want model {version.number} in the next image"
    pull = settle(settings.gitops_url, token, landed, title, why)
    outcome = "waiting" if landed.branch else ("released" if landed.is_new else "unchanged")
    say(f"the next image holds model {version.number}: {outcome}{f' in {pull}' if pull else ''}")
    give(
        {
            "outcome": outcome,
            "version": version.number,
            "bundle": version.bundle,
            "commit": landed.commit,
            "branch": landed.branch,
            "pull_request": pull,
        }
    )
    return 0


def _version(settings: PipelineSettings, number: int | None) -> Version:
    """Raises ValueError where there is no champion, RegistryError where there is no such version."""
    registry = open_registry(settings.registry)
    found = registry.aliased(CHAMPION) if number is None else registry.version(number)
    if found is None:
        raise ValueError("there is no champion to release; promote a version with `adloom promote`")
    return found
