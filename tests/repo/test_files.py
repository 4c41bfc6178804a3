"""What must not be committed: large files, drawers of everything, one machine's paths, unfinished marks."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess

import pytest

from tests.repo.tree import ROOT, modules, tracked

BYTES_MAX = 1_000_000
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
FUNCTION_LINES_MAX = 70
# Split so that this file does not contain what it looks for.
ONE_MACHINE = re.compile(r"(?<![\w.])/(?:work|root|farm|home|Users)/" + r"\w")
UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|X" + r"XX)\b")


def texts():
    """(path, text) of every committed file that is text."""
    for path in tracked():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            yield path, content.decode("utf-8")


def matches(pattern):
    return [f"{path}: {found[0]}" for path, text in texts() for found in pattern.finditer(text)]


def test_no_file_is_over_one_megabyte_except_the_tuned_adapter():
    sizes = {str(path): (ROOT / path).stat().st_size for path in tracked() if path.suffix != ".safetensors"}

    assert {path: size for path, size in sizes.items() if size > BYTES_MAX} == {}


def test_no_module_is_a_drawer_of_everything():
    names = [path for path in tracked(".py") if path.stem in NAMELESS or path.stem.startswith("base_")]

    assert names == []


def test_no_path_of_one_machine_is_committed():
    assert matches(ONE_MACHINE) == []


def test_nothing_is_marked_as_unfinished():
    assert matches(UNFINISHED) == []


def test_the_patterns_find_what_they_are_for():
    assert ONE_MACHINE.search("see /" + "root/x")
    assert not ONE_MACHINE.search("https://example.com/" + "home/x")
    assert UNFINISHED.search("# TO" + "DO: later")
    assert not UNFINISHED.search("size XX" + "XL")


def test_no_function_is_longer_than_seventy_lines():
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_the_gate_can_be_executed():
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_shellcheck_finds_nothing_in_the_gate():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: `apt-get install shellcheck`")
    found = subprocess.run(["shellcheck", ROOT / ".ci/run"], capture_output=True, text=True, check=False)

    assert found.stdout == ""
    assert found.returncode == 0
