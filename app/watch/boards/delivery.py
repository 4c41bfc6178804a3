"""The dashboard `adloom-delivery`: what is served, does it agree with Git and the ledger, how did the last one go."""

from __future__ import annotations

from app.watch.panels import API, EXPORTER, Board, Panel, Query, Row, number

ROLLOUT = 'name="adloom-api"'
"""No namespace: Argo Rollouts' own, which the scrape may have renamed."""
IN_A_CLUSTER = "there is no rollout without Argo Rollouts"
BY_ARGO_CD = "there is no sync without Argo CD"

FROM_COMMIT_TO_SERVED = (
    f"min by (commit) ((min_over_time(process_start_time_seconds{{{API}}}[7d])"
    f" - ignoring (commit) group_right () last_over_time(adloom_commit_timestamp_seconds{{{API}}}[7d])) >= 0)"
)
"""
Of the replicas that ran a commit the one that was started first: those that came later, or again, do not count.

Target and process are matched by every label that Prometheus put on, so that an address that another replica had
before is none of it. A start before the commit is a wrong clock, and not shown.
"""


def board() -> Board:
    """One truth first, then what runs, then how it came there."""
    return Board(
        uid="adloom-delivery",
        title="Adloom: delivery",
        answers="What is served now, is it what Git and the ledger say, and how did the last deploys go?",
        rows=(
            Row("One truth?", _truth()),
            Row("What is served", _served()),
            Row("Rollouts and canaries", _rollouts()),
            Row("Argo CD", _syncs()),
        ),
    )


def _truth() -> tuple[Panel, ...]:
    builds = f"count by (version, commit, bundle) (last_over_time(adloom_model_info{{{API}}}[1d]))"
    return (
        number(
            "Git, ledger and service agree?", "Whether all that know a version name the same one.", "short",
            f"max(adloom_truth_divergence{{{EXPORTER}}})", alert="AdloomTruthDiverged",
            words={0: "agree", 1: "diverged"},
        ),
        number(
            "Champion", "Version that the promotion ledger names.", "none",
            f"max(adloom_champion_version{{{EXPORTER}}})", runbooks=("AdloomTruthDiverged",), decimals=0,
        ),
        number(
            "Builds in service", "Combinations of version, bundle and commit that answer now; a canary makes it two.",
            "short", f"count(count by (version, commit, bundle) (adloom_model_info{{{API}}}))",
        ),
        number(
            "Builds in service, 1 d", "The same over the last day: one more for every deploy.", "short",
            f"count({builds})",
        ),
        number(
            "Oldest replica", "Time since the replica that has run longest was started.", "s",
            f"time() - min(process_start_time_seconds{{{API}}})",
        ),
        number(
            "Promoted and not served, 1 d", "Time in the last day in which Git, ledger and service disagreed: what "
            "one promotion took, or all of them together.", "s",
            f"10 * sum_over_time(max(adloom_truth_divergence{{{EXPORTER}}})[1d:10s])",
            runbooks=("AdloomTruthDiverged",),
        ),
    )  # fmt: skip


def _served() -> tuple[Panel, ...]:
    return (
        Panel(
            "What does each replica run?", "Version in the registry, commit of the code and digest of the bundle.",
            "none",
            (Query(f"adloom_model_info{{{API}}}", "{{instance}} {{version}} {{commit}} {{bundle}}"),), kind="table",
            width=24, height=5, runbooks=("AdloomTruthDiverged",),
        ),
        Panel(
            "Replicas by version", "Replicas that answer, by the version that they serve.", "short",
            (Query(
                "count by (version, rollouts_pod_template_hash) (adloom_model_info"
                f"{{{API}}})", "version {{version}} {{rollouts_pod_template_hash}}",
            ),), stacked=True,
        ),
        Panel(
            "Restarts", "Starts of the service's processes, counted over the hour before; a deploy is one a replica.",
            "short",
            (Query(f"sum(changes(process_start_time_seconds{{{API}}}[1h]))", "starts"),),
            runbooks=("AdloomServiceDown",),
        ),
        Panel(
            "Promoted and not served", "1 while Git, the promotion ledger and the service name different versions.",
            "short", (Query(f"max(adloom_truth_divergence{{{EXPORTER}}})", "diverged"),), alert="AdloomTruthDiverged",
        ),
        Panel(
            "Certificate", "Time until the certificate of the service's address ends.", "s",
            (Query(f"min(adloom_certificate_expiry_timestamp_seconds{{{EXPORTER}}}) - time()", "time left"),),
            alert="AdloomCertificateExpiring",
            platform="a local service has no TLS, and the exporter looks at an https address only", width=12,
        ),
        Panel(
            "From commit to served", "Time from a commit to the first start of a process that runs it, for the commits "
            "that ran in the last 7 days.", "s",
            (Query(FROM_COMMIT_TO_SERVED, "{{commit}}"),), kind="bars", width=12, runbooks=("AdloomTruthDiverged",),
        ),
    )  # fmt: skip


def _rollouts() -> tuple[Panel, ...]:
    return (
        Panel(
            "Where is the rollout?", "Phase of the service's rollout, as Argo Rollouts says it.", "short",
            (Query(f"max by (phase) (rollout_info{{{ROLLOUT}}})", "{{phase}}"),), kind="bars",
            runbooks=("AdloomCanaryAborted",), platform=IN_A_CLUSTER,
        ),
        Panel(
            "What did the canary's judges say?", "Measurements of the service's analysis runs, by metric and verdict.",
            "short",
            (Query('sum by (metric, phase) (analysis_run_metric_phase{name=~"adloom-api-.+"} == 1)',
                   "{{metric}}: {{phase}}"),),
            kind="bars", runbooks=("AdloomCanaryAborted",), platform=IN_A_CLUSTER,
        ),
        Panel(
            "How did analysis runs end?", "Analysis runs of the service that are still kept, by phase.", "short",
            (Query('sum by (phase) (analysis_run_info{name=~"adloom-api-.+"})', "{{phase}}"),),
            runbooks=("AdloomCanaryAborted",), platform=IN_A_CLUSTER,
        ),
    )  # fmt: skip


def _syncs() -> tuple[Panel, ...]:
    return (
        Panel(
            "Is every application in sync?", "Applications of Argo CD by health and by whether they match Git.",
            "short",
            (Query("count by (health_status, sync_status) (argocd_app_info)", "{{health_status}}, {{sync_status}}"),),
            kind="bars", platform=BY_ARGO_CD,
        ),
        Panel(
            "Syncs", "Syncs of the service's applications in the hour before, by how they ended.", "short",
            (Query('sum by (phase) (increase(argocd_app_sync_total{name=~"adloom-api.*"}[1h]))', "{{phase}}"),),
            platform=BY_ARGO_CD,
        ),
        Panel(
            "How long does a reconciliation take?", "Time in which Argo CD compares an application with Git: p95.",
            "s",
            (Query(
                "histogram_quantile(0.95, sum by (le)"
                ' (rate(argocd_app_reconcile_bucket{dest_server!=""}[$__rate_interval])))', "p95",
            ),),
            platform=BY_ARGO_CD,
        ),
    )  # fmt: skip
