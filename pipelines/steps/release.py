"""
Tell an environment to run the champion: one commit to one file of the GitOps repository.

The commit's message reads as a deployment log. The same version again changes nothing.

Example: adloom release --environment dev --version 7
"""

from __future__ import annotations

from collections.abc import Sequence

from model.registry import CHAMPION, Version, open_registry
from pipelines.deployment import ENVIRONMENTS, deploy
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("release", __doc__)
    options.add_argument("--environment", choices=ENVIRONMENTS, default="dev", help="default: %(default)s")
    options.add_argument("--version", type=int, help="of the registered model (default: the champion)")
    options.add_argument("--why", default="", help="for the commit's message")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    if not settings.gitops_url:
        raise ValueError("set ADLOOM_GITOPS_URL to the Git repository that the cluster follows")
    version = _version(settings, arguments.version)
    title = f"adloom-api: run model {version.number} in {arguments.environment}"
    why = arguments.why or f"Version {version.number} is champion."
    body = f"{why}\n\nBundle: {version.bundle}\nDataset: {version.tags.get('dataset', '') or 'unknown'}"
    values = {"MODEL_VERSION": str(version.number), "BUNDLE_DIGEST": version.bundle}
    there, is_new = deploy(settings.gitops_url, arguments.environment, values, title=title, body=body)
    say(title if is_new else f"{arguments.environment} runs model {version.number} already")
    give(
        {
            "outcome": "released" if is_new else "unchanged",
            "environment": arguments.environment,
            "version": version.number,
            "commit": there.commit,
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
