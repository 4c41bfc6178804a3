"""
Plan, apply or destroy the deployments of one environment in their order, and write what gitops/ needs of them.

Knows where state and provider are, and not one resource. Run by `make infra-plan ENV=dev`, or as
`python -m infra.deploy plan --env dev`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.cluster_access import bootstrap
from infra.state_bucket import delete_state_bucket, ensure_state_bucket, signed_in_account, state_exists
from infra.terraform import DeployError, Terraform

ORDER = ("network", "cluster", "platform")
"""Each reads the outputs of those before it: states are as long-lived as what they hold (ADR 0021)."""
ENVIRONMENTS = ("dev", "staging", "prod")
ROOT = Path(__file__).resolve().parent.parent
CHANGES = 2
"""What `terraform plan -detailed-exitcode` says where there is something to do."""
PLATFORM_NAMES = ("AWS_REGION", "CLUSTER_NAME", "PROMETHEUS_URL", "SECRETS_PREFIX", "VPC_ID")
"""What the third-party parts in gitops/platform ask of the cloud."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One environment: where its files are, and which account and bucket are its own."""

    root: Path
    environment: str
    account: str
    region: str
    project: str

    @property
    def bucket(self) -> str:
        """Of the state; globally unique by the account's number."""
        return f"{self.project}-{self.environment}-{self.account}-state"

    def folder(self, deployment: str) -> Path:
        """The root module."""
        return self.root / "infra/deployments" / deployment

    def variables(self, deployment: str, *, teardown: bool = False) -> list[str]:
        """Arguments that every plan of the deployment takes."""
        files = self.root / "infra/environments" / self.environment
        given = [f"-var-file={files}/{name}.tfvars" for name in ("shared", deployment)]
        given.append(f"-var=state_bucket={self.bucket}")
        # Only the platform holds what has to be kept from being deleted.
        return [*given, "-var=teardown=true"] if teardown and deployment == "platform" else given


def read_stack(root: Path, environment: str) -> Stack:
    """Raises DeployError where environments/<environment>/shared.tfvars does not say which account and region."""
    path = root / "infra/environments" / environment / "shared.tfvars"
    if environment not in ENVIRONMENTS or not path.is_file():
        raise DeployError(f"there is no environment {environment!r}: say ENV={'|'.join(ENVIRONMENTS)}")
    said = dict(re.findall(r'^(\w+)\s*=\s*"([^"]*)"', path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    missing = sorted({"account_id", "region"} - said.keys())
    if missing:
        raise DeployError(f"environments/{environment}/shared.tfvars does not set {' and '.join(missing)}")
    return Stack(root, environment, said["account_id"], said["region"], said.get("project", "adloom"))


def prepare(stack: Stack) -> Terraform:
    """Refuses credentials of another account before anything is asked of it. Raises DeployError."""
    terraform = Terraform.find()
    check_account(stack)
    ensure_state_bucket(stack.bucket, stack.region)
    return terraform


def check_account(stack: Stack) -> None:
    """Raises DeployError where the credentials are those of another account."""
    account = signed_in_account(stack.region)
    if account != stack.account:
        raise DeployError(
            f"you are signed in to account {account}, and {stack.environment} is {stack.account}: "
            f"sign in there, or correct environments/{stack.environment}/shared.tfvars"
        )


def init(stack: Stack, terraform: Terraform, deployment: str) -> None:
    """Backend and provider of one deployment. Raises DeployError."""
    backend = {"bucket": stack.bucket, "key": f"{deployment}.tfstate", "region": stack.region}
    terraform.init(stack.folder(deployment), [f"-backend-config={name}={value}" for name, value in backend.items()])


def plan(stack: Stack, deployments: Sequence[str]) -> int:
    """0: nothing to do; 2: there are changes. What stands on a deployment that is not there yet is left out."""
    terraform = prepare(stack)
    code = 0
    for deployment in deployments:
        absent = [
            each for each in ORDER[: ORDER.index(deployment)] if not state_exists(stack.bucket, each, stack.region)
        ]
        if absent:
            print(f"==> {deployment}: can be planned once {absent[0]} has been applied")
            continue
        print(f"==> {deployment}: plan")
        init(stack, terraform, deployment)
        arguments = ["plan", "-detailed-exitcode", "-lock-timeout=60s", *stack.variables(deployment)]
        code = max(code, terraform.run(stack.folder(deployment), arguments, accepted=(0, CHANGES)))
    return code


def apply(stack: Stack, deployments: Sequence[str], *, unasked: bool, teardown: bool = False) -> int:
    """Plans, asks unless told not to, and does what the plan said and nothing else. Raises DeployError."""
    terraform = prepare(stack)
    for deployment in deployments:
        print(f"==> {deployment}: apply")
        init(stack, terraform, deployment)
        _plan_and_do(stack, terraform, deployment, [], unasked=unasked, teardown=teardown)
    return 0


def destroy(stack: Stack, deployments: Sequence[str], *, confirmed: str, unasked: bool, with_state: bool) -> int:
    """
    Removes deployments, the last first, after lifting what protects the platform from being deleted.

    prod wants its name as `confirmed`. Raises DeployError.
    """
    name = f"{stack.project}-{stack.environment}"
    if stack.environment == "prod" and confirmed != name:
        raise DeployError(f"this deletes prod with its database and its buckets: if you mean it, say CONFIRM={name}")
    terraform = prepare(stack)
    for deployment in reversed(deployments):
        if not state_exists(stack.bucket, deployment, stack.region):
            print(f"==> {deployment}: nothing to destroy")
            continue
        init(stack, terraform, deployment)
        if deployment == "platform":
            print("==> platform: lift its protections")
            _plan_and_do(stack, terraform, deployment, [], unasked=unasked, teardown=True)
        print(f"==> {deployment}: destroy")
        _plan_and_do(stack, terraform, deployment, ["-destroy"], unasked=unasked, teardown=True)
    if with_state:
        delete_state_bucket(stack.bucket, stack.region)
    return 0


def write_platform_env(stack: Stack, targets: Mapping[Path, Collection[str] | None]) -> int:
    """The platform's outputs as NAME=value lines, each file with the names that it wants. Raises DeployError."""
    terraform = prepare(stack)
    init(stack, terraform, "platform")
    outputs = json.loads(terraform.output(stack.folder("platform")))
    if "platform_env" not in outputs:
        raise DeployError(f"platform has not been applied to {stack.environment}: `make infra-apply` comes first")
    values = outputs["platform_env"]["value"]
    for target, wanted in targets.items():
        chosen = {name: value for name, value in values.items() if wanted is None or name in wanted}
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(platform_env(chosen), encoding="utf-8")
        print(f"==> wrote {target.name} of {stack.environment}")
    return 0


def env_files(environment: str) -> dict[Path, Collection[str] | None]:
    """Where gitops/ wants to know of the cloud: the service everything, the platform PLATFORM_NAMES."""
    service = ROOT / "gitops/apps/adloom-api/overlays" / environment / "platform.env"
    return {service: None, ROOT / "gitops/platform/overlays" / environment / "core/cloud.env": PLATFORM_NAMES}


def platform_env(values: dict[str, str]) -> str:
    """Sorted, with where it comes from in the first line. Raises DeployError for a value that would break a line."""
    broken = sorted(
        name for name, value in values.items() if "\n" in value or not re.fullmatch("[A-Z][A-Z0-9_]*", name)
    )
    if broken:
        raise DeployError(f"output platform_env cannot be written as lines: {', '.join(broken)}")
    lines = [f"{name}={value}\n" for name, value in sorted(values.items())]
    return "".join(["# Written by `make infra-env` from Terraform's outputs; a change by hand is lost.\n", *lines])


def _plan_and_do(
    stack: Stack, terraform: Terraform, deployment: str, mode: list[str], *, unasked: bool, teardown: bool
) -> None:
    folder = stack.folder(deployment)
    with tempfile.TemporaryDirectory(prefix="adloom-plan-") as scratch:  # a plan holds values that no log should
        saved = Path(scratch) / "plan"
        arguments = ["plan", "-detailed-exitcode", "-lock-timeout=60s", f"-out={saved}", *mode]
        arguments += stack.variables(deployment, teardown=teardown)
        if terraform.run(folder, arguments, accepted=(0, CHANGES)) != CHANGES:
            return
        if not unasked and input(f"Do this to {stack.environment}? Type yes: ").strip() != "yes":
            raise DeployError("nothing was changed")
        terraform.run(folder, ["apply", "-lock-timeout=60s", str(saved)])


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.deploy",
        description="Plan, apply or destroy the cloud of one environment.",
        epilog="example: python -m infra.deploy plan --env dev",
    )
    parser.add_argument("action", choices=["plan", "apply", "destroy", "env", "bootstrap"])
    parser.add_argument("--env", required=True, dest="environment", help="dev, staging or prod")
    parser.add_argument("--only", choices=ORDER, help="one deployment; without it all of them, in order")
    parser.add_argument("--yes", action="store_true", help="do not ask: for CI, where an approval came before")
    parser.add_argument("--confirm", default="", help="to destroy prod: its name, as in adloom-prod")
    parser.add_argument("--with-state", action="store_true", help="destroy: delete the state's bucket at the end too")
    parser.add_argument("--out", type=Path, help="env: where to write, instead of the environment's overlay")
    return parser.parse_args(given)


def _do(options: argparse.Namespace, stack: Stack) -> int:
    """The action that was asked for. Raises DeployError."""
    deployments = (options.only,) if options.only else ORDER
    if options.action == "plan":
        return plan(stack, deployments)
    if options.action == "apply":
        return apply(stack, deployments, unasked=options.yes)
    if options.action == "destroy":
        return destroy(
            stack, deployments, confirmed=options.confirm, unasked=options.yes, with_state=options.with_state
        )
    if options.action == "env":
        return write_platform_env(stack, {options.out: None} if options.out else env_files(stack.environment))
    check_account(stack)
    return bootstrap(stack.root, f"{stack.project}-{stack.environment}", stack.region, stack.environment)


def main(given: Sequence[str] | None = None) -> int:
    """0: done; 1: refused or failed, and said why; 2: `plan` found something to do."""
    options = _arguments(given)
    try:
        return _do(options, read_stack(ROOT, options.environment))
    except DeployError as error:
        print(f"infra: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # our lines and Terraform's in their order
    os.environ.setdefault("TF_IN_AUTOMATION", "1")
    raise SystemExit(main())
