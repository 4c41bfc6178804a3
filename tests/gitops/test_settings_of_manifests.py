"""What manifests give to our programs: every variable is a setting, every needed one is there, every flag exists."""

from __future__ import annotations

import ipaddress
import re

import pytest

from app import exporter, serve
from app.settings import Settings
from app.ui import server as page
from app.ui.settings import Settings as PageSettings
from pipelines import alert_hook
from pipelines.deployment import model_file
from pipelines.pull_requests import TOKEN_FILE
from pipelines.settings import PipelineSettings
from tests.gitops.pods import Pod, pods
from tests.gitops.references import REQUEST_SECONDS_MAX
from tests.gitops.rendering import APPS, ENVIRONMENTS, GITOPS, env_file, environment_objects, only, render

SECRETS = {
    "database-url": "postgresql+psycopg://adloom:word@db.internal/adloom",
    "limits-url": "redis://:word@adloom-limits:6379",
    "gitops-token": "word",
}
"""As a person puts them into Secrets Manager; by key of the Secret."""
NEEDED = {"DATABASE_URL", "OBJECTS_URL", "LIMITS_URL", "AUDIENCE", "IMAGE_DIGEST", "THREADS", "REQUEST_TIMEOUT_SECONDS"}
"""Of the service, beside who signs its tokens: what it must not take a default for where replicas share."""
NEEDED_BY_STEPS = {"DATABASE_URL", "OBJECTS_URL", "REGISTRY", "ROOT", "SERVICE_URL", "GITOPS_URL"}
READ_ELSEWHERE = {TOKEN_FILE}
"""Variables of ours that are no field of any settings."""
SETTINGS = {
    "adloom-api": Settings,
    "adloom-exporter": Settings,
    "adloom-migrations": Settings,
    "adloom-canary": Settings,
    "adloom-pipelines": PipelineSettings,
    "adloom-alert-hook": PipelineSettings,
    "adloom-ui": PageSettings,
}
"""By the name that pods carry."""

PORTS = {"adloom-api": 8000, "adloom-exporter": 9109, "adloom-ui": 8501, "adloom-alert-hook": 9110}

environments = pytest.mark.parametrize("environment", ENVIRONMENTS)


def variables(pod: Pod, objects: list[dict]) -> dict[str, str]:
    """As the first container sees them, secrets from above."""
    settings = {e["metadata"]["name"]: e["data"] for e in objects if e["kind"] == "ConfigMap"}
    container, found = pod.containers[0], {}
    for source in container.get("envFrom", []):
        found.update(settings[source["configMapRef"]["name"]])
    for each in container.get("env", []):
        origin = each.get("valueFrom", {})
        if key := origin.get("secretKeyRef"):
            found[each["name"]] = SECRETS[key["key"]]
        elif key := origin.get("configMapKeyRef"):
            found[each["name"]] = settings[key["name"]][key["key"]]
        else:
            found[each["name"]] = each["value"]
    return found


def ours(pod: Pod, objects: list[dict]) -> dict[str, str]:
    """Fields by their names in the settings, as their values stand in the environment."""
    kind = SETTINGS[pod.labels["app.kubernetes.io/name"]]
    prefix = str(kind.model_config["env_prefix"])
    given = {name: value for name, value in variables(pod, objects).items() if name.startswith("ADLOOM_")}
    return {name.removeprefix(prefix).lower(): value for name, value in given.items() if name not in READ_ELSEWHERE}


def our_pods(objects: list[dict], *names: str) -> list[Pod]:
    found = [pod for pod in pods(objects) if pod.labels["app.kubernetes.io/name"] in (names or SETTINGS)]
    assert found
    return found


@environments
def test_every_variable_of_ours_is_a_setting(environment):
    objects = environment_objects(environment)

    unknown = {
        pod.owner: sorted(ours(pod, objects).keys() - SETTINGS[pod.labels["app.kubernetes.io/name"]].model_fields)
        for pod in our_pods(objects)
    }
    assert {owner: names for owner, names in unknown.items() if names} == {}


@environments
def test_settings_of_every_pod_can_be_read(environment, monkeypatch):
    objects = environment_objects(environment)

    for pod in our_pods(objects):
        with monkeypatch.context() as patch:
            for name, value in variables(pod, objects).items():
                patch.setenv(name, value)
            SETTINGS[pod.labels["app.kubernetes.io/name"]]()


@environments
def test_the_service_is_given_what_replicas_must_share(environment):
    objects = environment_objects(environment)
    (pod,) = our_pods(objects, "adloom-api")

    given = ours(pod, objects)
    assert {name.lower() for name in NEEDED} <= given.keys()
    assert "issuer_key" in given or {"issuer", "jwks_url"} & given.keys()
    assert given["objects_url"].startswith("s3://")
    assert given["image_digest"] == pod.containers[0]["image"].partition("@")[2]


@environments
def test_steps_are_given_where_everything_is(environment):
    objects = environment_objects(environment)

    for pod in our_pods(objects, "adloom-pipelines"):
        assert {name.lower() for name in NEEDED_BY_STEPS} <= ours(pod, objects).keys()
        assert variables(pod, objects)["MLFLOW_TRACKING_URI"].startswith("http://mlflow.mlflow.svc:5000")


@environments
def test_the_engine_has_as_many_threads_as_its_container_has_cores(environment):
    objects = environment_objects(environment)
    (pod,) = our_pods(objects, "adloom-api")

    assert ours(pod, objects)["threads"] == pod.containers[0]["resources"]["limits"]["cpu"]


@environments
def test_the_policy_on_endings_knows_the_longest_request(environment):
    objects = environment_objects(environment)
    (pod,) = our_pods(objects, "adloom-api")

    assert float(ours(pod, objects)["request_timeout_seconds"]) == REQUEST_SECONDS_MAX


@environments
def test_forwarded_addresses_are_believed_from_the_load_balancer_alone(environment):
    objects = environment_objects(environment)
    (pod,) = our_pods(objects, "adloom-api")
    policy = only(objects, "NetworkPolicy", "public")

    given = variables(pod, objects)
    assert given["ADLOOM_PROXY_HEADERS"] == "true"
    assert given["FORWARDED_ALLOW_IPS"] == policy["spec"]["ingress"][0]["from"][0]["ipBlock"]["cidr"]
    assert ipaddress.ip_network(given["FORWARDED_ALLOW_IPS"]).prefixlen >= 20


@environments
def test_a_pod_is_added_before_the_queue_is_full(environment):
    scaled = only(environment_objects(environment), "ScaledObject", "adloom-api")
    (queue,) = [each for each in scaled["spec"]["triggers"] if each["type"] == "prometheus"]

    assert 0 < float(queue["metadata"]["threshold"]) <= Settings().queue_depth_max / 2


def test_an_overlay_states_only_what_differs_from_the_base():
    base = env_file(APPS / "adloom-api/base/settings.env")
    stated = {path.parent.name: env_file(path) for path in APPS.glob("adloom-api/overlays/*/settings.env")}

    assert stated
    assert {each: said for each, said in stated.items() if not said or said.items() & base.items()} == {}


def expanded(pod: Pod, objects: list[dict]) -> list[str]:
    """Arguments with $(NAME) as Kubernetes fills it in."""
    known = variables(pod, objects)
    return [re.sub(r"\$\((\w+)\)", lambda name: known[name[1]], each) for each in pod.containers[0]["args"]]


@environments
def test_our_programs_take_the_arguments_that_manifests_give(environment):
    objects = environment_objects(environment)
    given = {name: expanded(our_pods(objects, name)[0], objects) for name in PORTS}
    parsers = {
        "adloom-api": serve._parser(),
        "adloom-exporter": exporter._parser(),
        "adloom-ui": page._parser(),
        "adloom-alert-hook": alert_hook._parser(),
    }

    for name, port in PORTS.items():
        understood = parsers[name].parse_args([each for each in given[name] if each != "serve"])
        assert (understood.host, understood.port) == ("0.0.0.0", port)


@environments
def test_the_exporter_asks_the_repository_that_the_cluster_follows(environment):
    objects = environment_objects(environment)
    watched = exporter._parser().parse_args(expanded(our_pods(objects, "adloom-exporter")[0], objects))
    pushed = variables(our_pods(objects, "adloom-pipelines")[0], objects)["ADLOOM_GITOPS_URL"]
    followed = {each["repoURL"] for each in _git_sources()}

    repository = pushed.removeprefix("https://github.com/").removesuffix(".git")
    assert watched.git == f"https://api.github.com/repos/{repository}/contents/{model_file(environment)}"
    assert followed == {pushed}
    assert watched.certificate == f"https://{only(objects, 'Ingress', 'adloom-api')['spec']['rules'][0]['host']}"


def _git_sources() -> list[dict]:
    """Of the ApplicationSet: where applications come from."""
    (made,) = render(GITOPS / "appsets/prod")
    return [made["spec"]["template"]["spec"]["source"]]


@environments
def test_the_exporter_reads_the_ledger_where_the_steps_write_it(environment):
    objects = environment_objects(environment)
    (watcher,) = our_pods(objects, "adloom-exporter")
    step = next(pod for pod in our_pods(objects, "adloom-pipelines") if pod.labels.get("adloom.io/ledger"))
    mounts = {
        pod.owner: {m["name"]: (m["mountPath"], m.get("readOnly", False)) for m in pod.containers[0]["volumeMounts"]}
        for pod in (watcher, step)
    }

    assert variables(step, objects)["ADLOOM_REGISTRY"] == "/var/lib/adloom/registry"
    assert mounts[watcher.owner]["ledger"] == ("/var/lib/adloom/registry", True)
    assert mounts[step.owner]["ledger"] == ("/var/lib/adloom/registry", False)
