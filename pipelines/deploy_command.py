"""
Tell an environment which image and model to run: one commit to one file of the GitOps repository.

Where the branch is protected the commit waits in a pull request. Nothing else deploys: Argo CD follows Git.

Example: adloom deploy dev --image 0.1.0-9b36fd9@sha256:4f5c... --model 7 --why "fewer invented numbers"
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace

from pipelines.deployment import ENVIRONMENTS, Image, Order, deploy, image_from
from pipelines.git_commit import Landed
from pipelines.pull_requests import forge_of, open_pull_request, token_from
from pipelines.step import give, parser, say

WAITS_ON_A_BRANCH = (
    "{base} takes no push of ours and no token was given: the commit waits on the branch {branch}; open a pull request "
    "from it, or set GH_TOKEN and run this again"
)


def main(argv: Sequence[str] | None = None) -> int:
    """0: the environment is told so, or a pull request says so; expected errors leave for app.cli to print."""
    arguments = _parser().parse_args(argv)
    url, token = repository_url(arguments.repository), token_from(os.environ)
    order = Order(arguments.environment, arguments.image, arguments.model, arguments.why, arguments.force_order)
    if arguments.pull_request:
        order = replace(order, propose=True)
    landed = deploy(url, order, token)
    pull = settle(url, token, landed, f"Deploy {order.image.tag} to {order.environment}", order.why)
    said = "waiting" if landed.branch else ("deployed" if landed.is_new else "unchanged")
    say(f"{order.environment}: {said} {order.image}{f' in {pull}' if pull else ''} at commit {landed.commit[:10]}")
    give(
        {
            "outcome": said,
            "environment": order.environment,
            "image": str(order.image),
            "commit": landed.commit,
            "branch": landed.branch,
            "pull_request": pull,
        }
    )
    return 0


def settle(url: str, token: str, landed: Landed, title: str, body: str) -> str:
    """
    Where the commit waits on a branch, the address of a pull request for it; else "".

    Without a token it says what a person has to do. Raises PullRequestError; the branch is pushed by then.
    """
    if not landed.branch:
        return ""
    forge = forge_of(url, token)
    if forge is None:
        say(WAITS_ON_A_BRANCH.format(base=landed.base, branch=landed.branch))
        return ""
    return open_pull_request(forge, landed.branch, landed.base, title, body).url


def repository_url(given: str) -> str:
    """Raises ValueError where nobody says which repository."""
    url = given or os.environ.get("ADLOOM_GITOPS_URL", "")
    if not url:
        raise ValueError("set ADLOOM_GITOPS_URL to the Git repository that the cluster follows, or give --repository")
    return url


def pinned(text: str) -> Image:
    """An argument that names an image by its digest."""
    try:
        return image_from(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def version(text: str) -> int:
    """An argument that names a registered version."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no version: a registered model has a number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    options = parser("deploy", __doc__)
    add = options.add_argument
    add("environment", choices=ENVIRONMENTS)
    add("--image", type=pinned, required=True, metavar="TAG@DIGEST", help="as the build prints it")
    add("--model", type=version, metavar="VERSION", help="in the image (default: as in the environment before, or now)")
    add("--why", default="", help="for the commit's message")
    add("--force-order", default="", metavar="REASON", help="take what the environment before does not run")
    add("--pull-request", action="store_true", help="propose it, even where the branch takes a push")
    add("--repository", default="", metavar="URL", help="default: ADLOOM_GITOPS_URL")
    return options
