"""Dashboards: the files are what the boards say, the thresholds are the rules', and the links lead somewhere."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess

import pytest
import yaml

from app.cli import main as adloom
from app.watch import dashboards
from app.watch.alert_rules import alerts
from app.watch.dashboards_command import FIGURE
from app.watch.panels import COLUMNS, VARIABLE
from app.watch.thresholds import Threshold, compared, steps, thresholds
from tests.real_parts import free_port
from tests.repo.tree import ROOT

FILES = sorted((ROOT / dashboards.FOLDER).glob("*.json"))
UIDS = ["adloom-service", "adloom-model", "adloom-pipelines", "adloom-delivery", "adloom-cost"]
BOARDS = {board.uid: board for board in dashboards.all_boards()}
GRAFANA_VARIABLES = {"__rate_interval", "__range"}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The rules and the dashboards, in a root of their own."""
    for path in (dashboards.FOLDER, *(alert.file for alert in alerts(ROOT))):
        source, target = ROOT / path, tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built(uid, root=ROOT):
    return json.loads(rendered(root)[dashboards.FOLDER / f"{uid}.json"])


rendered = functools.cache(dashboards.rendered)


def panels_of(content):
    return {panel["title"]: panel for panel in content["panels"] if panel["type"] != "row"}


def test_the_files_are_what_the_boards_say():
    assert dashboards.outdated(ROOT) == []
    assert [path.stem for path in FILES] == sorted(UIDS)


def test_the_same_boards_give_the_same_bytes():
    assert dashboards.rendered(ROOT) == dashboards.rendered(ROOT)


def test_check_tells_a_dashboard_that_was_edited_and_write_mends_it(copy, capsys):
    edited = copy / dashboards.FOLDER / "adloom-cost.json"
    edited.write_text(edited.read_text(encoding="utf-8").replace("Memory", "Remembrance"), encoding="utf-8")
    status_edited = adloom(["dashboards", "check"])
    told = capsys.readouterr().err
    status_write = adloom(["dashboards", "write"])
    status_mended = adloom(["dashboards", "check"])

    assert (status_edited, status_write, status_mended) == (1, 0, 0)
    assert "adloom-cost.json is not what its board says: run `adloom dashboards write`" in told


def test_a_dashboard_of_no_board_is_told_and_removed(copy, capsys):
    stray = copy / dashboards.FOLDER / "adloom-old.json"
    stray.write_text("{}", encoding="utf-8")

    assert adloom(["dashboards", "check"]) == 1
    assert "adloom-old.json" in capsys.readouterr().err
    assert adloom(["dashboards", "write"]) == 0
    assert not stray.exists()


def test_without_rules_the_command_says_where_to_run_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert adloom(["dashboards", "check"]) == 1
    assert "run it from the root of the repository" in capsys.readouterr().err


def test_a_threshold_that_the_rule_changes_is_changed_on_every_panel_that_draws_it(copy):
    rules = copy / "gitops/apps/adloom-api/monitoring/rules.yaml"
    text = rules.read_text(encoding="utf-8")
    assert text.count("mean30m < 0.9") == 1
    rules.write_text(text.replace("mean30m < 0.9", "mean30m < 0.8"), encoding="utf-8")
    before, after = panels_of(built("adloom-model")), panels_of(built("adloom-model", copy))
    drawn = [panel.title for panel in BOARDS["adloom-model"].panels if panel.alert == "AdloomValidityLow"]

    assert len(drawn) == 3
    for title in drawn:
        assert before[title]["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
            {"color": "red", "value": None}, {"color": "green", "value": 0.9},
        ]  # fmt: skip
        assert after[title]["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == 0.8


def test_a_panel_whose_alert_has_no_number_stops_the_writing(copy):
    rules = copy / "gitops/apps/adloom-api/monitoring/rules.yaml"
    text = rules.read_text(encoding="utf-8")
    rules.write_text(text.replace("alert: AdloomValidityLow", "alert: AdloomValidityPoor"), encoding="utf-8")

    with pytest.raises(ValueError, match="wants a number of AdloomValidityLow"):
        dashboards.rendered(copy)


@pytest.mark.parametrize(
    ("expression", "numbers"),
    [
        ("a > 3", [Threshold(3, is_floor=False, includes_value=False)]),
        ("a >= 3", [Threshold(3, is_floor=False, includes_value=True)]),
        ("a < 0.9", [Threshold(0.9, is_floor=True, includes_value=False)]),
        ("a:b1h > 14.4 * 0.005", [Threshold(0.072, is_floor=False, includes_value=False)]),
        ("time() - a > 3 * 3600 or a - time() > 600", [Threshold(10800, False, False), Threshold(600, False, False)]),
        ("a == 1", [Threshold(1, is_floor=False, includes_value=True)]),
        ("a == 0", [Threshold(1, is_floor=True, includes_value=False)]),
        ('a{b=~"x > 5"} > 6', [Threshold(6, is_floor=False, includes_value=False)]),
        ("a > b", []),
        ("a > 5m_of_something", []),
        ("absent(a)", []),
    ],
)
def test_the_numbers_of_an_expression_are_read_from_left_to_right(expression, numbers):
    assert list(compared(expression)) == numbers


def test_a_count_that_must_not_be_more_than_zero_is_good_at_zero():
    panel = next(panel for panel in BOARDS["adloom-model"].panels if panel.title == "Columns that drifted")
    marks = steps(panel, thresholds(ROOT))

    assert [colour for _, colour in marks] == ["green", "red"]
    assert 0 < marks[1][0] < 1e-6


def test_every_dashboard_that_an_alert_names_is_there():
    named = {alert.annotations["dashboard_url"].rpartition("/d/")[2] for alert in alerts(ROOT)}

    assert named
    assert named <= set(BOARDS)


def test_every_alert_is_linked_from_a_panel_by_the_address_of_its_rule():
    links = {
        link["title"].removeprefix("Runbook: "): link["url"]
        for uid in UIDS
        for panel in panels_of(built(uid)).values()
        for link in panel.get("links", ())
    }

    assert links == {alert.name: alert.annotations["runbook_url"] for alert in alerts(ROOT)}


@pytest.mark.parametrize("uid", UIDS)
def test_every_panel_has_a_title_of_its_own_a_sentence_and_a_unit(uid):
    panels = BOARDS[uid].panels
    titles = [(row.title, panel.title) for row in BOARDS[uid].rows for panel in row.panels]

    assert len(titles) == len(set(titles))
    for panel in panels:
        assert panel.title[0].isupper()
        assert len(panel.title) <= 52
        assert re.fullmatch(r"[A-Z1].{15,140}[^.]\.", panel.description), panel.description
        assert ". " not in panel.description
        assert all(query.expr for query in panel.queries)


@pytest.mark.parametrize("uid", UIDS)
def test_no_panels_overlap_and_each_line_is_filled(uid):
    taken = {}
    for panel in built(uid)["panels"]:
        place = panel["gridPos"]
        for row in range(place["y"], place["y"] + place["h"]):
            for column in range(place["x"], place["x"] + place["w"]):
                assert (row, column) not in taken, panel["title"]
                taken[row, column] = panel["title"]

    assert max(column for _, column in taken) == COLUMNS - 1
    assert len(taken) == COLUMNS * (1 + max(row for row, _ in taken))


@pytest.mark.parametrize("uid", UIDS)
def test_every_variable_of_a_query_is_declared_and_every_source_is_the_chosen_one(uid):
    content = built(uid)
    declared = {variable["name"] for variable in content["templating"]["list"]}
    used = {
        found[1] or found[2]
        for panel in panels_of(content).values()
        for target in panel["targets"]
        for found in VARIABLE.finditer(target["expr"])
    }
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps([content["panels"], content["annotations"]]))

    assert used - GRAFANA_VARIABLES <= declared
    assert declared - used <= {"datasource"}
    assert set(sources) == {"${datasource}"}
    assert content["annotations"]["list"][0]["name"] == "Deploys"


def test_what_a_number_has_as_unit_is_known_to_grafana():
    known = {"short", "none", "percentunit", "s", "reqps", "cpm", "bytes"}  # grafana-data, valueFormats/categories.ts
    units = {panel["fieldConfig"]["defaults"]["unit"] for uid in UIDS for panel in panels_of(built(uid)).values()}

    assert units <= known


def test_kustomize_gives_grafanas_sidecar_every_dashboard():
    kubectl = shutil.which("kubectl") or pytest.skip("needs kubectl, for kustomize")
    folder = ROOT / dashboards.FOLDER.parent
    asked = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True, timeout=60)
    maps = list(yaml.safe_load_all(asked.stdout))
    held = {name: content for each in maps for name, content in each["data"].items()}

    assert held == {path.name: path.read_text(encoding="utf-8") for path in FILES}
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in maps} == {"1"}
    assert all(len(content) < 250_000 for content in held.values())  # a ConfigMap takes 1 MiB, with its annotations


def test_drawing_without_a_prometheus_is_one_clear_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'adloom[lab]'")
    monkeypatch.chdir(ROOT)
    address = f"http://127.0.0.1:{free_port()}"

    assert adloom(["dashboards", "draw", "--prometheus", address, "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("adloom: error: no Prometheus answers at 127.0.0.1:")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "value"), [("--minutes", "0"), ("--rate-seconds", "3")])
def test_a_time_that_shows_nothing_is_refused(option, value, capsys):
    assert adloom(["dashboards", "draw", "--prometheus", "http://127.0.0.1:1", option, value]) == 2
    assert option in capsys.readouterr().err


def test_the_page_shows_every_dashboard_by_a_small_picture():
    page = (ROOT / "architecture/dashboards.md").read_text(encoding="utf-8")
    pictures = [ROOT / "architecture" / found for found in re.findall(r"!\[[^]]+\]\((figures/[^)]+)\)", page)]
    expected = [FIGURE.format(name=uid.removeprefix("adloom-")) for uid in UIDS]

    assert [picture.name for picture in pictures] == expected
    assert all(f"| `{uid}` |" in page for uid in UIDS)
    assert all(picture.stat().st_size < 150_000 for picture in pictures)
    assert sum(picture.stat().st_size for picture in pictures) < 600_000


@pytest.mark.parametrize("uid", UIDS)
def test_what_is_written_is_read_back_by_grafanas_own_model(uid):
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    content = built(uid)
    read = json.loads(json.dumps(Dashboard.from_json(content), cls=JSONEncoder))

    assert read == content
    assert read["uid"] == uid
