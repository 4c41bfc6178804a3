"""The metrics of the service and the exporter: names and labels as agreed, values as they happened."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app import exporter
from app.metrics import DECLARED, OUTCOMES, Metrics, ModelFacts, Sources
from app.settings import Settings
from app.studio import Commission, DeadlineError, StudioBusyError, StudioDownError, WritingError
from model.channel import channel, channels
from model.creative import Creative, Finding
from model.product import Product
from model.validity import FINDINGS
from tests.app.service_client import CLIENT, order, service
from tests.fakes import FakeWriter

AGREED_SERVICE = {
    "adloom_http_request_duration_seconds": {"route", "method", "status"},
    "adloom_creatives_total": {"channel", "outcome"},
    "adloom_creative_validity_ratio": {"channel"},
    "adloom_creative_findings_total": {"finding"},
    "adloom_generated_tokens_total": set(),
    "adloom_time_to_first_token_seconds": set(),
    "adloom_engine_queue_depth": set(),
    "adloom_engine_batch_size": set(),
    "adloom_engine_wait_seconds": set(),
    "adloom_model_info": {"version", "bundle", "commit"},
    "adloom_feedback_total": {"verdict"},
    "adloom_store_errors_total": {"part"},
    "adloom_generation_log_held_rows": set(),
    "adloom_generation_log_dropped_total": set(),
    "adloom_rate_limited_total": {"route"},
    "adloom_engine_queue_capacity": set(),
    "adloom_writer_up": set(),
    "adloom_limits_store_up": set(),
    "adloom_commit_timestamp_seconds": {"commit"},
}
AGREED_EXPORTER = {
    "adloom_drift_share_ratio": set(),
    "adloom_drift_feature_ratio": {"feature"},
    "adloom_drift_report_timestamp_seconds": set(),
    "adloom_champion_version": set(),
    "adloom_truth_divergence": set(),
    "adloom_ingest_timestamp_seconds": set(),
    "adloom_catalogue_products": set(),
    "adloom_drift_hurts": set(),
    "adloom_retrains_total": {"trigger", "outcome"},
    "adloom_retrains_useless": set(),
    "adloom_pipeline_failures_total": {"dag"},
    "adloom_pipeline_late_total": {"dag"},
    "adloom_pipeline_success_timestamp_seconds": {"dag"},
    "adloom_batches": {"state"},
    "adloom_batch_progress_timestamp_seconds": set(),
    "adloom_retrains_spent": set(),
    "adloom_certificate_expiry_timestamp_seconds": set(),
    "adloom_exporter_source_up": {"source"},
    "adloom_exporter_source_success_timestamp_seconds": {"source"},
}
BOWL = Product(sku="BOWL", title="Blue ceramic bowl", description="Holds 0.5 l.")


@dataclass
class Tallied:
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@dataclass
class EngineNumbers:
    """Satisfies metrics.EngineCounts."""

    tokens: int = 1234
    step_rows: Tallied = field(default_factory=lambda: Tallied((1, 4), (2, 0, 3), 26.0))
    wait_seconds: Tallied = field(default_factory=lambda: Tallied((0.1,), (5, 0), 0.25))
    first_token_seconds: Tallied = field(default_factory=lambda: Tallied((0.1, 1), (0, 4, 1), 3.5))


@dataclass
class Held:
    """Satisfies metrics.HeldRows."""

    held: int = 7
    dropped: int = 9


FULL = Sources(
    queue_depth=lambda: 3,
    queue_capacity=lambda: 16,
    is_writer_up=lambda: True,
    is_limits_store_up=lambda: False,
    engine=EngineNumbers,
    generation_log=Held,
)


def values(metrics: Metrics) -> dict[str, float]:
    """Every sample by name and labels, as Prometheus writes them."""
    return {
        f"{sample.name}{{{','.join(f'{key}={value}' for key, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(metrics.exposition()[0].decode())
        for sample in family.samples
    }


def creative(validity: float = 1.0, *kinds: str) -> Creative:
    written = FakeWriter().write(BOWL, channel("instagram"))[0]
    return replace(written, validity=validity, findings=tuple(Finding(kind, "body", "") for kind in kinds))


def test_service_and_exporter_declare_what_was_agreed() -> None:
    assert {each.name: set(each.labels) for each in DECLARED} == AGREED_SERVICE
    assert {each.name: set(each.labels) for each in exporter.DECLARED} == AGREED_EXPORTER


def test_every_declared_metric_and_no_other_of_ours_is_in_a_scrape_with_its_labels_and_its_help() -> None:
    metrics = Metrics(ModelFacts(commit="0123abc", commit_seconds=1_790_000_000), FULL)
    metrics.request("POST", "/v1/creatives", 429, 0.1)
    found = {}
    for family in text_string_to_metric_families(metrics.exposition()[0].decode()):
        if not family.name.startswith("process_"):
            suffix = "_total" if family.type == "counter" else ""
            labels = {label for sample in family.samples for label in sample.labels}
            found[family.name + suffix] = labels - {"le"}
            assert family.documentation.endswith("."), family.name

    assert found == AGREED_SERVICE


def test_a_scrape_holds_what_the_process_costs() -> None:
    assert values(Metrics())["process_resident_memory_bytes{}"] > 1_000_000


def test_a_request_is_counted_under_its_template_and_never_under_its_path() -> None:
    metrics = Metrics()
    metrics.request("GET", "/v1/creatives/{creative_id}", 200, 0.012)
    metrics.request("GET", "", 404, 0.001)
    metrics.request("BREW", "", 404, 0.001)
    found = values(metrics)
    name, template = "adloom_http_request_duration_seconds", "/v1/creatives/{creative_id}"

    assert found[f"{name}_bucket{{le=0.01,method=GET,route={template},status=200}}"] == 0
    assert found[f"{name}_bucket{{le=0.05,method=GET,route={template},status=200}}"] == 1
    assert found[f"{name}_sum{{method=GET,route={template},status=200}}"] == 0.012
    assert found[f"{name}_count{{method=GET,route=unmatched,status=404}}"] == 1
    assert found[f"{name}_count{{method=other,route=unmatched,status=404}}"] == 1


def test_a_request_that_its_client_left_counts_as_499() -> None:
    metrics = Metrics()
    metrics.request("GET", "/docs", 0, 0.1)

    assert values(metrics)["adloom_http_request_duration_seconds_count{method=GET,route=/docs,status=499}"] == 1


def test_only_429_counts_as_limited() -> None:
    metrics = Metrics()
    metrics.request("GET", "/v1/channels", 429, 0.1)
    metrics.request("GET", "/v1/creatives", 428, 0.1)
    found = values(metrics)

    assert found["adloom_rate_limited_total{route=/v1/channels}"] == 1
    assert "adloom_rate_limited_total{route=/v1/creatives}" not in found


def test_a_creative_is_counted_with_its_validity_and_findings() -> None:
    metrics = Metrics()
    metrics.written(creative())
    metrics.written(creative(0.5, "unsupported_number", "echo"))
    found = values(metrics)

    assert found["adloom_creatives_total{channel=instagram,outcome=written}"] == 2
    assert found["adloom_creative_validity_ratio_bucket{channel=instagram,le=0.5}"] == 1
    assert found["adloom_creative_validity_ratio_bucket{channel=instagram,le=0.99}"] == 1
    assert found["adloom_creative_validity_ratio_sum{channel=instagram}"] == 1.5
    assert found["adloom_creative_findings_total{finding=unsupported_number}"] == 1
    assert found["adloom_creative_findings_total{finding=echo}"] == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StudioBusyError(4), "refused"),
        (DeadlineError(), "late"),
        (StudioDownError(), "unavailable"),
        (WritingError(), "failed"),
    ],
)
def test_a_commission_that_fails_counts_once_for_each_of_its_channels(error: Exception, outcome: str) -> None:
    metrics = Metrics()
    metrics.failed(Commission(BOWL, (channel("x"), channel("linkedin")), "plain", 4, 0), error)
    counted = {name for name, value in values(metrics).items() if name.startswith("adloom_creatives_total") and value}

    assert counted == {f"adloom_creatives_total{{channel={name},outcome={outcome}}}" for name in ("x", "linkedin")}


def test_series_that_rules_will_ask_for_begin_at_zero() -> None:
    found = values(Metrics())

    for name in channels():
        for outcome in OUTCOMES:
            assert found[f"adloom_creatives_total{{channel={name},outcome={outcome}}}"] == 0
        assert found[f"adloom_creative_validity_ratio_count{{channel={name}}}"] == 0
    for kind in FINDINGS:
        assert found[f"adloom_creative_findings_total{{finding={kind}}}"] == 0
    for verdict in ("accept", "edit", "reject"):
        assert found[f"adloom_feedback_total{{verdict={verdict}}}"] == 0
    for part in ("database", "objects"):
        assert found[f"adloom_store_errors_total{{part={part}}}"] == 0


def test_answers_and_refusals_that_are_expected_begin_at_zero_and_others_with_their_first() -> None:
    metrics = Metrics()
    metrics.expect([("POST", "/v1/creatives", 500)], ["/v1/creatives", "/v1/channels"])
    before = values(metrics)
    metrics.request("POST", "/v1/creatives", 500, 0.1)
    name = "adloom_http_request_duration_seconds_count"

    assert {key: value for key, value in before.items() if key.startswith((name, "adloom_rate_limited"))} == {
        f"{name}{{method=POST,route=/v1/creatives,status=500}}": 0,
        "adloom_rate_limited_total{route=/v1/creatives}": 0,
        "adloom_rate_limited_total{route=/v1/channels}": 0,
    }
    assert values(metrics)[f"{name}{{method=POST,route=/v1/creatives,status=500}}"] == 1


def test_verdicts_and_store_errors_are_counted() -> None:
    metrics = Metrics()
    metrics.feedback("reject")
    metrics.store_error("database")
    found = values(metrics)

    assert found["adloom_feedback_total{verdict=reject}"] == 1
    assert found["adloom_store_errors_total{part=database}"] == 1


def test_the_engine_the_queue_and_the_log_are_read_when_the_scrape_comes() -> None:
    found = values(Metrics(sources=FULL))

    assert found["adloom_generated_tokens_total{}"] == 1234
    assert (found["adloom_engine_queue_depth{}"], found["adloom_engine_queue_capacity{}"]) == (3, 16)
    assert (found["adloom_writer_up{}"], found["adloom_limits_store_up{}"]) == (1, 0)
    assert [found[f"adloom_engine_batch_size_bucket{{le={bound}}}"] for bound in ("1.0", "4.0", "+Inf")] == [2, 2, 5]
    assert found["adloom_engine_batch_size_sum{}"] == 26
    assert found["adloom_engine_wait_seconds_count{}"] == 5
    assert found["adloom_time_to_first_token_seconds_bucket{le=1.0}"] == 4
    assert found["adloom_generation_log_held_rows{}"] == 7
    assert found["adloom_generation_log_dropped_total{}"] == 9


def test_without_an_engine_nothing_is_said_about_one() -> None:
    assert not [name for name in values(Metrics()) if "engine" in name or "token" in name or "_log_" in name]


def test_what_is_running_stands_in_one_series() -> None:
    found = values(Metrics(ModelFacts(version="7", bundle="ab" * 32, commit="0123abc")))

    assert found[f"adloom_model_info{{bundle={'ab' * 32},commit=0123abc,version=7}}"] == 1


def test_the_time_of_the_commit_is_published_where_it_is_known() -> None:
    found = values(Metrics(ModelFacts(commit="0123abc", commit_seconds=1_790_000_000)))
    unknown = values(Metrics(ModelFacts(commit="0123abc")))

    assert found["adloom_commit_timestamp_seconds{commit=0123abc}"] == 1_790_000_000
    assert [name for name in unknown if "commit_timestamp" in name] == []


@pytest.mark.parametrize(("given", "known"), [("1790000000", 1_790_000_000), ("", 0), ("0", 0)])
def test_an_image_from_outside_a_repository_has_no_time_of_its_commit(
    given: str, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADLOOM_GIT_COMMIT_TIMESTAMP_SECONDS", given)

    assert Settings().git_commit_timestamp_seconds == known


@pytest.mark.parametrize("given", ["-1", "yesterday", " "])
def test_a_time_of_the_commit_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADLOOM_GIT_COMMIT_TIMESTAMP_SECONDS", given)

    with pytest.raises(ValueError, match="git_commit_timestamp_seconds"):
        Settings()


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text; version=1.0.0, text/plain;q=0.5", "application/openmetrics-text;version=x"],
)
def test_a_scraper_that_wants_openmetrics_gets_it(accept: str) -> None:
    text, media_type = Metrics(sources=FULL).exposition(accept)

    assert media_type.startswith("application/openmetrics-text")
    assert "adloom_generated_tokens" in {family.name for family in parse_openmetrics(text.decode())}


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=x", "text/html"])
def test_any_other_gets_plain_text(accept: str) -> None:
    assert Metrics().exposition(accept)[1].startswith("text/plain; version=0.0.4")


@pytest.mark.anyio
async def test_a_running_service_publishes_every_metric_to_whoever_asks_without_a_token() -> None:
    built = {"git_commit": "0123abc", "git_commit_timestamp_seconds": 1_790_000_000}
    async with service(limits={"listChannels": "1/minute"}, **built) as client:
        written = await client.post("/v1/creatives", json=order())
        for _ in range(2):
            await client.get("/v1/channels")
        await client.get("/nowhere/at/all")
        scrape = await client.get("/metrics", headers={"Authorization": ""})
    text = scrape.text

    assert (written.status_code, scrape.status_code) == (200, 200)
    assert scrape.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert [name for name in AGREED_SERVICE if f"# TYPE {name.removesuffix('_total')}" not in text] == []
    for line in (
        'adloom_http_request_duration_seconds_count{method="POST",route="/v1/creatives",status="200"} 1.0',
        'adloom_http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 1.0',
        'adloom_creatives_total{channel="instagram",outcome="written"} 1.0',
        'adloom_rate_limited_total{route="/v1/channels"} 1.0',
        'adloom_rate_limited_total{route="/v1/creatives"} 0.0',
        'adloom_commit_timestamp_seconds{commit="0123abc"} 1.79e+09',
    ):
        assert line in text
    assert "nowhere" not in text
    assert CLIENT not in text


@pytest.mark.anyio
async def test_openmetrics_comes_over_http_too() -> None:
    async with service() as client:
        scrape = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert scrape.headers["content-type"].startswith("application/openmetrics-text")
    assert scrape.text.endswith("# EOF\n")


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.feedback("accept")

    assert values(one)["adloom_feedback_total{verdict=accept}"] == 1
    assert values(other)["adloom_feedback_total{verdict=accept}"] == 0
