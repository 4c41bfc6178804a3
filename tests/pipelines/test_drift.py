"""Drift on a real log, folder and database: from records to a verdict, a report and a row."""

from __future__ import annotations

import json

import pytest

from model.store import drift_reports
from pipelines.drift import reference as references
from pipelines.drift.reference import NoReferenceError
from pipelines.drift.traffic import Traffic, product
from pipelines.steps import decide_retrain, monitor_drift
from tests.pipelines.drift_log import HOUR, ORDINARY_HOURS, ROWS, START, Plant, answer, decide, drift

SHIFTED = Traffic(seed=500, shifted_share=0.4)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Four ordinary hours and the reference of them: a second goes into it."""
    plant = Plant(tmp_path_factory.mktemp("calibrated"))
    plant.database.upgrade()
    for hour in range(ORDINARY_HOURS):
        plant.log(hour, Traffic(seed=hour))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in plant.environment.items():
            patch.setenv(name, value)
        times = [START.isoformat(), (START + ORDINARY_HOURS * HOUR).isoformat()]
        monitor_drift.main(["reference", "--since", times[0], "--until", times[1], "--draws", "200"])
    plant.database.dispose()
    return plant.folder


def reports(plant):
    with plant.database.connect() as connection:
        return drift_reports.latest(connection, "ad_writer", "online", 100)


@pytest.mark.proof
def test_ordinary_traffic_is_steady_and_shifted_traffic_drifts_and_hurts(plant, capsys):
    plant.log(10, Traffic(seed=77))
    plant.log(11, SHIFTED)
    calm, shifted = drift(capsys, 10), drift(capsys, 11)

    assert (calm["verdict"], calm["hurts"], calm["share"], calm["rows"]) == ("steady", False, 0, ROWS)
    assert (shifted["verdict"], shifted["hurts"]) == ("drift", True)
    assert shifted["share"] > 0.3


def test_a_report_is_a_row_a_json_and_evidentlys_page_with_methods_pinned(plant, capsys):
    plant.log(11, SHIFTED)
    said = drift(capsys, 11)
    row, document = reports(plant)[0], json.loads(plant.objects.get(said["key"]))
    page = plant.objects.get(said["key"].replace(".json", ".html")).decode()
    methods = {column["name"]: column["method"] for column in row.columns["measured"]}

    assert (row.id, row.verdict, row.reference) == (said["report"], "drift", said["reference"])
    assert (row.window_start, row.window_end) == (START + 11 * HOUR, START + 12 * HOUR)
    assert (methods["description_chars"], methods["language"]) == ("wasserstein", "jensenshannon")
    assert row.columns["bundles"] == {"b" * 64: ROWS}
    assert document["findings_per_thousand"]["window"]["echo"] > document["findings_per_thousand"]["reference"]["echo"]
    assert document["evidently"]["version"].startswith("0.7.")
    assert "description_chars" in page


def test_our_distance_is_evidentlys_for_every_column(plant, capsys):
    plant.log(11, SHIFTED)
    document = json.loads(plant.objects.get(drift(capsys, 11)["key"]))
    ours = {column["name"]: column["distance"] for column in document["measured"] if column["distance"] is not None}

    assert len(ours) == 17
    assert document["evidently"]["distances"] == pytest.approx(ours, abs=2e-6)  # both are rounded to six places


def test_a_second_run_finds_the_first_ones_report(plant, capsys):
    plant.log(10, Traffic(seed=77))
    first = drift(capsys, 10)
    plant.log(10, SHIFTED)
    again = drift(capsys, 10)

    assert (first.pop("outcome"), again.pop("outcome")) == ("kept", "unchanged")
    assert again == first
    assert len(reports(plant)) == 1


def test_a_step_that_was_killed_before_its_row_does_the_window_again(plant, capsys, monkeypatch):
    plant.log(10, Traffic(seed=77))
    with monkeypatch.context() as patch:
        patch.setattr(drift_reports, "insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            drift(capsys, 10)
    between = reports(plant), plant.objects.list("drift/reports/")
    again = drift(capsys, 10)

    assert between[0] == []
    assert len(between[1]) == 2
    assert (again["outcome"], plant.objects.list("drift/reports/")) == ("kept", between[1])


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("rows", "verdict"), [(0, "too_few"), (8, "too_few"), (597, "too_few"), (600, "steady")])
def test_too_few_requests_are_no_verdict(plant, capsys, rows, verdict):
    """Three creatives a request: 597 are of 199 requests."""
    plant.log(10, Traffic(seed=77), rows)

    assert drift(capsys, 10)["verdict"] == verdict


def test_an_hour_without_a_log_is_too_few_and_never_steady(plant, capsys):
    found = drift(capsys, 20)

    assert (found["verdict"], found["rows"], found["hurts"]) == ("too_few", 0, False)
    assert not [key for key in plant.objects.list("drift/reports/") if key.endswith(".html")]


def test_a_half_written_last_line_is_passed_over_and_counted(plant, capsys):
    plant.log(10, Traffic(seed=77), end=b'\n{"form":1,"time":"2026-01-01T10:59:59.9')
    plant.put(10, b"[]\nnull\n\xff\xfe\n" + b'{"time":"2026-01-01T10:30:00"}\n', "b")
    found = drift(capsys, 10)

    assert (found["verdict"], found["rows"]) == ("steady", ROWS)
    assert reports(plant)[0].columns["skipped"] == 5


def test_a_record_counts_in_the_hour_when_it_was_made_not_when_it_was_written(plant, capsys):
    plant.log(10, Traffic(seed=77))
    late = plant.objects.get("generations/date=2026-01-01/hour=10/a.jsonl").splitlines()[-60:]
    plant.put(11, b"\n".join(late), "late")

    assert drift(capsys, 10)["rows"] == ROWS + 60
    assert drift(capsys, 11)["rows"] == 0


def test_a_product_in_several_channels_came_in_once(plant, capsys):
    plant.log(10, Traffic(seed=77))
    drift(capsys, 10)
    rows = {column["name"]: column["rows"] for column in reports(plant)[0].columns["measured"]}

    assert (rows["title_chars"], rows["validity"]) == (ROWS // 3, ROWS)


def test_without_a_reference_drift_says_what_to_do(tmp_path, monkeypatch):
    for name, value in Plant(tmp_path).environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(NoReferenceError, match="adloom drift reference"):
        monitor_drift.main([])


def test_a_damaged_reference_is_refused(plant, capsys):
    key = f"drift/references/{references.current(plant.objects)}.parquet"
    plant.objects.put(key, plant.objects.get(key)[:-10])

    with pytest.raises(NoReferenceError, match="damaged"):
        drift(capsys, 10)


def test_the_same_reference_again_changes_nothing(plant, capsys):
    times = [START.isoformat(), (START + ORDINARY_HOURS * HOUR).isoformat()]
    before = references.current(plant.objects)
    monitor_drift.main(["reference", "--since", times[0], "--until", times[1], "--draws", "200"])
    found = answer(capsys)

    assert (found["outcome"], found["reference"]) == ("unchanged", before)


def test_a_reference_comes_back_from_parquet_as_it_was(plant):
    digest = references.current(plant.objects)
    found = references.load(plant.objects, digest)

    assert references.keep(plant.objects, found) == (digest, False)
    assert found.validity_mean == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reference"], "either --snapshot"),
        (["reference", "--since", "2026-03-01T00:00:00Z", "--until", "2026-03-01T05:00:00Z"], "no record of that time"),
        (["reference", "--since", "2026-01-01T00:00:00Z", "--until", "2026-01-01T00:20:00Z"], "needs 200 inputs"),
        (["reference", "--snapshot", "f" * 64], "no snapshot of that digest"),
        (["reference", "--since", "2026-01-01T00:00:00Z", "--rows-min", "20"], "--rows-min of 50"),
        (["--since", "2026-01-01T00:00:00Z"], "both --since and --until"),
        (["--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], "end after it begins"),
        (["--since", "2020-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], "longer than 92 days"),
        (["--mode", "batch"], "no such snapshot"),
        (["--mode", "batch", "--snapshot", "../secret"], "no such snapshot"),
        (["--reference", "f" * 64, "--since", "2026-01-01T00:00:00Z", "--until", "2026-01-01T01:00:00Z"], "drift ref"),
    ],
)  # fmt: skip
def test_bad_input_says_what_to_do(plant, arguments, message):
    with pytest.raises(ValueError, match=message):
        monitor_drift.main(arguments)


@pytest.mark.parametrize("arguments", [["--since", "2026-01-01T00:00:00"], ["--window-seconds", "0"], ["--mode", "x"]])
def test_a_wrong_argument_is_status_2(plant, arguments):
    with pytest.raises(SystemExit) as stopped:
        monitor_drift.main(arguments)

    assert stopped.value.code == 2


def test_a_snapshot_is_compared_with_a_snapshots_reference(plant, capsys):
    ordinary = [product(number) for number in range(400)]
    plant.keep_snapshot("aa", ordinary)
    plant.keep_snapshot("bb", [*ordinary[:200], *(product(number, is_foreign=True) for number in range(200))])
    monitor_drift.main(["reference", "--snapshot", "aa", "--draws", "200"])
    verdicts = []
    for digest in ("aa", "bb"):
        monitor_drift.main(["--mode", "batch", "--snapshot", digest])
        verdicts.append(answer(capsys))

    assert [found["verdict"] for found in verdicts] == ["steady", "drift"]
    assert [found["rows"] for found in verdicts] == [400, 400]
    assert {found["hurts"] for found in verdicts} == {False}


def test_each_link_that_is_cut_stops_the_decision_and_says_where(plant, capsys):
    """Log, report, decision: the same three shifted hours lead to a retrain only with all of them."""
    nothing = decide(capsys, 13)
    for hour in (10, 11, 12):
        drift(capsys, hour)
    unlogged = decide(capsys, 13)
    for hour in (20, 21, 22):
        plant.log(hour, Traffic(seed=hour, shifted_share=0.4))
    unreported = decide(capsys, 23)
    for hour in (20, 21):
        drift(capsys, hour)
    decided = decide(capsys, 23)

    assert (nothing["decision"], unlogged["decision"], unreported["decision"]) == ("no", "no", "no")
    assert "no drift report" in nothing["why"]
    assert "too few rows" in unlogged["why"]
    assert "too few rows" in unreported["why"]
    assert (decided["decision"], decided["trigger"]) == ("retrain", "drift")


def test_help_shows_an_example(capsys):
    for step, line in ((monitor_drift, "adloom drift --mode batch"), (decide_retrain, "adloom decide-retrain --ask")):
        with pytest.raises(SystemExit):
            step.main(["--help"])

        assert line in capsys.readouterr().out
