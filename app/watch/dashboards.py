"""
All dashboards, and their files below gitops/platform/grafana/dashboards.

Knows which boards there are and where their JSON lies; what stands on one is written in boards/.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from app.exporter import DECLARED as OF_EXPORTER
from app.metrics import DECLARED as OF_SERVICE
from app.watch.alert_rules import recordings
from app.watch.boards import cost, delivery, model, pipelines, service
from app.watch.panels import Board, Panel, filled
from app.watch.platform_metrics import EVERYWHERE, IN_A_CLUSTER
from app.watch.promql import selectors
from app.watch.thresholds import thresholds

FOLDER = Path("gitops/platform/grafana/dashboards")
HISTOGRAM_PARTS = ("", "_bucket", "_sum", "_count")
NO_METRICS = frozenset({"sum", "count", "min", "max", ":10s"})
"""What a list of selectors may hold besides metrics: aggregations with `by` behind them, and a subquery's step."""


def all_boards() -> tuple[Board, ...]:
    """In the order in which they are read when something is wrong."""
    return (service.board(), model.board(), pipelines.board(), delivery.board(), cost.board())


def rendered(root: Path) -> dict[Path, str]:
    """
    Every file's content, by its path below the root.

    Raises ValueError where a rule is absent or lacks a number, RuntimeError without the SDK.
    """
    if find_spec("grafana_foundation_sdk") is None:
        raise RuntimeError("writing dashboards needs the Grafana Foundation SDK: pip install 'adloom[dev]'")
    from app.watch.grafana import dashboard_json

    limits = thresholds(root)
    return {FOLDER / f"{board.uid}.json": dashboard_json(board, limits) for board in all_boards()}


def metrics_of(panel: Panel) -> frozenset[str]:
    """Names of every metric that the panel asks for."""
    expressions = (filled(query.expr, rate_seconds=60, range_seconds=600) for query in panel.queries)
    return frozenset(each.metric for expression in expressions for each in selectors(expression)) - NO_METRICS


def unknown_metrics(root: Path) -> list[str]:
    """A line for each metric that a panel asks for and nobody publishes: not we, not a rule, not the short list."""
    ours = {f"{one.name}{part}" for one in (*OF_SERVICE, *OF_EXPORTER) for part in HISTOGRAM_PARTS}
    known = ours | {rule.name for rule in recordings(root)} | set(EVERYWHERE) | set(IN_A_CLUSTER)
    return [
        f"{board.uid}: {panel.title!r} asks for {metric}, which nobody publishes"
        for board in all_boards()
        for panel in board.panels
        for metric in sorted(metrics_of(panel) - known)
    ]


def outdated(root: Path) -> list[Path]:
    """Files that differ from what would be written, are missing, or belong to no board any more."""
    wanted = rendered(root)
    extra = [path.relative_to(root) for path in sorted((root / FOLDER).glob("*.json"))]
    differing = [path for path, content in wanted.items() if _content(root / path) != content]
    return [*differing, *(path for path in extra if path not in wanted)]


def write(root: Path) -> list[Path]:
    """Write the files that differ and remove those of no board; their paths."""
    changed, wanted = outdated(root), rendered(root)
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for path in changed:
        if path in wanted:
            (root / path).write_text(wanted[path], encoding="utf-8")
        else:
            (root / path).unlink()
    return changed


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
