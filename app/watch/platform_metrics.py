"""
The short list of metrics that others publish and our dashboards show, each with where it is documented.

What the service and the exporter publish is declared in app/metrics.py, exporter.py and exporter_sources.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ROLLOUTS = "https://argoproj.github.io/argo-rollouts/features/controller-metrics/"
ARGO_CD = "https://argo-cd.readthedocs.io/en/stable/operator-manual/metrics/"
PODS = "https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/pod-metrics.md"
CADVISOR = "https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md"
PROMETHEUS = "https://prometheus.io/docs/concepts/jobs_instances/"
RULES = "https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/"
CLIENT = "https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics"

IN_A_CLUSTER: Mapping[str, str] = MappingProxyType({
    "analysis_run_info": ROLLOUTS,
    "analysis_run_metric_phase": ROLLOUTS,
    "rollout_info": ROLLOUTS,
    "argocd_app_info": ARGO_CD,
    "argocd_app_reconcile_bucket": ARGO_CD,
    "argocd_app_sync_total": ARGO_CD,
    "kube_pod_container_resource_requests": PODS,
    "kube_pod_status_phase": PODS,
    "container_cpu_cfs_periods_total": CADVISOR,
    "container_cpu_cfs_throttled_periods_total": CADVISOR,
    "container_cpu_usage_seconds_total": CADVISOR,
    "container_memory_working_set_bytes": CADVISOR,
})  # fmt: skip
"""Nobody publishes these on a laptop."""
EVERYWHERE: Mapping[str, str] = MappingProxyType({
    "ALERTS": RULES,
    "process_cpu_seconds_total": CLIENT,
    "process_resident_memory_bytes": CLIENT,
    "process_start_time_seconds": CLIENT,
    "scrape_duration_seconds": PROMETHEUS,
    "up": PROMETHEUS,
})  # fmt: skip
"""Prometheus itself and its client library publish these wherever it scrapes us."""
