"""Manifests keep every policy, and every policy finds the fault that it is for."""

from __future__ import annotations

import copy
import shutil
import subprocess

import pytest
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError

from tests.gitops import policies, references
from tests.gitops.manifest_faults import FAULTS
from tests.gitops.rendering import APPS, ENVIRONMENTS, GITOPS, environment_objects, named, only, render
from tests.real_parts import free_port

POLICIES = (*policies.POLICIES, *references.POLICIES)
SAFE_ALONE = (
    policies.lasting_pods_have_probes,
    policies.containers_have_requests_and_limits,
    policies.pods_are_restricted,
    policies.pods_know_nothing_of_the_cluster,
    policies.no_secret_is_written_down,
    policies.objects_name_their_namespace,
    policies.replicas_are_not_in_git,
    policies.namespaces_are_restricted,
)
BASES = sorted(APPS.glob("*/base"))
CASES = [
    pytest.param(policy, fault, id=f"{policy.__name__}-{name.replace(' ', '_')}")
    for policy, faults in FAULTS.items()
    for name, fault in faults.items()
]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_manifests_keep_the_policy(policy, environment):
    assert list(policy(environment_objects(environment))) == []


@pytest.mark.parametrize("policy", SAFE_ALONE, ids=lambda policy: policy.__name__)
@pytest.mark.parametrize("folder", BASES, ids=named)
def test_a_base_is_safe_by_itself(folder, policy):
    """Whatever an overlay forgets: nothing that it adds makes a pod safe."""
    assert list(policy(render(folder))) == []


@pytest.mark.parametrize(("policy", "fault"), CASES)
def test_a_policy_finds_its_fault(policy, fault):
    broken = copy.deepcopy(environment_objects("prod"))
    fault(broken)

    assert list(policy(broken))


def test_every_policy_has_a_fault_and_the_readme_counts_them():
    assert set(POLICIES) == set(FAULTS)
    assert f"{len(POLICIES)} policies look at the result" in (GITOPS / "README.md").read_text(encoding="utf-8")


def test_the_counting_store_starts_with_the_configuration_that_it_is_given(tmp_path):
    """On the Redis of this machine, whose configuration Valkey took over."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server: `apt-get install redis-server`")
    (password := tmp_path / "password.conf").write_text("requirepass word\n")
    text = (APPS / "adloom-api/limits/valkey.conf").read_text(encoding="utf-8")
    port = free_port()
    changed = text.replace("/run/secrets/limits/password.conf", str(password)).replace("port 6379", f"port {port}")
    (configuration := tmp_path / "valkey.conf").write_text(changed.replace("dir /tmp", f"dir {tmp_path}"))
    server = subprocess.Popen(["redis-server", configuration], stdout=subprocess.PIPE, text=True)
    try:
        assert any("Ready to accept connections" in line for line in server.stdout)
        with Redis(port=port, password="word") as known, Redis(port=port) as unknown:
            said = known.config_get("*")
            assert (said["maxmemory-policy"], said["save"], said["appendonly"]) == ("volatile-ttl", "", "no")
            assert int(said["maxmemory"]) == 64 * 1024 * 1024
            with pytest.raises(AuthenticationError):
                unknown.ping()
    finally:
        server.terminate()
        server.wait(60)
        server.stdout.close()


def test_the_counting_store_fits_into_its_container():
    (container,) = only(environment_objects("prod"), "Deployment", "adloom-limits")["spec"]["template"]["spec"][
        "containers"
    ]

    assert container["resources"]["limits"]["memory"] == "128Mi"  # twice its maxmemory: forks it never does, buffers


def test_the_password_of_the_counting_store_is_taken_from_the_services_address():
    made = only(environment_objects("prod"), "ExternalSecret", "adloom-limits")["spec"]
    service = only(environment_objects("prod"), "ExternalSecret", "adloom-api")["spec"]

    keys = {each["secretKey"]: each["remoteRef"]["key"] for each in service["data"]}
    assert [each["remoteRef"]["key"] for each in made["data"]] == [keys["limits-url"]]
    assert "requirepass {{" in made["target"]["template"]["data"]["password.conf"]


def test_a_policy_reads_templates_and_analyses_too():
    objects = copy.deepcopy(environment_objects("prod"))
    steps = only(objects, "ConfigMap", "adloom-step-pods")["data"]
    step = yaml.safe_load(steps["step.yaml"])
    step["spec"]["containers"][0]["securityContext"].pop("readOnlyRootFilesystem")
    steps["step.yaml"] = yaml.safe_dump(step)

    assert list(policies.pods_are_restricted(objects)) == [
        "ConfigMap adloom-step-pods: base may write to its root file system"
    ]
