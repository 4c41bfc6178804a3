"""The dashboard `adloom-cost`: what an ad costs in processor and memory, and what is paid for and not used."""

from __future__ import annotations

from app.watch.panels import API, Board, Panel, Query, Row, number

WRITTEN = f'adloom_creatives_total{{{API}, outcome="written"}}'
CPU = f"process_cpu_seconds_total{{{API}}}"
TOKENS = f"adloom_generated_tokens_total{{{API}}}"
MEMORY = f"process_resident_memory_bytes{{{API}}}"
CONTAINER = 'namespace=~"$namespace", container="adloom-api"'
KUBELET = "the kubelet and kube-state-metrics measure containers; a local process has none"


def board() -> Board:
    """In core-hours, not money: what a core-hour costs is the cloud's to say."""
    return Board(
        uid="adloom-cost",
        title="Adloom: cost",
        answers="What does an ad cost in processor time and memory, and how much of what is paid for stands idle?",
        rows=(
            Row("What does an ad cost?", _now()),
            Row("Over time", _over_time()),
            Row("What is paid for and not used", _unused()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    return (
        number(
            "Ads a core-hour",
            "Creatives written for each hour of processor time that the service used, last hour.",
            "short",
            f"3600 * sum(increase({WRITTEN}[1h])) / sum(increase({CPU}[1h]))",
        ),
        number(
            "Processor time of an ad",
            "Core-seconds of the service for each creative that was written, last hour.",
            "s",
            f"sum(increase({CPU}[1h])) / sum(increase({WRITTEN}[1h]))",
        ),
        number(
            "Tokens a core-second",
            "Tokens of the network for each second of processor time, last hour.",
            "short",
            f"sum(increase({TOKENS}[1h])) / sum(increase({CPU}[1h]))",
            decimals=1,
        ),
        number(
            "Tokens of an ad kept",
            "Tokens for each creative that was kept, those of dropped candidates included.",
            "short",
            f"sum(increase({TOKENS}[1h])) / sum(increase({WRITTEN}[1h]))",
            decimals=0,
        ),
        number("Cores in use", "Cores that all replicas keep busy.", "cores", f"sum(rate({CPU}[$__rate_interval]))"),
        number("Memory", "Resident memory of all replicas.", "bytes", f"sum({MEMORY})"),
    )


def _over_time() -> tuple[Panel, ...]:
    return (
        Panel(
            "Ads a core-hour", "The same over time; it falls when rows no longer share steps, or ads grow longer.",
            "short",
            (Query(f"3600 * sum(rate({WRITTEN}[$__rate_interval])) / sum(rate({CPU}[$__rate_interval]))", "ads"),),
        ),
        Panel(
            "Tokens a core-second", "What a core writes in a second.", "short",
            (Query(f"sum(rate({TOKENS}[$__rate_interval])) / sum(rate({CPU}[$__rate_interval]))", "tokens"),),
        ),
        Panel(
            "Tokens of an ad kept", "Rises with the number of candidates that clients ask for, and with their length.",
            "short",
            (Query(f"sum(rate({TOKENS}[$__rate_interval])) / sum(rate({WRITTEN}[$__rate_interval]))", "tokens"),),
        ),
        Panel(
            "Cores by replica", "Cores that each replica keeps busy.", "cores",
            (Query(f"rate({CPU}[$__rate_interval])", "{{instance}}"),), stacked=True,
        ),
        Panel(
            "Memory by replica", "Resident memory; the bundle's weights are most of it.", "bytes",
            (Query(MEMORY, "{{instance}}"),), stacked=True,
        ),
        Panel(
            "Rows that share a step", "The more rows share a step of the network, the cheaper is each.", "short",
            (Query(
                f"sum(rate(adloom_engine_batch_size_sum{{{API}}}[$__rate_interval]))"
                f" / sum(rate(adloom_engine_batch_size_count{{{API}}}[$__rate_interval]))", "rows",
            ),),
        ),
    )  # fmt: skip


def _unused() -> tuple[Panel, ...]:
    return (
        Panel(
            "Memory of what is asked for", "Working set of the containers as a share of their memory request.",
            "percentunit",
            (Query(
                f"sum(container_memory_working_set_bytes{{{CONTAINER}}})"
                f' / sum(kube_pod_container_resource_requests{{{CONTAINER}, resource="memory"}})', "used",
            ),), platform=KUBELET,
        ),
        Panel(
            "Processor of what is asked for", "Cores in use as a share of the processor request of the containers.",
            "percentunit",
            (Query(
                f"sum(rate(container_cpu_usage_seconds_total{{{CONTAINER}}}[$__rate_interval]))"
                f' / sum(kube_pod_container_resource_requests{{{CONTAINER}, resource="cpu"}})', "used",
            ),), platform=KUBELET,
        ),
        Panel(
            "Is it throttled?", "Share of the scheduler's periods in which a container had used up its limit.",
            "percentunit",
            (Query(
                f"sum(rate(container_cpu_cfs_throttled_periods_total{{{CONTAINER}}}[$__rate_interval]))"
                f" / sum(rate(container_cpu_cfs_periods_total{{{CONTAINER}}}[$__rate_interval]))", "throttled",
            ),), runbooks=("AdloomLatencyBurnFast",), platform=KUBELET,
        ),
    )  # fmt: skip
