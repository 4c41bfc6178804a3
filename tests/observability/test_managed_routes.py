"""What Terraform gives Managed Prometheus is the routing tree of gitops, with the topic for people and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
import yaml

from app.watch import routing
from tests.repo.tree import ROOT

TOPIC, REGION = "arn:aws:sns:eu-west-1:111122223333:adloom-dev-alerts", "eu-west-1"


TOLD = (routing.PAGER, routing.TICKETS)
"""Receivers that get the topic; the hook is reached from within the cluster alone."""


def managed(tree: dict[str, object]) -> dict[str, object]:
    """What Managed Prometheus has to get of our tree."""
    sns = {"topic_arn": TOPIC, "send_resolved": True, "sigv4": {"region": REGION}}
    names = sorted(routing.receivers_of(tree["route"]))  # type: ignore[arg-type]
    receivers = [{"name": name, **({"sns_configs": [sns]} if name in TOLD else {})} for name in names]
    return {"route": tree["route"], "inhibit_rules": tree["inhibit_rules"], "receivers": receivers}


def definition(tmp_path, routes: str | None) -> dict[str, object]:
    """By Terraform itself: the module's own expressions, with what AWS would say filled in."""
    text = (ROOT / "infra/modules/metrics/alerts.tf").read_text(encoding="utf-8")
    local = text[text.index("locals {") : text.index('resource "aws_prometheus_alert_manager_definition"')]
    expression = text[text.index("  definition = ") : text.rindex("  depends_on = [aws_sns_topic_policy.this]")]
    filled = local + f'output "made" {{\n{expression.replace("definition =", "value =")}}}\n'
    filled = filled.replace("aws_sns_topic.this.arn", f'"{TOPIC}"').replace(
        "data.aws_region.current.name", f'"{REGION}"'
    )
    variable = 'variable "alert_routes" {\n  type    = string\n  default = null\n}\n'
    (tmp_path / "main.tf").write_text(variable + filled, encoding="utf-8")
    given = {} if routes is None else {"TF_VAR_alert_routes": routes}
    environment = {**os.environ, **given, "CHECKPOINT_DISABLE": "1"}
    for arguments in (["init"], ["apply", "-auto-approve"]):
        done = subprocess.run(
            ["terraform", *arguments, "-no-color"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    said = subprocess.run(
        ["terraform", "output", "-json", "made"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    made: dict[str, object] = yaml.safe_load(yaml.safe_load(json.loads(said.stdout))["alertmanager_config"])
    return made


@pytest.fixture(autouse=True)
def needs_terraform():
    if shutil.which("terraform") is None:
        pytest.skip("needs terraform on the PATH")


@pytest.mark.slow
def test_the_definition_is_the_tree_with_a_topic_for_people(tmp_path):
    routes = (ROOT / routing.ROUTES).read_text(encoding="utf-8")

    assert definition(tmp_path, routes) == managed(routing.read_routes(ROOT))


@pytest.mark.slow
def test_without_a_tree_people_are_told_by_severity(tmp_path):
    made = definition(tmp_path, None)
    told = {each["receiver"]: each["matchers"] for each in made["route"]["routes"]}  # type: ignore[index]

    assert told == {
        "pager": ['severity="critical"'],
        "tickets": ['severity="warning"'],
        "nobody": ['severity="info"'],
    }
