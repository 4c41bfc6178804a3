"""Every command and every step looks for registry and ledger in the same folder, and one variable names another."""

from __future__ import annotations

import importlib
import re

import pytest

from app.cli import guarded
from model.ledger import DEFAULT_FOLDER, REGISTRY_VARIABLE
from pipelines.settings import PipelineSettings
from tests.repo.tree import ROOT

SOURCES = {
    path: path.read_text(encoding="utf-8")
    for room in ("app", "model", "pipelines")
    for path in (ROOT / room).rglob("*.py")
}
ASKING = [path for path, text in SOURCES.items() if re.search(r'"--(registry|ledger)",\s+type=Path', text)]


@pytest.fixture(params=ASKING, ids=lambda path: path.stem)
def shown(request, monkeypatch, capsys):
    """What a command's help says where the variable has a value."""
    module = importlib.import_module(".".join(request.param.relative_to(ROOT).with_suffix("").parts))

    def show(folder):
        monkeypatch.setenv(REGISTRY_VARIABLE, folder)
        assert guarded(lambda: module.main(["--help"])) == 0
        return " ".join(capsys.readouterr().out.split())

    return show


def test_the_variable_names_the_folder_of_every_command(shown):
    assert "(default: kept/elsewhere" in shown("kept/elsewhere")
    assert f"(default: {DEFAULT_FOLDER}" in shown("")


def test_the_variable_names_the_folder_of_every_step(monkeypatch):
    found = {}
    for folder in ("kept/elsewhere", ""):
        monkeypatch.setenv(REGISTRY_VARIABLE, folder)
        found[folder] = str(PipelineSettings().registry)

    assert found == {"kept/elsewhere": "kept/elsewhere", "": str(DEFAULT_FOLDER)}


def test_nothing_else_says_where_the_folder_is():
    said = {path.relative_to(ROOT).as_posix() for path, text in SOURCES.items() if f'"{DEFAULT_FOLDER}' in text}

    assert len(ASKING) >= 9
    assert said == {"model/ledger.py"}
