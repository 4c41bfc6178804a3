"""What the tests of infra/ need: Terraform, a mirror of its provider, and an environment that leads to no real AWS."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.infra.cloud import EmulatedAws
from tests.real_parts import free_port

# Where Terraform's documentation of provider installation puts a local mirror.
USUAL_MIRRORS = (
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
    "/usr/share/terraform/providers",
)
SERVER = Path(__file__).parent / "emulator/server.py"


@pytest.fixture(scope="session")
def mirror(caller_environment):
    """Folder with the AWS provider, above the registry's host name."""
    if shutil.which("terraform") is None:
        pytest.skip("needs Terraform: see https://developer.hashicorp.com/terraform/install")
    named = caller_environment.get("ADLOOM_TERRAFORM_MIRROR")
    for each in [named] if named else USUAL_MIRRORS:
        folder = Path(each).expanduser()
        if any(folder.glob("*/hashicorp/aws/*5.*")):
            return folder
    pytest.skip("needs the AWS provider: set ADLOOM_TERRAFORM_MIRROR to a folder of `terraform providers mirror`")


@pytest.fixture
def terraform_environment(mirror, tmp_path):
    """For `terraform` without any account: its working files go below tmp_path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_", "ADLOOM_"))}
    return {**kept, "TF_DATA_DIR": str(tmp_path / "terraform"), "CHECKPOINT_DISABLE": "1"}


@pytest.fixture
def start_aws(tmp_path):
    """Starts an empty emulated account with the number given; stopped at the end of the test."""
    pytest.importorskip("moto.server", reason="needs moto's server: pip install 'moto[server]'")
    started = []

    def start(account):
        port = free_port()
        settings = ["env", f"MOTO_ACCOUNT_ID={account}", "MOTO_IAM_LOAD_MANAGED_POLICIES=true"]
        aws = EmulatedAws([*settings, sys.executable, str(SERVER), str(port)], port, tmp_path / "aws.log")
        aws.start()
        started.append(aws)
        return aws

    yield start
    for each in started:
        each.stop()
