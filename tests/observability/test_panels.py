"""The panels: every query is answered by a real Prometheus that has scraped service and exporter under traffic."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import replace
from typing import get_args

import pytest
import yaml
from PIL import Image

from app.exporter import DECLARED as OF_EXPORTER
from app.watch import dashboards, sample_day
from app.watch.dashboards import all_boards, metrics_of, unknown_metrics
from app.watch.figures import shown
from app.watch.panels import Board, Kind, Panel, Query, Row, filled, places
from app.watch.platform_metrics import EVERYWHERE, IN_A_CLUSTER
from app.watch.series import PrometheusError, Window, ask
from app.watch.thresholds import thresholds
from tests.repo.tree import ROOT

BOARDS = {board.uid: board for board in all_boards()}
PANELS = {f"{uid}: {panel.title}": panel for uid, board in BOARDS.items() for panel in board.panels}
LOCAL = {name: panel for name, panel in PANELS.items() if not panel.platform}
SPEED = 60
"""Rules that look back an hour then look back a minute, and those of a day see less than half of one."""
TRAFFIC_SECONDS = 12.0
RATE_SECONDS = 8
TRIES_MAX = 8
COMMITTED_AGO_SECONDS = 600
BUILT = {
    "ADLOOM_GIT_COMMIT": "0123abc",
    "ADLOOM_GIT_COMMIT_TIMESTAMP_SECONDS": f"{time.time() - COMMITTED_AGO_SECONDS:.0f}",
}


def test_every_metric_is_published_by_us_recorded_or_on_the_short_list():
    assert unknown_metrics(ROOT) == []


def test_a_metric_that_is_renamed_is_told(monkeypatch):
    kept = tuple(one for one in OF_EXPORTER if one.name != "adloom_drift_hurts")
    monkeypatch.setattr(dashboards, "OF_EXPORTER", kept)

    assert len(kept) == len(OF_EXPORTER) - 1
    assert unknown_metrics(ROOT) == [
        "adloom-model: 'Does drift hurt?' asks for adloom_drift_hurts, which nobody publishes"
    ]


@pytest.mark.parametrize("name", [name for name, panel in PANELS.items() if panel.platform])
def test_a_panel_that_a_laptop_cannot_feed_says_why(name):
    panel = PANELS[name]

    assert len(panel.platform) > 20
    assert metrics_of(panel) & set(IN_A_CLUSTER) or "https" in panel.platform


def test_the_short_list_holds_nothing_that_no_panel_shows():
    asked = set().union(*map(metrics_of, PANELS.values()))

    assert set(IN_A_CLUSTER) | set(EVERYWHERE) <= asked
    assert not any(metrics_of(panel) & set(IN_A_CLUSTER) for panel in LOCAL.values())


def test_a_variable_that_no_dashboard_has_is_refused():
    assert filled('a{b=~"$namespace"}[$__rate_interval]', rate_seconds=60, range_seconds=600) == 'a{b=~".*"}[60s]'
    assert filled("a[${__range}]", rate_seconds=60, range_seconds=600) == "a[600s]"
    with pytest.raises(ValueError, match=r"names the variable \$nmaespace"):
        filled('a{b=~"$nmaespace"}', rate_seconds=60, range_seconds=600)


def test_a_panel_that_does_not_fit_starts_a_new_line():
    def panel(width, height):
        return Panel("Title", "Words.", "short", (Query("up"),), width=width, height=height)

    board = Board("uid", "Title", "Words.", (Row("One", (panel(12, 3), panel(12, 5), panel(1, 2))), Row("Two", ())))
    (_, first, placed), (_, second, _) = places(board)

    assert (first.top, second.top) == (0, 8)
    assert [(place.left, place.top) for _, place in placed] == [(0, 1), (12, 1), (0, 6)]


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.125, "percentunit", None, "12.5 %"),
        (0.9996, "percentunit", 2, "99.96 %"),
        (0.0, "s", None, "0 s"),
        (0.0342, "s", None, "34.2 ms"),
        (1.0, "s", None, "1 s"),
        (119, "s", None, "119 s"),
        (120, "s", None, "2 min"),
        (7199, "s", None, "120 min"),
        (7200, "s", None, "2 h"),
        (172_800, "s", None, "2 d"),
        (1536, "bytes", None, "1.5 KiB"),
        (999, "short", None, "999"),
        (1000, "short", None, "1 k"),
        (2.5, "cpm", None, "2.5 a min"),
        (0.97512, "none", 3, "0.975"),
        (100, "none", None, "100"),
    ],
)
def test_a_number_is_shown_in_the_unit_that_is_read_most_easily(value, unit, decimals, text):
    assert shown(value, unit, decimals) == text


def test_a_prometheus_that_is_not_there_is_named_without_a_stack_trace():
    panel = Panel("Title", "Words.", "short", (Query("up"),))

    with pytest.raises(PrometheusError, match=r"no Prometheus answers at 127\.0\.0\.1:1"):
        ask("http://127.0.0.1:1", panel, Window.until_now(60, 30))
    with pytest.raises(PrometheusError, match="begins with http"):
        ask("file:///etc/passwd?", panel, Window.until_now(60, 30))


def test_a_canary_stands_beside_the_champion_by_its_version(tmp_path):
    promtool = shutil.which("promtool") or pytest.skip("needs promtool: install the Debian package prometheus")
    series = []
    for place, gain in ((1, "0.75"), (2, "0.5")):
        labels = f'job="adloom-api",instance="pod{place}",rollouts_pod_template_hash="hash{place}"'
        series += [
            (f'adloom_model_info{{{labels},version="{place}",commit="c",bundle="b"}}', "1x20"),
            (f'adloom_creative_validity_ratio_sum{{{labels},channel="x"}}', f"0+{gain}x20"),
            (f'adloom_creative_validity_ratio_count{{{labels},channel="x"}}', "0+1x20"),
        ]
    (query,) = PANELS["adloom-model: Validity by version"].queries
    expected = [
        {"labels": f'{{version="{place}",rollouts_pod_template_hash="hash{place}"}}', "value": value}
        for place, value in ((1, 0.75), (2, 0.5))
    ]
    case = {
        "expr": filled(query.expr, rate_seconds=240, range_seconds=600),
        "eval_time": "10m",
        "exp_samples": expected,
    }
    told = [{"series": name, "values": values} for name, values in series]
    content = {"tests": [{"interval": "1m", "input_series": told, "promql_expr_test": [case]}]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    asked = subprocess.run(
        [promtool, "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True, check=False, timeout=60
    )

    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    """A Prometheus that has scraped a service under traffic, and an exporter with a day to tell of; and until when."""
    from app.watch.processes import StackError
    from app.watch.stack import Stack
    from app.watch.traffic import Merchant, Plan, drive

    try:
        stack = Stack(tmp_path_factory.mktemp("stack"), speed=SPEED, root=ROOT, is_embedded=True, settings=BUILT)
        stack.__enter__()
    except StackError as error:
        if "is not installed" in str(error):
            pytest.skip(str(error))
        raise
    try:
        database = stack.database
        sample_day.record(database)
        database.dispose()
        merchant = Merchant(stack.service_url, stack.client_id, stack.client_secret)
        for _ in range(TRIES_MAX):
            drive(merchant, Plan(TRAFFIC_SECONDS, rate=20, workers=6))
            window = Window.until_now(TRAFFIC_SECONDS, RATE_SECONDS)
            if shows_all(stack.prometheus_url, window):
                break
        merchant.close()
        yield stack.prometheus_url, window
    finally:
        stack.close()


def is_answered(found):
    """With numbers alone: where nothing was scraped for a while, there are none."""
    return bool(found) and all(math.isfinite(value) for series in found for value in series.values)


def shows_all(url, window):
    """Whether every panel does; on a machine that was busy meanwhile some may not."""
    singly = [replace(panel, queries=(query,)) for panel in LOCAL.values() for query in panel.queries]
    return all(is_answered(ask(url, each, window)) for each in singly)


@pytest.fixture(scope="module")
def watched(traffic):
    """The address of that Prometheus."""
    return traffic[0]


@pytest.fixture(scope="module")
def window(traffic):
    """One for all: until the end of the traffic."""
    return traffic[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCAL)
def test_every_query_of_a_panel_returns_data_after_traffic(name, watched, window):
    panel = LOCAL[name]
    for query in panel.queries:
        alone = Panel(panel.title, panel.description, panel.unit, (query,), kind=panel.kind)
        found = ask(watched, alone, window)

        assert is_answered(found), query.expr
        assert not query.legend or all(series.name for series in found)


@pytest.mark.slow
def test_a_query_that_prometheus_refuses_is_told_with_its_reason(watched, window):
    broken = Panel("Title", "Words.", "short", (Query("sum(up"),))

    with pytest.raises(PrometheusError, match=r"refuses sum\(up: .*unclosed"):
        ask(watched, broken, window)


@pytest.mark.slow
def test_a_dashboard_is_drawn_from_what_prometheus_says(watched, window, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'adloom[lab]'")
    from app.watch.draw import draw

    assert {panel.kind for uid in ("adloom-model", "adloom-delivery") for panel in BOARDS[uid].panels} == set(
        get_args(Kind)
    )
    for board in (BOARDS["adloom-model"], BOARDS["adloom-delivery"]):  # between them they have every kind of panel
        draw(board, watched, window, thresholds(ROOT), tmp_path / f"{board.uid}.png", "a test")
        with Image.open(tmp_path / f"{board.uid}.png") as image:
            assert image.width > 1000
            assert len(image.convert("RGB").getcolors(1 << 24)) > 20
        assert (tmp_path / f"{board.uid}.png").stat().st_size < 150_000


@pytest.mark.slow
def test_without_grafana_the_pictures_are_served_and_a_page_that_is_not_there_is_said(watched, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'adloom[lab]'")
    from app.watch.pages import Pages

    pages = Pages([BOARDS["adloom-cost"]], watched, thresholds(ROOT), tmp_path)
    pages.start()
    try:
        with urllib.request.urlopen(f"{pages.address}/", timeout=60) as answer:
            page = answer.read().decode()
        with urllib.request.urlopen(f"{pages.address}/adloom-cost.png", timeout=60) as answer:
            picture = answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{pages.address}/d/nobody", timeout=60)
    finally:
        pages.close()

    assert '<img src="/adloom-cost.png"' in page
    assert picture.startswith(b"\x89PNG")
