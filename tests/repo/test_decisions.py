"""A decision's number, title, file name, status and row in the index agree, and nothing cites one that is not there."""

from __future__ import annotations

import re

import pytest

from tests.repo.tree import ROOT, tracked

FOLDER = ROOT / "architecture/decisions"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
HEADINGS = ["## Context", "## Decision", "## Consequences", "## Confirmation"]


def title_and_status(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0].removeprefix("# "), next(line for line in lines if line.startswith("Status: "))


def test_numbers_run_from_one_without_a_gap():
    assert [path.name[:4] for path in DECISIONS] == [f"{n:04}" for n in range(1, len(DECISIONS) + 1)]
    assert DECISIONS


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_number_status_and_index_row_agree(path):
    title, status = title_and_status(path)
    status = status.removeprefix("Status: ")

    assert title.startswith(f"{int(path.name[:4])}. ")
    assert re.fullmatch(r"Proposed|Accepted|Superseded by \[\d+\]\((\d{4}-[a-z0-9-]+\.md)\)", status)
    assert f"| [{title}]({path.name}) | {status} |" in INDEX


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_headings_stand_in_order_and_have_text_below(path):
    text = path.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^(## \w+)\n\n(.+)", text, flags=re.MULTILINE))

    assert [heading for heading in sections if heading in HEADINGS] == HEADINGS
    assert set(sections) <= {*HEADINGS, "## Options"}


def test_a_superseded_decision_and_its_successor_name_each_other():
    for path in DECISIONS:
        for successor in re.findall(r"^Status: Superseded by .*\((.+)\)$", path.read_text("utf-8"), re.MULTILINE):
            assert path.name in (FOLDER / successor).read_text(encoding="utf-8")


def test_every_decision_cited_anywhere_exists():
    numbers = {path.name[:4] for path in DECISIONS}
    cited = {
        (str(path), number)
        for path in tracked(".py", ".md", ".toml", ".yaml", ".txt")
        for number in re.findall(r"\bADR (\d{4})\b", (ROOT / path).read_text(encoding="utf-8"))
    }

    assert cited
    assert [(path, number) for path, number in sorted(cited) if number not in numbers] == []
