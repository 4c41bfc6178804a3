"""
One environment on an emulated AWS: built and destroyed by the commands a person would use, looked at with boto3.

Knows what the emulator lacks only as the files of emulator/, each with its reason.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.real_parts import ServerProcess
from tests.repo.tree import ROOT

REGION = "eu-central-1"
EMULATOR = Path(__file__).parent / "emulator/modules"
GONE = {"PendingDeletion", "terminated", "deleted", "deleting"}


class EmulatedAws(ServerProcess):
    """moto's server for one account."""

    @property
    def environment(self):
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "3",
        }

    def client(self, service, credentials=None):
        from boto3.session import Session
        from botocore.config import Config

        keys = credentials or {"AccessKeyId": "testing", "SecretAccessKey": "testing", "SessionToken": None}
        return Session(
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys.get("SessionToken"),
            region_name=REGION,
        ).client(
            service, endpoint_url=self.environment["AWS_ENDPOINT_URL"], config=Config(retries={"total_max_attempts": 1})
        )

    def enforce_iam(self, *, after_requests=0):
        """From here on every request needs a policy that allows it; `float('inf')` turns it off again."""
        url = f"{self.environment['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}  # a form would be parsed, and its text gone
        request = urllib.request.Request(url, data=str(after_requests).encode(), headers=plain, method="POST")
        urllib.request.urlopen(request, timeout=60).close()


@dataclass
class Cloud:
    """A copy of the repository's infra/, and the account it is applied to."""

    root: Path
    environment: str
    mirror: Path
    aws: EmulatedAws

    @property
    def name(self):
        return f"adloom-{self.environment}"

    def variables(self, **others):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        mine = {"ADLOOM_TERRAFORM_MIRROR": str(self.mirror), "CHECKPOINT_DISABLE": "1", "PYTHONUNBUFFERED": "1"}
        return {**kept, **self.aws.environment, **mine, **others}

    def command(self, *arguments):
        return [sys.executable, "-m", "infra.deploy", *arguments, "--env", self.environment]

    def run(self, *arguments, **others):
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.variables(**others),
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        return done.returncode, done.stdout + done.stderr

    def outputs(self, deployment):
        bucket = next(
            each["Name"] for each in self.aws.client("s3").list_buckets()["Buckets"] if "state" in each["Name"]
        )
        body = self.aws.client("s3").get_object(Bucket=bucket, Key=f"{deployment}.tfstate")["Body"].read()
        return {name: each["value"] for name, each in json.loads(body)["outputs"].items()}

    def interrupt_once(self, *arguments, seen):
        """Runs the command, sends SIGINT after a line that contains `seen`, and returns status and text."""
        said = []
        with subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout:
                said.append(line)
                if seen in line:
                    process.send_signal(signal.SIGINT)
                    break
            said += list(process.stdout)
            return process.wait(timeout=900), "".join(said)


def copied_cloud(tmp_path, environment, mirror, aws):
    """infra/ and the rule files of gitops/ below tmp_path, with what the emulator lacks taken out."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "infra", root / "infra", ignore=shutil.ignore_patterns(".terraform", "__pycache__"))
    shutil.copytree(EMULATOR, root / "infra/modules", dirs_exist_ok=True)
    for rules in (ROOT / "gitops/apps").glob("*/monitoring/rules.yaml"):
        target = root / rules.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        shutil.copyfile(rules, target)
    return Cloud(root, environment, mirror, aws)


# Service, operation, where the answer lists them, what identifies one. What AWS makes by itself in a new account (a
# default network, managed policies) is in both inventories.
LISTED = [
    ("amp", "list_workspaces", "workspaces", "workspaceId"),
    ("ec2", "describe_addresses", "Addresses", "AllocationId"),
    ("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    ("ec2", "describe_instances", "Reservations", "ReservationId"),
    ("ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    ("ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    ("ec2", "describe_nat_gateways", "NatGateways", "NatGatewayId"),
    ("ec2", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    ("ec2", "describe_route_tables", "RouteTables", "RouteTableId"),
    ("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    ("ec2", "describe_subnets", "Subnets", "SubnetId"),
    ("ec2", "describe_volumes", "Volumes", "VolumeId"),
    ("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    ("ec2", "describe_vpcs", "Vpcs", "VpcId"),
    ("eks", "list_clusters", "clusters", None),
    ("iam", "list_open_id_connect_providers", "OpenIDConnectProviderList", "Arn"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    ("kms", "list_aliases", "Aliases", "AliasName"),
    ("kms", "list_keys", "Keys", "KeyId"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier"),
    ("rds", "describe_db_parameter_groups", "DBParameterGroups", "DBParameterGroupName"),
    ("rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier"),
    ("rds", "describe_db_subnet_groups", "DBSubnetGroups", "DBSubnetGroupName"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("secretsmanager", "list_secrets", "SecretList", "Name"),
    ("sns", "list_subscriptions", "Subscriptions", "SubscriptionArn"),
    ("sns", "list_topics", "Topics", "TopicArn"),
]


def inventory(aws):
    """Everything in the account, as (service, operation, name); without keys and gateways that are on their way out."""
    found = set()
    networks = {each["VpcId"] for each in aws.client("ec2").describe_vpcs()["Vpcs"]}
    for service, operation, listed, identity in LISTED:
        client = aws.client(service)
        for each in getattr(client, operation)()[listed]:
            name = each[identity] if identity else each
            state = each.get("State") if isinstance(each, dict) else None
            if service == "kms" and identity == "KeyId":
                state = client.describe_key(KeyId=name)["KeyMetadata"]["KeyState"]
            # moto keeps a NAT gateway's interface when the gateway is gone, and with it the network that it was in.
            if identity == "NetworkInterfaceId" and each["VpcId"] not in networks:
                continue
            if state not in GONE:
                found.add((service, operation, name))
    return found
