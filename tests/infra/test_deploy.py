"""The command refuses what cannot go well, and says what to do instead."""

from __future__ import annotations

import shutil

import pytest

from infra.deploy import PLATFORM_NAMES, destroy, env_files, main, platform_env, read_stack
from infra.state_bucket import delete_state_bucket, ensure_state_bucket, state_exists
from infra.terraform import DeployError, Terraform
from tests.repo.tree import ROOT

REGION = "eu-central-1"


@pytest.fixture
def aws(start_aws, monkeypatch):
    """An emulated account that is dev's, signed in to."""
    server = start_aws("111122223333")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def test_without_terraform_it_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DeployError, match=r"install 1\.10 or later"):
        Terraform.find()


def test_a_mirror_without_the_provider_is_refused(monkeypatch, tmp_path):
    (tmp_path / "terraform").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ADLOOM_TERRAFORM_MIRROR", str(tmp_path / "empty"))

    with pytest.raises(DeployError, match="terraform providers mirror") as refused:
        Terraform.find()
    assert str(tmp_path) not in str(refused.value)


def test_without_a_mirror_the_public_registry_is_used(monkeypatch, tmp_path):
    (tmp_path / "terraform").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", "mine")

    terraform = Terraform.find()

    assert terraform.mirror == ""
    assert terraform.environment()["TF_CLI_CONFIG_FILE"] == "mine"


@pytest.mark.parametrize("name", ["production", "", "../dev"])
def test_an_environment_that_is_not_there_is_refused(name):
    with pytest.raises(DeployError, match="ENV=dev"):
        read_stack(ROOT, name)


def test_an_environment_without_an_account_is_refused(tmp_path):
    folder = tmp_path / "infra/environments/dev"
    folder.mkdir(parents=True)
    (folder / "shared.tfvars").write_text('region = "eu-central-1"\n')

    with pytest.raises(DeployError, match="does not set account_id"):
        read_stack(tmp_path, "dev")


def test_credentials_of_another_account_are_refused_before_anything_is_made(aws, monkeypatch, capsys, tmp_path):
    (tmp_path / "terraform").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    status = main(["apply", "--env", "prod", "--yes"])

    assert status == 1
    assert "signed in to account 111122223333, and prod is 123456789012" in capsys.readouterr().err
    assert aws.client("s3").list_buckets()["Buckets"] == []


def test_prod_is_not_destroyed_without_its_name():
    stack = read_stack(ROOT, "prod")

    for confirmed in ("", "prod", "adloom-dev"):
        with pytest.raises(DeployError, match="CONFIRM=adloom-prod"):
            destroy(stack, ["network"], confirmed=confirmed, unasked=True, with_state=False)


def test_without_credentials_it_says_to_sign_in(monkeypatch, tmp_path, capsys):
    (tmp_path / "terraform").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    assert main(["plan", "--env", "dev"]) == 1
    assert "there are no AWS credentials: sign in" in capsys.readouterr().err


def test_the_bucket_of_the_state_is_made_once_and_closed(aws):
    for _ in range(2):
        ensure_state_bucket("adloom-dev-111122223333-state", REGION)
    s3, bucket = aws.client("s3"), {"Bucket": "adloom-dev-111122223333-state"}
    encryption = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]

    assert set(s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert "aws:SecureTransport" in s3.get_bucket_policy(**bucket)["Policy"]


def test_a_state_that_knows_of_resources_is_not_deleted(aws):
    bucket = "adloom-dev-111122223333-state"
    ensure_state_bucket(bucket, REGION)
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="network.tfstate", Body=b'{"resources": [{"type": "aws_vpc"}]}')

    with pytest.raises(DeployError, match="destroy that deployment first"):
        delete_state_bucket(bucket, REGION)
    s3.put_object(Bucket=bucket, Key="network.tfstate", Body=b'{"resources": []}')
    assert state_exists(bucket, "network", REGION)
    delete_state_bucket(bucket, REGION)

    assert s3.list_buckets()["Buckets"] == []


def test_the_platform_file_is_sorted_and_one_line_each():
    text = platform_env({"B": "2", "A": "1=1"})

    assert text.splitlines()[1:] == ["A=1=1", "B=2"]


@pytest.mark.parametrize("values", [{"A": "1\nB=2"}, {"a b": "1"}])
def test_a_value_that_would_break_a_line_is_refused(values):
    with pytest.raises(DeployError, match="cannot be written as lines"):
        platform_env(values)


def test_bootstrap_without_its_manifests_says_so(aws, capsys):
    if (ROOT / "gitops/bootstrap/argocd").is_dir() or shutil.which("kubectl") is None:
        pytest.skip("gitops/bootstrap is there: its own tests look at it")

    assert main(["bootstrap", "--env", "dev"]) == 1
    assert "there is nothing to bootstrap" in capsys.readouterr().err


def test_both_files_that_want_the_cloud_are_written_and_each_names_what_it_has():
    files = {path: wanted for name in ("dev", "staging", "prod") for path, wanted in env_files(name).items()}
    names = {
        path: {line.split("=")[0] for line in path.read_text(encoding="utf-8").splitlines() if line[:1].isalpha()}
        for path in files
    }

    assert len(files) == 6
    assert all(names[path] == set(PLATFORM_NAMES) for path, wanted in files.items() if wanted is not None)
    assert all(names[path] > set(PLATFORM_NAMES) for path, wanted in files.items() if wanted is None)
    assert all(ROOT in path.parents for path in files)
