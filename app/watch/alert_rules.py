"""
The alerts and recording rules of gitops/apps/*/monitoring/rules.yaml, as values.

Knows no alert by name and evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RULE_FILES = "gitops/apps/*/monitoring/rules.yaml"
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as its file has it."""

    name: str
    expression: str
    for_duration: str
    """As Prometheus writes it; empty where the alert fires at once."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    file: Path
    """Of its rules, below the root."""

    @property
    def severity(self) -> str:
        """One of SEVERITIES."""
        return self.labels["severity"]

    @property
    def tests(self) -> Path:
        """Where promtool's test of this alert lies, below the root."""
        return self.file.parent / "tests" / f"{self.name}.yaml"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording rule."""

    name: str
    expression: str
    file: Path


def alerts(root: Path) -> list[Alert]:
    """In the order of the files. Raises ValueError where there are none."""
    found = [
        Alert(
            rule["alert"],
            str(rule["expr"]).strip(),
            str(rule.get("for", "")),
            rule.get("labels", {}),
            rule.get("annotations", {}),
            file,
        )
        for file, rule in _rules(root)
        if "alert" in rule
    ]
    if not found:
        raise ValueError(
            f"no alert stands in {RULE_FILES}: run it from the root of the repository, or name it by --root"
        )
    return found


def recordings(root: Path) -> list[Recording]:
    """In the order of the files."""
    return [
        Recording(rule["record"], str(rule["expr"]).strip(), file) for file, rule in _rules(root) if "record" in rule
    ]


def rule_files(root: Path) -> list[Path]:
    """Below the root."""
    return [path.relative_to(root) for path in sorted(root.glob(RULE_FILES))]


def _rules(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in rule_files(root):
        for group in yaml.safe_load((root / file).read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield file, rule
