"""
dev and prod on an emulated AWS: built from nothing, looked at from outside, used by the roles, removed without a trace.

The commands are those of the Makefile; what the emulator lacks stands in tests/infra/emulator with the reason.
"""

from __future__ import annotations

import json
import re

import pytest
from botocore.exceptions import ClientError

from infra.deploy import read_stack
from tests.infra.cloud import copied_cloud, inventory
from tests.repo.tree import ROOT

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "AccessDeniedFault"}


def assumed(aws, role):
    """Credentials of a role, taken before the emulator enforces anything: it cannot judge a trust policy's tags."""
    arn = aws.client("iam").get_role(RoleName=role)["Role"]["Arn"]
    return aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]


def is_refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] in DENIED
    return False


def check_buckets(cloud, s3):
    buckets = cloud.outputs("platform")["buckets"]
    for name in [*buckets.values(), next(iter(buckets.values())).replace("artifacts", "access-logs")]:
        closed = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        policy = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
        tls = [each for each in policy if each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}]

        assert set(closed.values()) == {True}
        assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
        assert [(each["Effect"], each["Action"]) for each in tls] == [("Deny", "s3:*")]
        assert s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    for name in buckets.values():
        rule = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        assert s3.get_bucket_logging(Bucket=name)["LoggingEnabled"]["TargetBucket"].endswith("-access-logs")
    lock = s3.get_object_lock_configuration(Bucket=buckets["requests"])["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"


def check_cluster(cloud, eks):
    cluster = eks.describe_cluster(name=cloud.name)["cluster"]
    logging = cluster["logging"]["clusterLogging"][0]

    assert cluster["resourcesVpcConfig"]["endpointPrivateAccess"] is True
    assert cluster["resourcesVpcConfig"]["endpointPublicAccess"] is False
    assert logging["enabled"] is True
    assert set(logging["types"]) == {"api", "audit", "authenticator", "controllerManager", "scheduler"}
    assert cluster["encryptionConfig"][0]["resources"] == ["secrets"]
    assert set(eks.list_nodegroups(clusterName=cloud.name)["nodegroups"]) == {"service", "training"}


def check_database(cloud, rds):
    database = rds.describe_db_instances(DBInstanceIdentifier=cloud.name)["DBInstances"][0]
    production = cloud.environment == "prod"
    group = database["DBParameterGroups"][0]["DBParameterGroupName"]
    parameters = rds.describe_db_parameters(DBParameterGroupName=group)["Parameters"]

    assert database["StorageEncrypted"] is True
    assert database["PubliclyAccessible"] is False
    assert database["BackupRetentionPeriod"] == (35 if production else 7)
    assert database["MultiAZ"] is production
    assert database["DeletionProtection"] is production
    assert database["MasterUserSecret"]["SecretArn"]
    assert [each["ParameterValue"] for each in parameters if each["ParameterName"] == "rds.force_ssl"] == ["1"]


def check_network(cloud, ec2):
    vpc = cloud.outputs("network")["vpc_id"]
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    subnets = ec2.describe_subnets(Filters=here)["Subnets"]
    services = {
        each["ServiceName"].split(".", 3)[3] for each in ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]
    }
    gateways = ec2.describe_nat_gateways(Filters=here)["NatGateways"]

    assert len(subnets) == 9
    assert len({each["AvailabilityZone"] for each in subnets}) == 3
    assert {"s3", "ecr.api", "ecr.dkr"} <= services
    assert len(gateways) == (3 if cloud.environment == "prod" else 1)
    assert [each["TrafficType"] for each in ec2.describe_flow_logs()["FlowLogs"]] == ["ALL"]


def check_service_role(buckets, api, pipelines):
    """The service reads bundles and writes its log; the pipelines read the log and cannot change it."""
    artifacts, requests, mlflow = (buckets[each] for each in ("artifacts", "requests", "mlflow"))
    log = {"Bucket": requests, "Key": "generations/hour/one.jsonl"}

    assert api.get_object(Bucket=artifacts, Key="bundles/one")["Body"].read() == b"bundle"
    api.put_object(**log, Body=b"line")
    api.head_bucket(Bucket=requests)
    assert is_refused(api.get_object, **log)
    assert is_refused(api.put_object, Bucket=artifacts, Key="bundles/one", Body=b"worse")
    assert is_refused(api.put_object, Bucket=requests, Key="runs/one/record.json", Body=b"")
    assert is_refused(api.delete_object, **log)
    assert is_refused(api.get_object, Bucket=mlflow, Key="one")
    assert is_refused(api.list_buckets)
    assert pipelines.get_object(**log)["Body"].read() == b"line"
    pipelines.put_object(Bucket=artifacts, Key="datasets/one", Body=b"rows")
    assert is_refused(pipelines.put_object, **log, Body=b"forged")
    assert is_refused(pipelines.delete_object, Bucket=artifacts, Key="datasets/one")


def check_identities(cloud):
    aws = cloud.aws
    roles = ["adloom-api", "adloom-pipelines", "external-secrets", "ci-plan", "ci-apply"]
    keys = {role: assumed(aws, f"{cloud.name}-{role}") for role in roles}
    buckets = cloud.outputs("platform")["buckets"]
    aws.client("s3").put_object(Bucket=buckets["artifacts"], Key="bundles/one", Body=b"bundle")
    secret = f"{cloud.name}/adloom-api/issuer-key"
    aws.client("secretsmanager").put_secret_value(SecretId=secret, SecretString="a value")
    aws.enforce_iam()
    try:
        check_service_role(buckets, aws.client("s3", keys["adloom-api"]), aws.client("s3", keys["adloom-pipelines"]))
        for role in ("adloom-api", "adloom-pipelines"):
            assert is_refused(aws.client("secretsmanager", keys[role]).get_secret_value, SecretId=secret)
            assert is_refused(aws.client("iam", keys[role]).list_roles)
            assert is_refused(aws.client("ec2", keys[role]).describe_vpcs)
        check_ci_roles(cloud, keys, buckets, secret)
    finally:
        aws.enforce_iam(after_requests="inf")


def check_ci_roles(cloud, keys, buckets, secret):
    """The role that plans does so, with every request judged, and can neither change nor read what is secret."""
    plan = keys["ci-plan"]
    environment = {
        "AWS_ACCESS_KEY_ID": plan["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": plan["SecretAccessKey"],
        "AWS_SESSION_TOKEN": plan["SessionToken"],
    }
    status, said = cloud.run("plan", **environment)
    ec2, iam = cloud.aws.client("ec2", plan), cloud.aws.client("iam", plan)
    applier = cloud.aws.client("iam", keys["ci-apply"])

    assert status == 0, said[-3000:]
    assert is_refused(ec2.create_vpc, CidrBlock="10.99.0.0/16")
    assert is_refused(iam.create_user, UserName="mallory")
    assert is_refused(cloud.aws.client("secretsmanager", plan).get_secret_value, SecretId=secret)
    assert is_refused(cloud.aws.client("s3", plan).get_object, Bucket=buckets["artifacts"], Key="bundles/one")
    cloud.aws.client("ec2", keys["ci-apply"]).describe_vpcs()
    assert is_refused(applier.create_user, UserName="mallory")
    assert is_refused(
        applier.put_role_policy, RoleName=f"{cloud.name}-ci-apply", PolicyName="more", PolicyDocument="{}"
    )


def empty_locked(cloud):
    """Takes the objects out of the locked bucket: moto lets nobody change the lock of one that holds any."""
    s3, bucket = cloud.aws.client("s3"), cloud.outputs("platform")["buckets"]["requests"]
    for each in s3.list_object_versions(Bucket=bucket)["Versions"]:
        s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"], BypassGovernanceRetention=True)


@pytest.mark.parametrize(
    "environment",
    [pytest.param("dev", marks=pytest.mark.proof), pytest.param("prod", marks=pytest.mark.cloud)],
)
def test_an_environment_is_built_used_and_removed_without_a_trace(environment, tmp_path, mirror, start_aws):
    aws = start_aws(read_stack(ROOT, environment).account)
    cloud = copied_cloud(tmp_path, environment, mirror, aws)
    before = inventory(aws)

    status, said = cloud.run("apply", "--yes")
    assert status == 0, said[-3000:]
    status, said = cloud.run("plan")
    assert status == 0, f"the second plan is not empty:\n{said[-3000:]}"

    check_network(cloud, aws.client("ec2"))
    check_cluster(cloud, aws.client("eks"))
    check_buckets(cloud, aws.client("s3"))
    check_database(cloud, aws.client("rds"))
    status, said = cloud.run("env", "--out", str(tmp_path / "platform.env"))
    written = dict(re.findall(r"^([A-Z_]+)=(.+)$", (tmp_path / "platform.env").read_text(), flags=re.MULTILINE))
    assert status == 0, said
    assert written == cloud.outputs("platform")["platform_env"]

    check_identities(cloud)
    empty_locked(cloud)

    confirmed = ["--confirm", cloud.name] if environment == "prod" else []
    status, said = cloud.run("destroy", "--yes", "--with-state", *confirmed)
    assert status == 0, said[-3000:]
    assert inventory(aws) - before == set()


@pytest.mark.proof
def test_an_apply_that_is_interrupted_goes_on_where_it_was(tmp_path, mirror, start_aws):
    aws = start_aws(read_stack(ROOT, "dev").account)
    cloud = copied_cloud(tmp_path, "dev", mirror, aws)
    before = inventory(aws)

    # Terraform is waiting for something that AWS has answered for. Cut off between request and answer, a resource is
    # made that no state knows: infra/README.md says what to do then.
    status, said = cloud.interrupt_once("apply", "--yes", "--only", "network", seen="Still creating...")
    assert status == 1
    assert "interrupted in network: what was built is in the state" in said
    assert inventory(aws) - before

    status, said = cloud.run("apply", "--yes", "--only", "network")
    assert status == 0, said[-3000:]
    status, said = cloud.run("plan", "--only", "network")
    assert status == 0, said[-3000:]
    assert cloud.run("destroy", "--yes", "--with-state", "--only", "network")[0] == 0
    assert inventory(aws) - before == set()


@pytest.mark.proof
@pytest.mark.parametrize(
    ("deployment", "setting", "worse", "answer"),
    [
        ("network", r"reserved_cidrs = .*", 'reserved_cidrs = ["10.0.0.0/8"]', "choose a range of its own"),
        ("network", r"zones          = .*", 'zones = ["eu-central-1a"]', "Name three different zones"),
        ("network", r"nat_per_zone += true", "nat_per_zone = false", "prod needs nat_per_zone = true"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_with_what_to_do(
    deployment, setting, worse, answer, tmp_path, mirror, start_aws
):
    aws = start_aws(read_stack(ROOT, "prod").account)
    cloud = copied_cloud(tmp_path, "prod", mirror, aws)
    path = cloud.root / "infra/environments/prod" / f"{deployment}.tfvars"
    text, changed = re.subn(setting, worse, path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")

    status, said = cloud.run("apply", "--yes", "--only", deployment)

    assert changed == 1
    assert status == 1
    assert answer in " ".join(said.replace("│", " ").split())
