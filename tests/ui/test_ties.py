"""Facts of the page that stand elsewhere too, and what it may know."""

from __future__ import annotations

import ast
import json
import math
import re
from pathlib import Path

import pytest

from app import pairs_route, photographs_route
from app.cli import main
from app.identity import MODELS_ADMIN
from app.ui import forward, guard, model_figures, server
from app.ui.pages import FOLDER
from app.ui.sessions import ADMIN
from app.ui.settings import Settings
from model.pair_file import ROWS_MAX
from model.prompt import VOICES
from model.store import rollbacks
from model.store.one_open import OPEN
from model.store.retrains import OUTCOMES, TRIGGERS
from model.validity import FINDINGS

ROOT = Path(__file__).resolve().parents[2]
ROOM = ROOT / "app/ui"
ASSETS = ROOM / "assets"


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_page_knows_its_own_room_and_the_command_line_and_nothing_else_of_ours():
    ours = {
        name
        for path in ROOM.rglob("*.py")
        for name in imported(path)
        if name.split(".")[0] in ("app", "model", "pipelines")
    }

    assert {name for name in ours if name != "app.ui" and not name.startswith("app.ui.")} == {"app.cli"}


def test_findings_are_told_in_the_words_of_the_service():
    text = (ASSETS / "findings.js").read_text(encoding="utf-8")
    shown = json.loads(text.partition("FINDINGS = ")[2].rstrip().rstrip(";"))

    assert shown == dict(FINDINGS)


def test_the_voices_are_those_of_the_service():
    text = (FOLDER / "order.html").read_text(encoding="utf-8")

    assert tuple(re.findall(r'\("(\w+)", "\w+"\)', text)) == VOICES


@pytest.mark.parametrize("path", sorted(ASSETS.glob("*.js")), ids=lambda path: path.name)
def test_no_script_reads_text_as_html_or_runs_it(path):
    text = path.read_text(encoding="utf-8")

    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.html")), ids=lambda path: path.name)
def test_no_template_has_script_or_style_of_its_own_or_leaves_text_unescaped(path):
    text = path.read_text(encoding="utf-8")

    assert not re.findall(r"<script>|<style|\sstyle=|\son\w+=|\|\s*safe", text)


def test_every_setting_stands_in_the_guide_with_its_default():
    guide = (ROOT / "architecture/ui.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(ADLOOM_UI_\w+)` \| (\S+) \|", guide, re.MULTILINE))

    assert set(rows) == {f"ADLOOM_UI_{name.upper()}" for name in Settings.model_fields}


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        server._parser().parse_args(["--help"])

    assert "adloom-ui --port 8501 --api" in capsys.readouterr().out


def test_a_wrong_setting_is_named_without_its_value(capsys, monkeypatch):
    monkeypatch.setenv("ADLOOM_UI_SESSION_MINUTES", "secret-nonsense")

    assert server.main([]) == 2
    said = capsys.readouterr().err
    assert "ADLOOM_UI_SESSION_MINUTES" in said
    assert "secret-nonsense" not in said


def test_the_command_line_itself_does_not_know_the_page(capsys):
    assert main(["ui"]) == 2
    assert "ui" in capsys.readouterr().err


def test_what_is_open_and_how_a_retrain_ends_is_as_the_pipelines_say():
    shown = (ASSETS / "model.js").read_text(encoding="utf-8")
    ended = re.search(r"const ENDED = \{(.+?)\};", shown).group(1)

    assert model_figures.OPEN == OPEN
    assert tuple(re.findall(r"(\w+): \"", ended)) == OUTCOMES


def test_whatever_asks_for_a_retrain_is_named_in_the_same_words_while_it_runs_and_afterwards():
    shown = (ASSETS / "model.js").read_text(encoding="utf-8")
    causes = dict(re.findall(r"(\w+): \"([^\"]+)\"", re.search(r"const CAUSES = \{(.+?)\};", shown).group(1)))
    rows = [
        {"state": "failed", "trigger": trigger, "asked_by": "x", "cause": {}, "why": "", "version": "", "ended_at": ""}
        for trigger in TRIGGERS
    ]
    told = {row["trigger"]: event.who for row, event in zip(rows, model_figures.retrains(rows), strict=True)}

    assert told.pop("manual") == "asked for by x"
    assert {trigger: words.lower() for trigger, words in causes.items()} == told


def test_how_a_rollback_ends_is_as_its_store_says():
    shown = (ASSETS / "model_rollback.js").read_text(encoding="utf-8")
    ended = re.search(r"const ENDED = \{(.+?)\n\};", shown, re.DOTALL).group(1)

    assert set(re.findall(r"(\w+): \(", ended)) == set(rollbacks.STATES) - set(OPEN)


@pytest.mark.parametrize(
    ("script", "guarded", "taken"),
    [
        ("model_pairs.js", guard.PAIRS_BYTES_MAX, pairs_route.BYTES_MAX),
        ("photograph.js", guard.PHOTOGRAPH_BYTES_MAX, photographs_route.BYTES_MAX),
    ],
)
def test_files_are_as_large_as_the_service_takes_them(script, guarded, taken):
    text = (ASSETS / script).read_text(encoding="utf-8")
    known = math.prod(map(int, re.search(r"const BYTES_MAX = ([\d *]+);", text).group(1).split("*")))

    assert known == guarded == taken
    assert re.findall(r"at most (\d+) MB", text, re.IGNORECASE) == [str(taken // 2**20)]


def test_pairs_are_files_of_the_kinds_and_as_long_as_the_service_takes_them():
    script = (ASSETS / "model_pairs.js").read_text(encoding="utf-8")
    kinds = dict(re.findall(r"(\w+): \"([^\"]+)\"", re.search(r"const KINDS = \{(.+?)\};", script).group(1)))
    page = (FOLDER / "model_teach.html").read_text(encoding="utf-8")
    taken = pairs_route.SUFFIXES

    assert set(kinds.values()) == set(forward.PAIRS_TYPES) <= set(taken)
    assert {taken[kind] for kind in forward.PAIRS_TYPES} == set(taken.values()) <= {f".{ending}" for ending in kinds}
    assert f'accept="{",".join(f".{ending}" for ending in kinds)}"' in page
    assert f"up to {ROWS_MAX:,} rows and {pairs_route.BYTES_MAX // 2**20} MB" in page


def test_photographs_are_pictures_of_the_kinds_that_the_service_takes():
    script = (ASSETS / "photograph.js").read_text(encoding="utf-8")
    page = (FOLDER / "create.html").read_text(encoding="utf-8")
    accepted = re.search(r'id="photograph-file" accept="([^"]+)"', page).group(1)

    assert forward.PHOTOGRAPH_TYPES == photographs_route.MEDIA_TYPES
    assert json.loads(re.search(r"const TYPES = (\[.+?\]);", script).group(1)) == list(forward.PHOTOGRAPH_TYPES)
    assert accepted.split(",") == list(forward.PHOTOGRAPH_TYPES)


def test_what_the_page_reads_of_its_headers_and_scopes_is_called_as_in_the_service():
    named = {
        name for path in FOLDER.glob("*.html") for name in re.findall(r"models:\w+", path.read_text(encoding="utf-8"))
    }

    assert photographs_route.PHOTOGRAPH_HEADER.lower() == forward.PHOTOGRAPH_HEADER
    assert named == {ADMIN} == {MODELS_ADMIN}
