"""
The bucket that holds Terraform's state: made before the first plan, deleted after the last destroy.

Terraform cannot keep its state in a bucket that it is to make, so this is the one thing made otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra.terraform import DeployError

STATE_VERSION_DAYS = 90
"""How long an older state can be fetched back."""


def signed_in_account(region: str) -> str:
    """Number of the account whose credentials we run with. Raises DeployError."""
    with _aws_errors():
        account: str = _client("sts", region).get_caller_identity()["Account"]
        return account


def ensure_state_bucket(bucket: str, region: str) -> None:
    """Versioned, encrypted, closed to the public and to plain HTTP; made where it is missing. Raises DeployError."""
    s3 = _client("s3", region)
    with _aws_errors():
        if _is_there(s3, bucket):
            return
        # us-east-1 is the one region that may not be named.
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **where)
        closed = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        by_key = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [by_key]})
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [_old_versions()]})
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(_tls_only(bucket)))


def state_exists(bucket: str, deployment: str, region: str) -> bool:
    """Whether the deployment was ever applied. Raises DeployError."""
    with _aws_errors():
        found = _client("s3", region).list_objects_v2(Bucket=bucket, Prefix=f"{deployment}.tfstate")
        return any(each["Key"] == f"{deployment}.tfstate" for each in found.get("Contents", ()))


def delete_state_bucket(bucket: str, region: str) -> None:
    """With every version in it. Raises DeployError where a state still knows of resources."""
    s3 = _client("s3", region)
    with _aws_errors():
        for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            if each["Key"].endswith(".tfstate"):
                state = json.loads(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
                if state.get("resources"):
                    raise DeployError(f"{each['Key']} still knows of resources: destroy that deployment first")
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            keys = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions]
            if keys:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        s3.delete_bucket(Bucket=bucket)


def _client(service: str, region: str) -> Any:
    from boto3.session import Session  # noqa: PLC0415 -- a third of a second that `--help` need not pay

    return Session(region_name=region).client(service)


def _is_there(s3: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError  # noqa: PLC0415 -- as above

    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
            return False
        raise
    return True


def _old_versions() -> dict[str, Any]:
    return {
        "ID": "old-states",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": STATE_VERSION_DAYS},
    }


def _tls_only(bucket: str) -> dict[str, Any]:
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


@contextmanager
def _aws_errors() -> Iterator[None]:
    """Errors of boto3 as ours, without key ids."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- as above

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "error"))
        raise DeployError(f"AWS answered {code} to {error.operation_name}: are these the right credentials?") from error
    except BotoCoreError as error:
        missing = "Credentials" in type(error).__name__ or "Token" in type(error).__name__
        reason = "there are no AWS credentials: sign in, for instance with `aws sso login`" if missing else str(error)
        raise DeployError(reason) from error
