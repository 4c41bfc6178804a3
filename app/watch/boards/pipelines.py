"""The dashboard `adloom-pipelines`: did the night's work get done, is its data fresh, do retrains help."""

from __future__ import annotations

from app.watch.panels import EXPORTER, Board, Panel, Query, Row, number


def board() -> Board:
    """What ended badly, what is old, and what the retrains brought."""
    return Board(
        uid="adloom-pipelines",
        title="Adloom: pipelines",
        answers="Did the pipelines run, is what they leave behind fresh, and did the retrains help?",
        rows=(
            Row("Is the work done?", _now()),
            Row("Runs", _runs()),
            Row("Retrains", _retrains()),
            Row("The exporter that tells all this", _exporter()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    return (
        number(
            "Failures, 1 d", "Tasks that failed for good and runs that failed as a whole, in the last day.", "short",
            f"sum(increase(adloom_pipeline_failures_total{{{EXPORTER}}}[1d]))", runbooks=("AdloomPipelineFailed",),
            good="low", decimals=0,
        ),
        number(
            "Late runs, 1 d", "Runs of the last day that were not done by their deadline.", "short",
            f"sum(increase(adloom_pipeline_late_total{{{EXPORTER}}}[1d]))", runbooks=("AdloomPipelineLate",),
            good="low", decimals=0,
        ),
        number(
            "Age of the catalogue", "Time since the catalogue was last taken in, or found to be the same.", "s",
            f"time() - max(adloom_ingest_timestamp_seconds{{{EXPORTER}}})", alert="AdloomIngestStale",
        ),
        number(
            "Age of the drift report", "Time since the newest drift report was made.", "s",
            f"time() - max(adloom_drift_report_timestamp_seconds{{{EXPORTER}}})", alert="AdloomDriftReportStale",
        ),
        number(
            "Batches that are open", "Batches of merchants that are queued or being worked on.", "short",
            f'sum(adloom_batches{{{EXPORTER}, state=~"queued|running"}})', runbooks=("AdloomBatchesStuck",),
        ),
        number(
            "Retrains in vain, in a row", "Promoted retrains up to the last judged one that did not help.", "short",
            f"max(adloom_retrains_useless{{{EXPORTER}}})", alert="AdloomRetrainsUseless",
        ),
    )  # fmt: skip


def _age(selector: str) -> str:
    return f"sort_desc(time() - max by (dag) (adloom_pipeline_success_timestamp_seconds{{{selector}}}))"


def _runs() -> tuple[Panel, ...]:
    return (
        Panel(
            "How long since the hourly ones went through?", "Time since the last run that succeeded.", "s",
            (Query(_age(f'{EXPORTER}, dag="monitor_drift"'), "{{dag}}"),), kind="bars", width=6, height=7,
            alert="AdloomPipelineStale",
        ),
        Panel(
            "And the daily ones?", "Time since the last run that succeeded, of pipelines that run daily.", "s",
            (Query(_age(f'{EXPORTER}, dag=~"ingest_catalogue|generate_batch"'), "{{dag}}"),), kind="bars", width=9,
            height=7, alert="AdloomPipelineStale", comparison=1,
        ),
        Panel(
            "And those that are asked for?", "The same of pipelines without a schedule, which may well be old.", "s",
            (Query(_age(f'{EXPORTER}, dag!~"monitor_drift|ingest_catalogue|generate_batch"'), "{{dag}}"),),
            kind="bars", width=9, height=7,
        ),
        Panel(
            "What failed?", "Tasks and runs that failed, by DAG, counted over the hour before.", "short",
            (Query(f"sum by (dag) (increase(adloom_pipeline_failures_total{{{EXPORTER}}}[1h]))", "{{dag}}"),),
            runbooks=("AdloomPipelineFailed",), width=6,
        ),
        Panel(
            "What was late?", "Runs that missed their deadline, by DAG, counted over the hour before.", "short",
            (Query(f"sum by (dag) (increase(adloom_pipeline_late_total{{{EXPORTER}}}[1h]))", "{{dag}}"),),
            runbooks=("AdloomPipelineLate",), width=6,
        ),
        Panel(
            "Batches by state", "Batches that merchants ordered, by where they stand.", "short",
            (Query(f"sum by (state) (adloom_batches{{{EXPORTER}}})", "{{state}}"),),
            runbooks=("AdloomBatchesStuck",), stacked=True, width=6,
        ),
        Panel(
            "How large is the catalogue?", "Products in the newest snapshot.", "short",
            (Query(f"max(adloom_catalogue_products{{{EXPORTER}}})", "products"),),
            runbooks=("AdloomIngestStale",), width=6,
        ),
        Panel(
            "Do tasks get their pods?", "Pods in Airflow's namespace by phase; many that stay Pending find no node.",
            "short",
            (Query('sum by (phase) (kube_pod_status_phase{namespace="airflow"})', "{{phase}}"),), stacked=True,
            width=24, platform="tasks are pods only under the KubernetesExecutor; kube-state-metrics counts them",
        ),
    )  # fmt: skip


def _retrains() -> tuple[Panel, ...]:
    return (
        Panel(
            "How did retrains end?", "Retrains of all time by how they ended: promoted, refused by the gate, failed.",
            "short",
            (Query(f"sum by (outcome) (adloom_retrains_total{{{EXPORTER}}})", "{{outcome}}"),), kind="bars", width=6,
            runbooks=("AdloomRetrainFailed",),
        ),
        Panel(
            "What asked for them?", "Retrains of all time by what caused them.", "short",
            (Query(f"sum by (trigger) (adloom_retrains_total{{{EXPORTER}}})", "{{trigger}}"),), kind="bars", width=6,
            runbooks=("AdloomRetrainFailed", "AdloomDriftHurts"),
        ),
        Panel(
            "Do they help?", "Promoted retrains in a row, up to the last judged one, that did not help.", "short",
            (Query(f"max(adloom_retrains_useless{{{EXPORTER}}})", "in vain, in a row"),), width=6,
            alert="AdloomRetrainsUseless",
        ),
        Panel(
            "Is the budget spent?", "Retrains of this calendar month that count against its budget.", "short",
            (Query(f"max(adloom_retrains_spent{{{EXPORTER}}})", "this month"),), width=6,
            alert="AdloomRetrainBudgetSpent",
        ),
    )  # fmt: skip


def _exporter() -> tuple[Panel, ...]:
    return (
        Panel(
            "Is each source read?", "1 where the exporter could read the source at its last try.", "short",
            (Query(f"min by (source) (adloom_exporter_source_up{{{EXPORTER}}})", "{{source}}"),), kind="bars",
            runbooks=("AdloomExporterSourceStale", "AdloomExporterDown"), top=1,
        ),
        Panel(
            "How old is what it says?", "Time since each source was last read.", "s",
            (Query(
                f"time() - max by (source) (adloom_exporter_source_success_timestamp_seconds{{{EXPORTER}}})",
                "{{source}}",
            ),),
            runbooks=("AdloomExporterSourceStale",),
        ),
        Panel(
            "What does a scrape cost?", "Time that Prometheus needs for one scrape of each job.", "s",
            (Query(
                'max by (job) (scrape_duration_seconds{job=~"adloom-(api|exporter)", namespace=~"$namespace"})',
                "{{job}}",
            ),),
        ),
    )  # fmt: skip
