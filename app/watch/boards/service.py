"""The dashboard `adloom-service`: is it up, does it answer, how fast, and what holds it back."""

from __future__ import annotations

from app.watch.panels import API, CHANNEL, Board, Panel, Query, Row, number

WRITE = f'{API}, route="/v1/creatives", method="POST"'
OF_CLIENTS = f'{API}, route=~"/v[12]/.+", route!~"/v2/health/.*"'
LOOK_UP = f'{API}, method="GET", route=~"/v1/.*"'
QUEUE_TAKEN = (
    f"sum(avg_over_time(adloom_engine_queue_depth{{{API}}}[5m]))"
    f" / sum(avg_over_time(adloom_engine_queue_capacity{{{API}}}[5m]))"
)
"""As the rule has it: five minutes, so that one full moment is no alarm."""
SECONDS = "adloom_http_request_duration_seconds"


def board() -> Board:
    """Read from the top left: alerts, then the promises, then what would break them."""
    return Board(
        uid="adloom-service",
        title="Adloom: service",
        answers="Do requests get their answers in time, and if not, what holds them up?",
        rows=(
            Row("Is it well?", _promises()),
            Row("Requests", _requests()),
            Row("What holds it up", _saturation()),
            Row("What it leans on", _leans_on()),
        ),
        has_channels=True,
    )


def _promises() -> tuple[Panel, ...]:
    return (
        number(
            "Alerts that fire", "Adloom's alerts that fire now, of every severity; Alertmanager has their names.",
            "short", 'count(ALERTS{alertname=~"Adloom.+", alertstate="firing"}) or vector(0)', good="low",
        ),
        number(
            "Replicas that answer", "Instances of the service that Prometheus could scrape at its last try.",
            "short", f"sum(up{{{API}}})", runbooks=("AdloomServiceDown",), good="high",
        ),
        number(
            "Requests that fail, 1 h", "Share of the last hour's requests that were answered with 5xx.",
            "percentunit", "adloom:http_errors:ratio_rate1h", alert="AdloomAvailabilityBurnFast", decimals=2,
        ),
        number(
            "Ads slower than 5 s, 1 h", "Share of the last hour's ads that took longer than 5 s.",
            "percentunit", "adloom:creatives_slow:ratio_rate1h", alert="AdloomLatencyBurnFast", decimals=2,
        ),
        number(
            "Ads a minute", "Creatives that were written and kept, over all channels that are chosen.",
            "cpm", f'60 * sum(rate(adloom_creatives_total{{{API}, {CHANNEL}, outcome="written"}}[$__rate_interval]))',
        ),
        number(
            "Queue taken", "Share of the places in the queues of all replicas that are taken; full, requests get 503.",
            "percentunit", QUEUE_TAKEN, alert="AdloomQueueSaturated", decimals=0,
        ),
    )  # fmt: skip


def _requests() -> tuple[Panel, ...]:
    return (
        Panel(
            "Is availability being spent?", "Share of requests that fail with 5xx, over a short and a long window.",
            "percentunit",
            (
                Query("adloom:http_errors:ratio_rate5m", "5 min"), Query("adloom:http_errors:ratio_rate1h", "1 h"),
                Query("adloom:http_errors:ratio_rate1d", "1 d"),
            ),
            alert="AdloomAvailabilityBurnFast", runbooks=("AdloomAvailabilityBurnSlow",),
        ),
        Panel(
            "Is latency being spent?", "Share of ads that take longer than 5 s, over a short and a long window.",
            "percentunit",
            (
                Query("adloom:creatives_slow:ratio_rate5m", "5 min"),
                Query("adloom:creatives_slow:ratio_rate1h", "1 h"), Query("adloom:creatives_slow:ratio_rate1d", "1 d"),
            ),
            alert="AdloomLatencyBurnFast", runbooks=("AdloomLatencyBurnSlow",),
        ),
        Panel(
            "How long does an ad take?", "Time from a request's arrival to the end of its answer, for new creatives.",
            "s",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le)"
                    f" (rate({SECONDS}_bucket{{{WRITE}}}[$__rate_interval])))", f"p{quantile * 100:.0f}",
                )
                for quantile in (0.5, 0.95, 0.99)
            ),
            runbooks=("AdloomLatencyBurnFast", "AdloomLatencyBurnSlow"),
        ),
        Panel(
            "Who asks for what?", "Requests of clients by route; probes and scrapes are left out.", "reqps",
            (Query(f"sum by (route) (rate({SECONDS}_count{{{OF_CLIENTS}}}[$__rate_interval]))", "{{route}}"),),
            runbooks=("AdloomRateLimiting",),
        ),
        Panel(
            "Which answers are errors?", "Share of all requests by status, of those that were not answered with 2xx.",
            "percentunit",
            (Query(
                f'sum by (status) (rate({SECONDS}_count{{{OF_CLIENTS}, status!~"2.."}}[$__rate_interval]))'
                f" / on () group_left () sum(rate({SECONDS}_count{{{OF_CLIENTS}}}[$__rate_interval]))", "{{status}}",
            ),),
            runbooks=("AdloomAvailabilityBurnFast", "AdloomAvailabilityBurnSlow", "AdloomAuthenticationFailures"),
        ),
        Panel(
            "What became of the ads?", "Creatives by outcome: those not written were refused, late, or failed.", "cpm",
            (Query(
                f"60 * sum by (outcome) (rate(adloom_creatives_total{{{API}, {CHANNEL}}}[$__rate_interval]))",
                "{{outcome}}",
            ),),
            runbooks=("AdloomLoadShedding", "AdloomBundleLoadFailed"), stacked=True,
        ),
    )  # fmt: skip


def _saturation() -> tuple[Panel, ...]:
    return (
        Panel(
            "Requests that wait", "Requests at the engine's door or behind it, by replica.", "short",
            (Query(f"adloom_engine_queue_depth{{{API}}}", "{{instance}}"),), runbooks=("AdloomQueueSaturated",),
        ),
        Panel(
            "Wait in the engine", "From the engine's taking a request to the first of its prompt being read.", "s",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le)"
                    f" (rate(adloom_engine_wait_seconds_bucket{{{API}}}[$__rate_interval])))", f"p{quantile * 100:.0f}",
                )
                for quantile in (0.5, 0.95)
            ),
        ),
        Panel(
            "Time to the first token", "From the engine's taking a request to its first token, waiting included.", "s",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le)"
                    f" (rate(adloom_time_to_first_token_seconds_bucket{{{API}}}[$__rate_interval])))",
                    f"p{quantile * 100:.0f}",
                )
                for quantile in (0.5, 0.95)
            ),
        ),
        Panel(
            "Tokens a second", "What the network writes, by replica.", "short",
            (Query(f"rate(adloom_generated_tokens_total{{{API}}}[$__rate_interval])", "{{instance}}"),),
        ),
        Panel(
            "Rows that share a step", "Mean of the rows in a step of the network, and nine in ten steps at most.",
            "short",
            (
                Query(
                    f"sum(rate(adloom_engine_batch_size_sum{{{API}}}[$__rate_interval]))"
                    f" / sum(rate(adloom_engine_batch_size_count{{{API}}}[$__rate_interval]))", "mean",
                ),
                Query(
                    "histogram_quantile(0.9, sum by (le)"
                    f" (rate(adloom_engine_batch_size_bucket{{{API}}}[$__rate_interval])))", "p90",
                ),
            ),
        ),
        Panel(
            "Processor", "Cores that each replica keeps busy.", "cores",
            (Query(f"rate(process_cpu_seconds_total{{{API}}}[$__rate_interval])", "{{instance}}"),),
        ),
    )  # fmt: skip


def _leans_on() -> tuple[Panel, ...]:
    return (
        Panel(
            "How long does a look-up take?", "The same for GET requests of the API, which promise 10 ms.", "s",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le)"
                    f" (rate({SECONDS}_bucket{{{LOOK_UP}}}[$__rate_interval])))", f"p{quantile * 100:.0f}",
                )
                for quantile in (0.5, 0.95)
            ),
            runbooks=("AdloomDatabaseDown",), width=6,
        ),
        Panel(
            "Do the stores answer?", "Calls to a store that failed, a minute, by store.", "cpm",
            (Query(f"60 * sum by (part) (rate(adloom_store_errors_total{{{API}}}[$__rate_interval]))", "{{part}}"),),
            runbooks=("AdloomDatabaseDown", "AdloomObjectStoreDown", "AdloomLimitsStoreDown"), width=6,
        ),
        Panel(
            "Is the log written?", "Generations that wait for the object store, and those that were given up.", "short",
            (
                Query(f"sum(adloom_generation_log_held_rows{{{API}}})", "waiting"),
                Query(f"sum(increase(adloom_generation_log_dropped_total{{{API}}}[1h]))", "dropped in an hour"),
            ),
            runbooks=("AdloomGenerationLogDropped", "AdloomObjectStoreDown"), width=6,
        ),
        Panel(
            "Who is turned away?", "Answers a minute that refuse a caller: bad token, no right, too many requests.",
            "cpm",
            (Query(
                f'60 * sum by (status) (rate({SECONDS}_count{{{API}, status=~"401|403|429"}}[$__rate_interval]))',
                "{{status}}",
            ),),
            runbooks=("AdloomAuthenticationFailures", "AdloomRateLimiting"), width=6,
        ),
    )  # fmt: skip
