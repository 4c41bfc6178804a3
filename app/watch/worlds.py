"""
Series that a Prometheus would have scraped: of a healthy Adloom, of a slow, idle, silent or absurd one, and with the
one fault that each alert is for.

Knows metrics and alerts by name and evaluates nothing. One sample a minute, in promtool's notation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType

from app.watch.promtool import Series

MINUTES = 90
API, EXPORTER = 'job="adloom-api",instance="api-0:8000"', 'job="adloom-exporter",instance="exporter:9109"'
SOURCES = ("batches", "catalogue", "drift", "ledger", "pipelines", "retrains", "service")
DAGS = ("generate_batch", "ingest_catalogue", "monitor_drift")
DAY = 86_400
SKEW_SECONDS = 3_600
_HTTP = "adloom_http_request_duration_seconds"
_ADS = 'method="POST",route="/v1/creatives",status='


def rising(per_minute: float) -> str:
    """A counter."""
    return f"0+{per_minute:g}x{MINUTES}"


def flat(value: float) -> str:
    """A gauge that stands still."""
    return f"{value:g}x{MINUTES}"


def _now(ahead_seconds: int = 0) -> str:
    """A time that is always now: promtool's clock begins at 0."""
    return f"{ahead_seconds}+60x{MINUTES}"


def _api(metric: str, labels: str = "") -> str:
    return f"{metric}{{{API}{',' if labels else ''}{labels}}}"


def _exporter(metric: str, labels: str = "") -> str:
    return f"{metric}{{{EXPORTER}{',' if labels else ''}{labels}}}"


UP, EXPORTER_UP = _api("up"), _exporter("up")
ADS, FAST_ADS = _api(f"{_HTTP}_count", f'{_ADS}"200"'), _api(f"{_HTTP}_bucket", f'{_ADS}"200",le="5.0"')
FAILED = _api(f"{_HTTP}_count", f'{_ADS}"500"')
UNKNOWN = _api(f"{_HTTP}_count", f'{_ADS}"401"')
UNREADY = _api(f"{_HTTP}_count", 'method="GET",route="/readyz",status="503"')
WRITTEN = _api("adloom_creatives_total", 'channel="x",outcome="written"')
REFUSED = _api("adloom_creatives_total", 'channel="x",outcome="refused"')
VALIDITY_SUM, VALIDITY_COUNT = (
    _api(f"adloom_creative_validity_ratio_{each}", 'channel="x"') for each in ("sum", "count")
)
INVENTED = _api("adloom_creative_findings_total", 'finding="unsupported_number"')
LIMITED = _api("adloom_rate_limited_total", 'route="/v1/creatives"')
LIKED, DISLIKED = (_api("adloom_feedback_total", f'verdict="{each}"') for each in ("accept", "reject"))
QUEUE, CAPACITY = _api("adloom_engine_queue_depth"), _api("adloom_engine_queue_capacity")
WRITER, LIMITS = _api("adloom_writer_up"), _api("adloom_limits_store_up")
DATABASE, OBJECTS = (_api("adloom_store_errors_total", f'part="{each}"') for each in ("database", "objects"))
HELD, DROPPED = _api("adloom_generation_log_held_rows"), _api("adloom_generation_log_dropped_total")
ROLLED = 'rollout_info{job="argo-rollouts",name="adloom-api",phase="Completed"}'
ABORTED = 'rollout_info{job="argo-rollouts",name="adloom-api",phase="Abort"}'
INGEST, REPORT = _exporter("adloom_ingest_timestamp_seconds"), _exporter("adloom_drift_report_timestamp_seconds")
SHARE, HURTS = _exporter("adloom_drift_share_ratio"), _exporter("adloom_drift_hurts")
RETRAIN_FAILED = _exporter("adloom_retrains_total", 'outcome="failed",trigger="drift"')
USELESS, SPENT = _exporter("adloom_retrains_useless"), _exporter("adloom_retrains_spent")
RUN_FAILED = _exporter("adloom_pipeline_failures_total", 'dag="monitor_drift"')
RUN_LATE = _exporter("adloom_pipeline_late_total", 'dag="monitor_drift"')
SUCCESS = {dag: _exporter("adloom_pipeline_success_timestamp_seconds", f'dag="{dag}"') for dag in DAGS}
PROGRESS, DIVERGED = _exporter("adloom_batch_progress_timestamp_seconds"), _exporter("adloom_truth_divergence")
CERTIFICATE = _exporter("adloom_certificate_expiry_timestamp_seconds")
READ = {source: _exporter("adloom_exporter_source_up", f'source="{source}"') for source in SOURCES}

COUNTERS = (
    ADS, FAST_ADS, FAILED, UNKNOWN, UNREADY, WRITTEN, REFUSED, VALIDITY_SUM, VALIDITY_COUNT, INVENTED, LIMITED, LIKED,
    DISLIKED, DATABASE, OBJECTS, DROPPED,
)  # fmt: skip
"""What traffic moves."""
TIMES = (INGEST, REPORT, PROGRESS, *SUCCESS.values())
"""What the pipelines' clocks say."""

UNKNOWN_TO_EMPTY_STORES = (*TIMES, SHARE, HURTS)

HEALTHY: Series = MappingProxyType(
    {
        UP: flat(1), EXPORTER_UP: flat(1), ADS: rising(100), FAST_ADS: rising(99), FAILED: rising(0),
        UNKNOWN: rising(0.5), UNREADY: rising(0), WRITTEN: rising(100), REFUSED: rising(0),
        VALIDITY_SUM: rising(98), VALIDITY_COUNT: rising(100), INVENTED: rising(0.2), LIMITED: rising(0.1),
        LIKED: rising(1), DISLIKED: rising(0.1), DATABASE: rising(0), OBJECTS: rising(0), DROPPED: rising(0),
        QUEUE: flat(2), CAPACITY: flat(16), WRITER: flat(1), LIMITS: flat(1),
        HELD: " ".join(["0 4 2 7 1"] * (MINUTES // 5)), ROLLED: flat(1),
        **dict.fromkeys(TIMES, _now()), **dict.fromkeys(READ.values(), flat(1)),
        SHARE: flat(0), HURTS: flat(0), RETRAIN_FAILED: rising(0), USELESS: flat(0), SPENT: flat(1),
        RUN_FAILED: rising(0), RUN_LATE: rising(0), DIVERGED: flat(0), CERTIFICATE: flat(90 * DAY),
    }
)  # fmt: skip

_THREE = f"0x4 1 2 3x{MINUTES - 7}"
_TINY = (ADS, FAILED, UNKNOWN, WRITTEN, REFUSED, VALIDITY_COUNT, INVENTED, LIMITED, DISLIKED)


def _changed(series: Iterable[str], values: Callable[[str], str] | str) -> Series:
    """The healthy world, with other values for some of its series."""
    given = {each: values if isinstance(values, str) else values(HEALTHY[each]) for each in series}
    return {**HEALTHY, **given}


WORLDS: dict[str, Series] = {
    "healthy": HEALTHY,
    "slow": {**HEALTHY, FAST_ADS: rising(10), QUEUE: flat(15)},
    "no traffic": {**_changed(COUNTERS, flat(50)), QUEUE: flat(0), HELD: flat(0)},
    "three events, all bad": {
        **_changed(COUNTERS, flat(0)), **dict.fromkeys(_TINY, _THREE), QUEUE: flat(0), HELD: flat(0),
    },
    "NaN": {**_changed(set(HEALTHY) - {UP, EXPORTER_UP}, f"NaNx{MINUTES}")},
    "no metric": {UP: flat(1), EXPORTER_UP: flat(1)},
    "no target": {'up{job="prometheus",instance="prometheus:9090"}': flat(1)},
    "clock an hour ahead": _changed(TIMES, _now(SKEW_SECONDS)),
    "empty stores": {name: HEALTHY[name] for name in HEALTHY if name not in UNKNOWN_TO_EMPTY_STORES},
}  # fmt: skip
"""What every alert is tried on."""

FAULTS: dict[str, Series] = {
    "AdloomServiceDown": {UP: flat(0)},
    "AdloomAvailabilityBurnFast": {FAILED: rising(20)},
    "AdloomAvailabilityBurnSlow": {FAILED: rising(20)},
    "AdloomLatencyBurnFast": {FAST_ADS: rising(10)},
    "AdloomLatencyBurnSlow": {FAST_ADS: rising(10)},
    "AdloomBundleLoadFailed": {WRITER: flat(0)},
    "AdloomValidityLow": {VALIDITY_SUM: rising(60)},
    "AdloomFindingsHigh": {INVENTED: rising(20)},
    "AdloomQueueSaturated": {QUEUE: flat(16)},
    "AdloomLoadShedding": {REFUSED: rising(50)},
    "AdloomAuthenticationFailures": {UNKNOWN: rising(50)},
    "AdloomRateLimiting": {LIMITED: rising(10)},
    "AdloomFeedbackNegative": {DISLIKED: rising(2)},
    "AdloomDatabaseDown": {DATABASE: rising(5)},
    "AdloomObjectStoreDown": {OBJECTS: rising(5)},
    "AdloomLimitsStoreDown": {LIMITS: flat(0)},
    "AdloomGenerationLogDropped": {DROPPED: rising(5)},
    "AdloomCanaryAborted": {ABORTED: flat(1)},
    "AdloomExporterDown": {EXPORTER_UP: flat(0)},
    "AdloomExporterSourceStale": {READ["drift"]: flat(0)},
    "AdloomIngestStale": {INGEST: flat(-2 * DAY)},
    "AdloomDriftFound": {SHARE: flat(0.5)},
    "AdloomDriftHurts": {SHARE: flat(0.5), HURTS: flat(1)},
    "AdloomDriftReportStale": {REPORT: flat(-DAY)},
    "AdloomRetrainFailed": {RETRAIN_FAILED: rising(0.1)},
    "AdloomRetrainsUseless": {USELESS: flat(2)},
    "AdloomRetrainBudgetSpent": {SPENT: flat(4)},
    "AdloomPipelineFailed": {RUN_FAILED: rising(0.1)},
    "AdloomPipelineLate": {RUN_LATE: rising(0.1)},
    "AdloomPipelineStale": {SUCCESS["monitor_drift"]: flat(-DAY)},
    "AdloomBatchesStuck": {PROGRESS: flat(-DAY)},
    "AdloomTruthDiverged": {DIVERGED: flat(1)},
    "AdloomCertificateExpiring": {CERTIFICATE: flat(DAY)},
}
"""By alert: what it is there to find."""
