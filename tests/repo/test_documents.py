"""What the Markdown pages promise is there: paths, links, make targets, extras."""

from __future__ import annotations

import re

import pytest

from tests.repo.tree import ROOT, make_targets, project, tracked

PAGES = tracked(".md")
TREES = ["README.md", "architecture/README.md"]


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def printed_tree(page):
    """Paths in the fenced block that begins with README.md; an indented line stands in the last folder above it."""
    block = re.search(r"^```\w*\n(README\.md .*?)^```", read(page), flags=re.DOTALL | re.MULTILINE)
    assert block, f"{page} prints no tree: a fenced block whose first line begins with README.md"
    paths, folder = [], ""
    for line in block[1].splitlines():
        name = line.split()[0]
        paths.append(folder + name if line[0] == " " else name)
        if line[0] != " ":
            folder = name
    return paths


def code_in(text):
    """Fenced blocks, indented blocks and spans, without shell comments."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^    (.+)$", text, flags=re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", text)
    return [line.split(" #")[0] for part in (*fenced, *indented, *spans) for line in part.splitlines()]


def targets_in(text):
    calls = [re.match(r"(?:\$ )?make((?: [a-z]+(?:-[a-z]+)*\b(?![=.]))+)", line) for line in code_in(text)]
    return {target for call in calls if call for target in call[1].split()}


@pytest.mark.parametrize("page", TREES)
def test_every_path_of_a_printed_tree_exists(page):
    assert [path for path in printed_tree(page) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", TREES)
def test_every_top_level_room_is_printed(page):
    rooms = {f"{path.parts[0]}/" for path in tracked() if len(path.parts) > 1 and path.parts[0][0] != "."}

    assert rooms - set(printed_tree(page)) == set()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_make_target_a_page_names_exists(page):
    assert targets_in(read(page)) - set(make_targets()) == set()


def test_a_target_that_does_not_exist_would_be_noticed():
    assert targets_in("    make demo PIP_FLAGS=x\n`make lint nonsense`\nWe make do.") == {"demo", "lint", "nonsense"}


def test_the_readme_shows_the_two_commands_a_newcomer_needs():
    assert {"demo", "test"} <= targets_in(read("README.md"))


def test_the_readme_lists_every_extra_and_no_other():
    extras = set(project()["project"]["optional-dependencies"])
    asked = re.findall(r"\.\[([a-z,]+)\]", read("README.md"))

    assert [extra for extra in sorted(extras) if f"`{extra}`" not in read("README.md")] == []
    assert {name for names in asked for name in names.split(",")} <= extras


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", read(page))
    local = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]

    assert [link for link in local if not (ROOT / page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_a_page_names_exists(page):
    rooms = "|".join(sorted({path.parts[0] for path in tracked() if len(path.parts) > 1 and path.parts[0][0] != "."}))
    named = re.findall(rf"`((?:{rooms})/[\w./-]+)`", read(page))

    assert [path for path in named if not (ROOT / path).exists()] == []
