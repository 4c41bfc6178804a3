"""
The signal contract: what a rule, dashboard, autoscaler, canary or runbook asks for appears in a scrape of what runs, or
is a platform's; and what is published is asked for, or says here why not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from app import exporter, metrics
from app.watch import promql
from app.watch.alert_rules import alerts, recordings
from app.watch.promql import Selector
from tests.observability.scraped import Scrape, whole_scrape
from tests.repo.tree import ROOT

TARGET_LABELS = {"job", "instance", "namespace", "pod", "rollouts_pod_template_hash"}
"""Prometheus puts them on: ServiceMonitors of gitops/apps, and podTargetLabels."""
PLATFORM = {
    "up": {"job"},  # Prometheus: one for each target
    "ALERTS": {"alertname", "alertstate", "severity", "service"},  # Prometheus: one for each alert
    "ALERTS_FOR_STATE": {"alertname"},  # the same
    "scrape_duration_seconds": {"job"},  # Prometheus: one for each target
    # argo-rollouts: controller/metrics/prommetrics.go
    "rollout_info": {"name", "exported_namespace", "phase", "strategy"},
    "rollout_info_replicas_available": {"name", "exported_namespace"},
    "rollout_info_replicas_desired": {"name", "exported_namespace"},
    "analysis_run_info": {"name", "exported_namespace", "phase"},
    "analysis_run_metric_phase": {"name", "exported_namespace", "metric", "phase", "type", "dry_run"},
    # argo-cd: controller/metrics/metrics.go
    "argocd_app_info": {"name", "sync_status", "health_status", "dest_namespace", "project"},
    "argocd_app_sync_total": {"name", "phase", "dest_namespace", "project"},
    "argocd_app_reconcile_bucket": {"dest_server", "le"},
    # kubelet, cAdvisor
    "container_cpu_cfs_periods_total": {"container"},
    "container_cpu_cfs_throttled_periods_total": {"container"},
    "container_cpu_usage_seconds_total": {"container"},
    "container_memory_working_set_bytes": {"container"},
    "kube_pod_status_phase": {"phase"},  # kube-state-metrics
    "kube_pod_container_resource_requests": {"container", "resource"},  # kube-state-metrics: docs/metrics/workload
}  # fmt: skip
"""Metrics of others, with the labels that are asked for, and where they are declared."""
UNASKED = {
    "adloom_model_info": "joined by hand: which version an instance runs",
    "adloom_time_to_first_token_seconds": "read by hand where waits are looked into",
    "adloom_engine_wait_seconds": "read by hand where waits are looked into",
    "adloom_engine_batch_size": "read by hand where the engine is looked into",
    "adloom_generated_tokens_total": "read by hand where the engine is looked into",
    "adloom_exporter_source_success_timestamp_seconds": "named by the runbook of AdloomExporterSourceStale",
    "adloom_catalogue_products": "read by hand after an ingest",
    "adloom_champion_version": "read by hand after a promotion",
    "adloom_batches": "read by hand where batches are looked into",
}
"""Published, and perhaps asked for by nothing that lies here: why it is published all the same."""
ASKED_BY_HAND = re.compile(r"--data-urlencode 'query=([^']+)'")
_SUFFIXES = ("_bucket", "_count", "_sum")


@pytest.fixture(scope="module")
def scrape(tmp_path_factory) -> Scrape:
    return whole_scrape(tmp_path_factory.mktemp("stores"))


@cache
def expressions() -> tuple[tuple[str, str], ...]:
    """Where it stands, and what is asked."""
    return tuple(_expressions())


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in [*alerts(ROOT), *recordings(ROOT)]:
        yield f"{rule.file}: {rule.name}", rule.expression
    for path in sorted((ROOT / "gitops").rglob("dashboards/*.json")):
        for asked in _values(json.loads(path.read_text(encoding="utf-8")), "expr"):
            yield path.name, asked
    for path in sorted((ROOT / "gitops").rglob("*.yaml")):
        if any(word in path.name for word in ("scaledobject", "analysis")):
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                for asked in _values(document, "query"):
                    yield path.name, asked
    for path in sorted((ROOT / "runbooks").rglob("*.md")):
        for asked in ASKED_BY_HAND.findall(path.read_text(encoding="utf-8")):
            yield path.name, asked


def _values(tree: object, key: str) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key and isinstance(value, str):
                yield value
            else:
                yield from _values(value, key)
    elif isinstance(tree, list):
        for each in tree:
            yield from _values(each, key)


@cache
def asked_for() -> list[tuple[str, Selector]]:
    """Every selector; what Argo Rollouts and Grafana fill in becomes a word that is looked at no further."""
    return [
        (where, selector)
        for where, expression in expressions()
        for selector in promql.selectors(re.sub(r"\{\{[^}]*\}\}", "$given", expression))
    ]


def violations(scrape: Scrape) -> list[str]:
    """What is asked for and not there, and what is there and not asked for; none where the contract holds."""
    recorded = {rule.name for rule in recordings(ROOT)}
    asked = asked_for()
    said = [
        f"{where}: {trouble}"
        for where, selector in asked
        if selector.metric not in recorded
        for trouble in _troubles(selector, scrape)
    ]
    names = {selector.metric for _, selector in asked}
    ours = {_family(name) for name in scrape if name.startswith("adloom_")}
    used = {_family(name) for name in names} | set(UNASKED)
    return said + [f"{name} is published, and nobody asks for it" for name in sorted(ours - used)]


def _family(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)


def _troubles(selector: Selector, scrape: Scrape) -> Iterator[str]:
    if selector.metric in PLATFORM:
        unknown = {each.label for each in selector.matchers} - PLATFORM[selector.metric] - TARGET_LABELS
        yield from (f"{selector.metric} has no label {label}" for label in sorted(unknown))
        return
    series = scrape.get(selector.metric)
    if not re.fullmatch(r"[\w:]+", selector.metric):  # a pattern of names
        known = {*scrape, *(rule.name for rule in recordings(ROOT))}
        series = [{}] if any(re.fullmatch(selector.metric, name) for name in known) else []
    if not series:
        yield f"nobody publishes {selector.metric}"
        return
    for matcher in selector.matchers:
        if matcher.label in TARGET_LABELS - {"job"}:
            continue
        values = {labels.get(matcher.label) for labels in series}
        if values == {None}:
            yield f"{selector.metric} has no label {matcher.label}"
        elif "$" not in matcher.value and not _is_met(matcher, values - {None}):
            yield f"{selector.metric} never has {matcher.label}{matcher.operator}{matcher.value!r}"


def _is_met(matcher: promql.Matcher, values: set[str]) -> bool:
    if matcher.operator == "=":
        return matcher.value in values
    if matcher.operator == "=~":
        return all(any(re.fullmatch(part, value) for value in values) for part in matcher.value.split("|"))
    return True


def test_the_contract_holds(scrape):
    assert violations(scrape) == []


def test_rules_dashboards_autoscaler_and_canary_are_all_read():
    places = " ".join(where for where, _ in expressions())

    for word in (
        "adloom-api/monitoring",
        "adloom-exporter/monitoring",
        "adloom-service.json",
        "scaledobject",
        "analysis",
        "AdloomServiceDown.md",
    ):
        assert word in places, word


def test_every_declared_metric_is_in_the_scrape(scrape):
    declared = {each.name for each in (*metrics.DECLARED, *exporter.DECLARED)}
    found = {_family(name) for name in scrape}

    assert declared - found == set()


@pytest.mark.parametrize("name", sorted(each.name for each in (*metrics.DECLARED, *exporter.DECLARED)))
def test_renaming_any_metric_breaks_the_contract(scrape, name):
    renamed = {(f"{key}_renamed" if _family(key) == name else key): series for key, series in scrape.items()}

    assert violations(renamed) != []


@pytest.mark.parametrize(
    ("metric", "label", "value"),
    [
        ("adloom_creatives_total", "outcome", "refused"),
        ("adloom_store_errors_total", "part", "database"),
        ("adloom_feedback_total", "verdict", "reject"),
        ("adloom_retrains_total", "outcome", "failed"),
        ("adloom_exporter_source_up", "source", "catalogue"),
        ("adloom_pipeline_success_timestamp_seconds", "dag", "monitor_drift"),
    ],
)
def test_another_word_for_a_labels_value_breaks_it_too(scrape, metric, label, value):
    changed = [{**labels, label: "else"} if labels.get(label) == value else labels for labels in scrape[metric]]

    assert any(metric in said and value in said for said in violations({**scrape, metric: changed}))


def test_labels_that_expressions_group_by_exist(scrape):
    known = {label for series in scrape.values() for labels in series for label in labels}
    known |= TARGET_LABELS.union(*PLATFORM.values())
    asked = {label for _, expression in expressions() for label in promql.grouping_labels(expression)}

    assert {label for label in asked if not label.startswith("$")} - known == set()


def test_what_is_published_though_nobody_asks_for_it_is_published(scrape):
    assert set(UNASKED) - {_family(name) for name in scrape} == set()
