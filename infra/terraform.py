"""
The Terraform program: found, given its provider, run so that an interrupt lets it finish what it has begun.

Knows no deployment and no environment; see deploy.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

MIRROR = "ADLOOM_TERRAFORM_MIRROR"
"""Folder in the layout of `terraform providers mirror`; unset: the public registry."""


class DeployError(Exception):
    """What was asked cannot be done; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Terraform:
    """The program, and the mirror that its provider comes from; empty: the public registry."""

    program: str
    mirror: str
    data: str = ""

    @classmethod
    def find(cls) -> Terraform:
        """Raises DeployError where there is no Terraform, or the mirror holds no provider."""
        program = shutil.which("terraform")
        if program is None:
            raise DeployError(
                "Terraform is not on the PATH: install 1.10 or later, "
                "see https://developer.hashicorp.com/terraform/install"
            )
        mirror = os.environ.get(MIRROR, "")
        if mirror and not any(Path(mirror).glob("*/hashicorp/aws")):
            raise DeployError(
                f"{MIRROR} names a folder without <host>/hashicorp/aws: "
                "make it with `terraform providers mirror FOLDER`, "
                "or unset the variable to use the public registry"
            )
        return cls(program, str(Path(mirror).resolve()) if mirror else "")

    def init(self, folder: Path, arguments: Sequence[str]) -> None:
        """Quiet unless it fails. Raises DeployError."""
        command = [self.program, "init", "-input=false", "-no-color", "-reconfigure", *arguments]
        if self.mirror:
            command.append(f"-plugin-dir={self.mirror}")
        done = subprocess.run(command, cwd=folder, env=self.environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DeployError(f"terraform init of {folder.name} failed:\n{done.stderr.strip()}")

    def output(self, folder: Path) -> str:
        """Every output, as JSON. Raises DeployError."""
        command = [self.program, "output", "-json", "-no-color"]
        done = subprocess.run(command, cwd=folder, env=self.environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DeployError(f"terraform output of {folder.name} failed:\n{done.stderr.strip()}")
        return done.stdout

    def run(self, folder: Path, arguments: Sequence[str], *, accepted: Sequence[int] = (0,)) -> int:
        """
        The exit status; what it says goes where ours goes.

        It has a session of its own and hears of Ctrl-C through us, once: a second one would make it drop what it is
        doing, with resources that its state does not know. Raises DeployError for a status not in `accepted`.
        """
        verb, *others = arguments
        command = [self.program, verb, "-input=false", "-no-color", *others]
        process = subprocess.Popen(
            command, cwd=folder, env=self.environment(), stdin=subprocess.DEVNULL, start_new_session=True
        )
        interrupted = False

        def pass_on(_number: int, _frame: FrameType | None) -> None:
            nonlocal interrupted
            if not interrupted:
                interrupted = True
                process.send_signal(signal.SIGINT)

        handlers = {each: signal.signal(each, pass_on) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            status = process.wait()
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)
        if interrupted:
            raise DeployError(
                f"interrupted in {folder.name}: what was built is in the state, and the same command goes on; "
                "should it find something there already, infra/README.md says what to do"
            )
        if status not in accepted:
            raise DeployError(f"terraform {verb} of {folder.name} failed: what it said stands above")
        return status

    def with_data(self, folder: str) -> Terraform:
        """The same, with its working files in `folder` instead of beside the deployment."""
        return replace(self, data=folder)

    def environment(self) -> dict[str, str]:
        """Ours; where a mirror is named, a CLI configuration file that may name another one gives way."""
        kept = {name: value for name, value in os.environ.items() if not (self.mirror and name == "TF_CLI_CONFIG_FILE")}
        return {**kept, "TF_DATA_DIR": self.data} if self.data else kept
