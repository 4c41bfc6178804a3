"""
A runbook as the drill reads it: front matter, sections, and the fenced commands that run on the local stack.

Knows no stack; the form is the one that runbooks/README.md describes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("runbooks")
SEVERITIES = ("critical", "warning", "info")
HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_BLOCK = re.compile(r"^```sh (local|cluster)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


class RunbookError(ValueError):
    """A runbook is not of the agreed form; the message names the file and what is missing."""


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that belong together."""

    section: str
    place: str
    """local or cluster."""
    commands: str


@dataclass(frozen=True, slots=True)
class Runbook:
    """One page."""

    alert: str
    severity: str
    fault: str
    """What the drill does to cause it; `none` where there is no drill."""
    fires_within: str
    """At production speed, in Prometheus' form of a duration."""
    is_local: bool
    why: str
    """Why there is no local drill; empty where there is one."""
    stand_in: str
    """What is tried instead; empty as above."""
    meaning: str
    """The first sentence of its section."""
    blocks: tuple[Block, ...]

    def commands(self, section: str) -> list[str]:
        """What the drill runs of it, in order."""
        return [block.commands for block in self.blocks if (block.section, block.place) == (section, "local")]


def read_runbook(path: Path) -> Runbook:
    """Raises RunbookError, or OSError where there is none."""
    text = path.read_text(encoding="utf-8")
    front = _FRONT.match(text)
    if front is None:
        raise RunbookError(f"{path}: begin with front matter between two lines of ---")
    facts: dict[str, Any] = yaml.safe_load(front[1])
    missing = {"alert", "severity", "fault", "fires_within", "local"} - set(facts)
    if missing:
        raise RunbookError(f"{path}: the front matter lacks {', '.join(sorted(missing))}")
    if facts["severity"] not in SEVERITIES:
        raise RunbookError(f"{path}: severity is one of {', '.join(SEVERITIES)}")
    sections = _sections(text)
    absent = [name for name in HEADINGS if name not in sections]
    if absent:
        raise RunbookError(f"{path}: the heading {absent[0]} is missing")
    return Runbook(
        alert=facts["alert"],
        severity=facts["severity"],
        fault=facts["fault"],
        fires_within=str(facts["fires_within"]),
        is_local=bool(facts["local"]),
        why=facts.get("why", ""),
        stand_in=facts.get("stand_in", ""),
        meaning=sections["Meaning"].strip().splitlines()[0],
        blocks=tuple(
            Block(name, place, commands) for name, body in sections.items() for place, commands in _BLOCK.findall(body)
        ),
    )


def read_runbooks(folder: Path) -> dict[str, Runbook]:
    """Every page that is named after an alert, by that name. Raises RunbookError."""
    pages = sorted(folder.glob("Adloom*.md"))
    if not pages:
        raise RunbookError(f"there are no runbooks in {folder}: run it from the root of the repository")
    return {path.stem: read_runbook(path) for path in pages}


def _sections(text: str) -> dict[str, str]:
    parts = _HEADING.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
