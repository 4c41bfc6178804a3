"""
moto's server, started with three corrections, without which it refuses what AWS allows: run as `python server.py PORT`.

Conditions in a bucket's policy: moto 5.2 evaluates none such as aws:SecureTransport, and takes a denial under a
condition for a denial; here those statements are left out. The action of HEAD on a bucket is s3:ListBucket. And the
signature of a GET without a body, as EKS and Prometheus are asked, is computed otherwise than the SDKs do: signatures
are not compared, and access keys, roles and policies are.
"""

from __future__ import annotations

import json
import sys


def without_conditional_denials(policy):
    """The policy as moto is able to judge it."""
    document = json.loads(policy)
    kept = [each for each in document["Statement"] if not (each["Effect"] == "Deny" and each.get("Condition"))]
    return json.dumps({**document, "Statement": kept})


def main():
    from moto.iam.access_control import IAMPolicy, IAMRequestBase, PermissionResult
    from moto.s3.models import FakeBucket
    from moto.s3.responses import ACTION_MAP
    from moto.server import main as serve

    def get_permission(self, action, resource):
        if self.policy is None:
            return PermissionResult.NEUTRAL
        return IAMPolicy(without_conditional_denials(self.policy.decode())).is_action_permitted(action, resource)

    FakeBucket.get_permission = get_permission
    ACTION_MAP["BUCKET"]["HEAD"]["DEFAULT"] = "ListBucket"
    IAMRequestBase.check_signature = lambda _self: None
    serve(["-H", "127.0.0.1", "-p", sys.argv[1]])


if __name__ == "__main__":
    main()
