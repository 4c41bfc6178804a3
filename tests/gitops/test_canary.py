"""The canary's manifests: what each step waits for, and that no analysis can succeed on nothing."""

from __future__ import annotations

import re

import pytest

from app import metrics
from app.canary_command import main
from model.validity import FINDINGS, GROUNDING
from tests.gitops.analysis_judge import CANARY, live_template, uses
from tests.gitops.rendering import only, render
from tests.gitops.schemas import custom_troubles, is_custom

WITH_CANARY = ("staging", "prod")
LIVE, QUALITY = "adloom-api-live", "adloom-api-quality"


def objects(environment: str) -> list[dict]:
    return render(f"gitops/apps/adloom-api/overlays/{environment}")


def strategy(environment: str = "prod") -> dict:
    return only(objects(environment), "Rollout", "adloom-api")["spec"]["strategy"]["canary"]


@pytest.mark.parametrize("environment", WITH_CANARY)
def test_every_part_of_the_canary_is_what_its_controller_takes(environment, crd_schemas):
    ours = [each for each in objects(environment) if is_custom(each)]
    troubles = {each["metadata"]["name"]: custom_troubles(each, crd_schemas) for each in ours}

    assert {LIVE, QUALITY, "adloom-canary"} <= set(troubles)
    assert {name: found for name, found in troubles.items() if found} == {}


def test_no_user_reaches_a_release_that_the_same_requests_have_not_been_sent_to():
    steps = [next(iter(step)) for step in strategy()["steps"]]
    (first, *_) = [step["analysis"]["templates"] for step in strategy()["steps"] if "analysis" in step]

    assert first == [{"templateName": QUALITY}]
    assert steps.index("analysis") < steps.index("setWeight")


def test_all_traffic_comes_only_after_an_analysis_that_ends_by_itself():
    steps = strategy()["steps"]
    (last,) = steps[-1]["analysis"]["templates"]
    weights = [step["setWeight"] for step in steps if "setWeight" in step]

    assert last == {"templateName": LIVE}
    assert weights == sorted(weights)
    assert weights[0] <= 5
    assert weights[-1] < 100
    assert int(uses()["step"]["measurements"]) >= 3
    assert uses()["step"]["inconclusive-limit"] == "0"


def test_the_watch_begins_with_the_first_request_and_outlasts_the_steps():
    steps = strategy()["steps"]
    first = next(place for place, step in enumerate(steps) if "setWeight" in step)
    minutes = sum(int(step["pause"]["duration"].removesuffix("m")) for step in steps if "pause" in step)
    minutes += int(uses()["step"]["measurements"]) * sum("analysis" in step for step in steps)

    assert strategy()["analysis"]["startingStep"] <= first
    assert int(uses()["watch"]["measurements"]) > minutes


def test_no_step_waits_for_ever():
    pauses = [step["pause"] for step in strategy()["steps"] if "pause" in step]

    assert pauses
    assert all(pause.get("duration") for pause in pauses)


def test_both_releases_are_told_apart_by_the_hash_that_argo_rollouts_gives():
    analyses = [strategy()["analysis"], *(step["analysis"] for step in strategy()["steps"] if "analysis" in step)]
    live = [each for each in analyses if each["templates"] == [{"templateName": LIVE}]]
    given = [
        {arg["name"]: arg["valueFrom"]["podTemplateHashValue"] for arg in each["args"] if "valueFrom" in arg}
        for each in live
    ]

    assert given == [{"stable-hash": "Stable", "canary-hash": "Latest"}] * len(live)
    assert len(live) >= 2


@pytest.mark.parametrize("metric", live_template()["spec"]["metrics"], ids=lambda metric: metric["name"])
def test_every_metric_has_both_conditions_a_guard_and_a_least_number_of_requests(metric):
    query = metric["provider"]["prometheus"]["query"]

    assert metric["successCondition"].startswith("len(result) == 1 && ")
    assert metric["failureCondition"] == "false" or metric["failureCondition"].startswith("len(result) == 1 && ")
    assert metric["failureLimit"] == 0
    assert "args.requests-min" in query + metric["successCondition"]
    assert "vector(" not in query
    assert "address" not in metric["provider"]["prometheus"]


def test_the_queries_name_only_what_the_service_publishes():
    queries = "\n".join(metric["provider"]["prometheus"]["query"] for metric in live_template()["spec"]["metrics"])
    declared = {declared.name: set(declared.labels) for declared in metrics.DECLARED}
    named = set(re.findall(r"(adloom_\w+)\{([^}]*)\}", queries.replace("{{", "").replace("}}", "")))
    pod = {"job", "rollouts_pod_template_hash", "le"}

    assert len(named) >= 4
    for name, selectors in named:
        base = re.sub("_(bucket|count|sum)$", "", name)
        assert base in declared
        assert set(re.findall(r"(\w+)\s*[=!]", selectors)) <= declared[base] | pod
    (findings,) = set(re.findall(r'finding=~"([^"]+)"', queries))
    assert {kind for kind in FINDINGS if re.fullmatch(findings, kind)} == GROUNDING | {"contradicts_product"}


def test_the_load_balancer_takes_its_weights_from_argo_rollouts_on_every_path():
    rules = only(objects("prod"), "Ingress", "adloom-api")["spec"]["rules"]
    backends = [path["backend"]["service"] for rule in rules for path in rule["http"]["paths"]]

    assert strategy()["trafficRouting"] == {"alb": {"ingress": "adloom-api", "servicePort": 8000}}
    assert backends == [{"name": "adloom-api", "port": {"name": "use-annotation"}}] * len(backends)
    assert len(backends) >= 5


def test_the_quality_check_runs_the_image_that_it_judges_and_takes_the_arguments_that_it_is_given(tmp_path):
    template = only(objects("prod"), "AnalysisTemplate", QUALITY)
    job = template["spec"]["metrics"][0]["provider"]["job"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    given = {arg["name"]: arg.get("value", "") for arg in template["spec"]["args"]}
    words = [re.sub(r"\{\{args\.(\w+)\}\}", lambda found: given[found[1]], word) for word in container["args"]]
    (step, *_) = [step["analysis"] for step in strategy()["steps"] if "analysis" in step]
    field = step["args"][0]["valueFrom"]["fieldRef"]["fieldPath"]

    assert len(template["spec"]["metrics"]) == 1, "a Job that is ended early counts as Successful"
    assert (job["backoffLimit"], template["spec"]["metrics"][0]["failureLimit"]) == (0, 0)
    assert (container["image"], field) == ("{{args.image}}", "spec.template.spec.containers[0].image")
    assert words[0] == "canary"
    assert main([*words[1:3], f"--token-file={tmp_path / 'no such'}"]) == 3


def test_the_quality_check_reaches_the_service_and_may_hold_its_secret():
    every = objects("prod")
    job = only(every, "AnalysisTemplate", QUALITY)["spec"]["metrics"][0]["provider"]["job"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    service = only(every, "NetworkPolicy", "adloom-api")["spec"]["ingress"]
    own = only(every, "NetworkPolicy", "adloom-canary")["spec"]
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    secret = only(every, "ExternalSecret", "adloom-canary")

    assert any(
        labels.items() >= peer.get("podSelector", {}).get("matchLabels", {"no": "match"}).items()
        for rule in service
        for peer in rule["from"]
    )
    assert labels.items() >= own["podSelector"]["matchLabels"].items()
    assert volume["secret"]["secretName"] == secret["spec"]["target"]["name"]
    assert {each["secretKey"] for each in secret["spec"]["data"]} == {"client_id", "client_secret"}


def test_the_component_itself_says_no_environment():
    text = "\n".join(path.read_text(encoding="utf-8") for path in CANARY.glob("*.yaml"))

    assert "AnalysisTemplate" in text
    assert not re.search(r"adloom-(dev|staging|prod)|aps-workspaces|\d{12}", text)
