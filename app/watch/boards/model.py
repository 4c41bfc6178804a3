"""The dashboard `adloom-model`: are the ads good, is the new version as good as the old one, has the world moved."""

from __future__ import annotations

from app.watch.panels import API, CHANNEL, EXPORTER, Board, Panel, Query, Row, number

VALIDITY = "adloom_creative_validity_ratio"
OF_EACH_VERSION = f"on (job, instance) group_left (version) adloom_model_info{{{API}}}"
"""A canary's pods are told apart by their template's hash; the registry's version says which model that is."""
BY_VERSION = "sum by (version, rollouts_pod_template_hash)"
FEATURE_DISTANCE = f"max by (feature) (adloom_drift_feature_ratio{{{EXPORTER}}})"
VERSION = "version {{version}} {{rollouts_pod_template_hash}}"


def board() -> Board:
    """Quality first, then who makes it, then what people and the statistics say."""
    return Board(
        uid="adloom-model",
        title="Adloom: model",
        answers="Are the ads that are written now as good as they should be, and does each version keep it so?",
        rows=(
            Row("Is it good?", _now()),
            Row("Validity and findings", _quality()),
            Row("Champion against candidate", _versions()),
            Row("What people and statistics say", _feedback_and_drift()),
        ),
        has_channels=True,
    )


def _mean(by: str = "", window: str = "$__rate_interval") -> str:
    group = f"sum by ({by})" if by else "sum"
    rates = (f"{group} (rate({VALIDITY}_{part}{{{API}, {CHANNEL}}}[{window}]))" for part in ("sum", "count"))
    return " / ".join(rates)


def _now() -> tuple[Panel, ...]:
    ads = f'sum(increase(adloom_creatives_total{{{API}, outcome="written"}}[1h]))'
    return (
        number(
            "Validity, 30 min", "Mean validity of the ads of the last 30 minutes; 1 is without findings.",
            "none", "adloom:creatives_validity:mean30m", alert="AdloomValidityLow", decimals=3,
        ),
        number(
            "Findings an ad, 1 h", "Findings of every kind in the last hour, for each ad that was written.",
            "none", f"sum(increase(adloom_creative_findings_total{{{API}}}[1h])) / {ads}", decimals=3,
        ),
        number(
            "Ads without findings, 1 h", "Share of the ads of the last hour whose validity is 1.",
            "percentunit",
            f'1 - sum(increase({VALIDITY}_bucket{{{API}, {CHANNEL}, le="0.99"}}[1h]))'
            f" / sum(increase({VALIDITY}_count{{{API}, {CHANNEL}}}[1h]))", decimals=1,
        ),
        number(
            "Rejected by people, 1 d", "Share of rejections among the verdicts of the last day.", "percentunit",
            f'sum(increase(adloom_feedback_total{{{API}, verdict="reject"}}[1d]))'
            f" / sum(increase(adloom_feedback_total{{{API}}}[1d]))",
            alert="AdloomFeedbackNegative", decimals=1,
        ),
        number(
            "Columns that drifted", "Share of the columns that drifted in the newest report.", "percentunit",
            f"max(adloom_drift_share_ratio{{{EXPORTER}}})", alert="AdloomDriftFound", decimals=0,
        ),
        number(
            "Does drift hurt?", "Whether validity fell below the reference's by more than its margin.", "short",
            f"max(adloom_drift_hurts{{{EXPORTER}}})", alert="AdloomDriftHurts", words={0: "no", 1: "yes"},
        ),
    )  # fmt: skip


def _quality() -> tuple[Panel, ...]:
    return (
        Panel(
            "Validity by channel", "Mean validity of the ads that were written; the line is where the alert stands.",
            "none", (Query(_mean(by="channel"), "{{channel}}"),), alert="AdloomValidityLow", top=1,
        ),
        Panel(
            "How bad are the worst?", "Validity that nine in ten ads, and three in four, are above.", "none",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le)"
                    f" (rate({VALIDITY}_bucket{{{API}, {CHANNEL}}}[$__rate_interval])))", f"p{quantile * 100:.0f}",
                )
                for quantile in (0.1, 0.25)
            ), top=1,
        ),
        Panel(
            "Ads without findings, by channel", "Share of the ads that were written whose validity is 1.",
            "percentunit",
            (Query(
                "1 - sum by (channel)"
                f' (rate({VALIDITY}_bucket{{{API}, {CHANNEL}, le="0.99"}}[$__rate_interval]))'
                f" / sum by (channel) (rate({VALIDITY}_count{{{API}, {CHANNEL}}}[$__rate_interval]))", "{{channel}}",
            ),), top=1,
        ),
        Panel(
            "Is anything invented?", "Grounding findings for each ad of the last hour: what no product says.",
            "percentunit",
            (Query('sort_desc(adloom:creatives_findings:ratio_rate1h{finding=~"unsupported_.*"})', "{{finding}}"),),
            kind="bars", alert="AdloomFindingsHigh", height=11, width=8,
        ),
        Panel(
            "Which other findings?", "The ten most frequent of the rest for each ad of the last hour.", "percentunit",
            (Query(
                'topk(10, adloom:creatives_findings:ratio_rate1h{finding!~"unsupported_.*"})', "{{finding}}",
            ),),
            kind="bars", height=11, width=8, runbooks=("AdloomValidityLow",),
        ),
        Panel(
            "Findings over time", "Findings an ad, those of grounding and those of form or style.", "none",
            tuple(
                Query(
                    f'sum(rate(adloom_creative_findings_total{{{API}, finding{match}"unsupported_.*"}}'
                    "[$__rate_interval]))"
                    f' / sum(rate(adloom_creatives_total{{{API}, outcome="written"}}[$__rate_interval]))', legend,
                )
                for match, legend in (("=~", "grounding"), ("!~", "form and style"))
            ),
            height=11, runbooks=("AdloomFindingsHigh",),
        ),
    )  # fmt: skip


def _versions() -> tuple[Panel, ...]:
    return (
        Panel(
            "Validity by version", "Mean validity of what each version writes; a canary stands beside the champion.",
            "none",
            (Query(
                f"{BY_VERSION} (rate({VALIDITY}_sum{{{API}}}[$__rate_interval]) * {OF_EACH_VERSION})"
                f" / {BY_VERSION} (rate({VALIDITY}_count{{{API}}}[$__rate_interval]) * {OF_EACH_VERSION})", VERSION,
            ),),
            alert="AdloomValidityLow", runbooks=("AdloomCanaryAborted",), top=1,
        ),
        Panel(
            "Findings an ad by version", "Findings of every kind for each ad, by the version that wrote it.", "none",
            (Query(
                f"{BY_VERSION} (rate(adloom_creative_findings_total{{{API}}}[$__rate_interval]) * {OF_EACH_VERSION})"
                f" / {BY_VERSION} (rate(adloom_creatives_total"
                f'{{{API}, outcome="written"}}[$__rate_interval]) * {OF_EACH_VERSION})', VERSION,
            ),),
            runbooks=("AdloomFindingsHigh", "AdloomCanaryAborted"),
        ),
        Panel(
            "Time of an ad by version, p95", "What nineteen in twenty requests for creatives stayed below.", "s",
            (Query(
                "histogram_quantile(0.95, sum by (le, version, rollouts_pod_template_hash)"
                " (rate(adloom_http_request_duration_seconds_bucket"
                f'{{{API}, route="/v1/creatives", method="POST"}}[$__rate_interval]) * {OF_EACH_VERSION}))', VERSION,
            ),),
            runbooks=("AdloomCanaryAborted", "AdloomLatencyBurnFast"),
        ),
    )  # fmt: skip


def _feedback_and_drift() -> tuple[Panel, ...]:
    return (
        Panel(
            "What do merchants say?", "Verdicts that were taken, an hour, by verdict.", "short",
            (Query(
                f"3600 * sum by (verdict) (rate(adloom_feedback_total{{{API}}}[$__rate_interval]))", "{{verdict}}",
            ),),
            runbooks=("AdloomFeedbackNegative",), stacked=True,
        ),
        Panel(
            "Has the world moved?", "Share of the columns that drifted in the newest report of the online window.",
            "percentunit", (Query(f"max(adloom_drift_share_ratio{{{EXPORTER}}})", "columns that drifted"),),
            alert="AdloomDriftFound", runbooks=("AdloomDriftHurts",), top=1,
        ),
        Panel(
            "How old is the drift report?", "Time since the newest report was made.", "s",
            (Query(f"time() - max(adloom_drift_report_timestamp_seconds{{{EXPORTER}}})", "age"),),
            alert="AdloomDriftReportStale",
        ),
        Panel(
            "How far is each feature?", "Distance in the newest report, as a share of what counts as drift: at 100 % "
            "and more the feature has drifted.", "percentunit",
            (Query(f"sort_desc({FEATURE_DISTANCE})", "{{feature}}"),), kind="bars", height=11, width=12,
            runbooks=("AdloomDriftFound", "AdloomDriftHurts"),
        ),
        Panel(
            "Which features move?", "The same over time, for the five that are furthest away at each moment.",
            "percentunit", (Query(f"topk(5, {FEATURE_DISTANCE})", "{{feature}}"),), height=11, width=12,
            runbooks=("AdloomDriftFound",),
        ),
    )  # fmt: skip
