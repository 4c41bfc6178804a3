"""The commands that pyproject.toml declares are there, can be asked for help, and need extras that exist."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from app.cli import ROOM_EXTRAS
from tests.repo.tree import project

COMMANDS = project()["project"]["entry-points"]["adloom.commands"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_declared_command_leads_to_a_function(name):
    module, function = COMMANDS[name].split(":")

    assert callable(getattr(import_module(module), function))


def test_the_extra_a_command_asks_for_is_one_that_can_be_installed():
    assert set(ROOM_EXTRAS.values()) <= set(project()["project"]["optional-dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_shows_an_example(name, tmp_path):
    command = [Path(sys.executable).with_name("adloom"), name, "--help"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert shown.returncode == 0, shown.stderr
    assert f"adloom {name}" in shown.stdout
