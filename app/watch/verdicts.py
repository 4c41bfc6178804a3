"""
Every alert tried on every world and on its own fault, as the table of architecture/alerts.md.

promtool judges. What has to come out stands in `wrong`: nothing fires on a healthy Adloom, everything on its fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.watch.alert_rules import Alert, alerts, rule_files
from app.watch.promtool import fired
from app.watch.worlds import FAULTS, HEALTHY, MINUTES, WORLDS

PAGE = Path("architecture/alerts.md")
BEGIN, END = "<!-- generated: adloom alerts verdicts --write -->", "<!-- end -->"
OWN_FAULT = "its fault"
CALM = ("healthy", "no traffic", "three events, all bad")
"""Where nothing is wrong that anybody should hear of."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which alerts fire where."""

    alerts: Sequence[Alert]
    by_world: Mapping[str, frozenset[str]]
    on_fault: frozenset[str]
    """Those that fire on what they are there for."""

    def fires(self, alert: Alert, world: str) -> bool:
        """Whether it fired at any minute of that world."""
        return alert.name in (self.on_fault if world == OWN_FAULT else self.by_world[world])


def try_all(root: Path) -> Verdicts:
    """Takes half a minute. Raises ValueError for an alert without a fault, or a fault without an alert."""
    known = alerts(root)
    if unequal := {alert.name for alert in known} ^ set(FAULTS):
        raise ValueError(f"app/watch/worlds.py and the rules differ in {', '.join(sorted(unequal))}")
    files = [root / file for file in rule_files(root)]
    by_fault = fired(files, {name: {**HEALTHY, **fault} for name, fault in FAULTS.items()}, MINUTES)
    on_fault = frozenset(name for name, firing in by_fault.items() if name in firing)
    return Verdicts(known, fired(files, WORLDS, MINUTES), on_fault)


def wrong(verdicts: Verdicts) -> list[str]:
    """What no table may say, as sentences; none where all is well."""
    said = [f"{alert.name} fires on nothing" for alert in verdicts.alerts if alert.name not in verdicts.on_fault]
    said += [f"{name} fires where all is {world}" for world in CALM for name in sorted(verdicts.by_world[world])]
    said += [
        f"{name} does not fire where there is {world}"
        for world, names in (
            ("no target", ("AdloomServiceDown", "AdloomExporterDown")),
            ("no metric", ("AdloomBundleLoadFailed",)),
            ("empty stores", ("AdloomIngestStale", "AdloomDriftReportStale", "AdloomPipelineStale")),
            ("clock an hour ahead", ("AdloomIngestStale", "AdloomDriftReportStale", "AdloomPipelineStale")),
        )
        for name in names
        if name not in verdicts.by_world[world]
    ]
    pages = {alert.name for alert in verdicts.alerts if alert.severity == "critical"}
    quiet = ("empty stores", "clock an hour ahead", "NaN")
    return said + [
        f"{name} pages where there is {world}" for world in quiet for name in pages & verdicts.by_world[world]
    ]


def table(verdicts: Verdicts) -> str:
    """In Markdown."""
    worlds = [OWN_FAULT, *verdicts.by_world]
    lines = [f"| alert | severity | {' | '.join(worlds)} |", f"|---|---|{'---|' * len(worlds)}"]
    for alert in verdicts.alerts:
        cells = ["fires" if verdicts.fires(alert, world) else "·" for world in worlds]
        lines.append(f"| {alert.name} | {alert.severity} | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(page: str, content: str) -> str:
    """The page with what is generated in it. Raises ValueError where the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for the table: put the lines {BEGIN} and {END} into it")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"
