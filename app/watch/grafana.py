"""
Boards as Grafana's JSON, through the Grafana Foundation SDK. Knows no board by name.

The same boards and rules always give the same bytes: no id, version or time that Grafana would count up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as parts
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from app.watch.panels import Board, Kind, Panel, Place, Query, places
from app.watch.thresholds import Thresholds, steps

RUNBOOKS = "https://github.com/adloom/adloom/blob/main/runbooks"
DATASOURCE = parts.DataSourceRef("prometheus", "${datasource}")
TAG = "adloom"
DEPLOYS = (
    'count by (version, commit) (adloom_model_info{job="adloom-api", namespace=~"$namespace"})'
    " unless count by (version, commit)"
    ' (adloom_model_info{job="adloom-api", namespace=~"$namespace"} offset 5m)'
)
"""A version and commit that nobody served five minutes before."""
UNITS = {"cores": "short"}
"""Units that Grafana does not know."""


def dashboard_json(board: Board, thresholds: Thresholds) -> str:
    """The file's content. Raises ValueError for an alert without a threshold that a panel wants drawn."""
    built = dashboards.Dashboard(board.title).uid(board.uid).description(board.answers).tags([TAG])
    built.timezone("browser").time("now-6h", "now").refresh("1m").readonly()
    built.tooltip(parts.DashboardCursorSync.CROSSHAIR).annotation(_deploys()).link(_siblings())
    for variable in _variables(board):
        built.with_variable(variable)
    count = 0
    for row, heading, placed in places(board):
        count += 1
        built.with_row(dashboards.Row(row.title).id(count).grid_pos(_grid(heading)))
        for panel, place in placed:
            count += 1
            built.with_panel(_panel(panel, thresholds).id(count).grid_pos(_grid(place)))
    # `version` is Grafana's count of edits; provisioned dashboards have none.
    content = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def runbook_url(alert: str) -> str:
    """Where the runbook of an alert is, as the rules have it."""
    return f"{RUNBOOKS}/{alert}.md"


_Visual = stat.Panel | timeseries.Panel | bargauge.Panel | table.Panel


def _panel(panel: Panel, thresholds: Thresholds) -> _Visual:
    built: _Visual = _VISUALS[panel.kind](panel)
    about = f"{panel.description} Empty outside a cluster: {panel.platform}." if panel.platform else panel.description
    built.title(panel.title).description(about).datasource(DATASOURCE).unit(UNITS.get(panel.unit, panel.unit))
    for place, query in enumerate(panel.queries):
        built.with_target(_target(query, "ABCDEFGH"[place], panel.kind))
    marks = [parts.Threshold(value, colour) for value, colour in steps(panel, thresholds)]
    built.thresholds(dashboards.ThresholdsConfig().mode(parts.ThresholdsMode.ABSOLUTE).steps(marks))
    by = parts.FieldColorModeId.PALETTE_CLASSIC if panel.kind == "lines" else parts.FieldColorModeId.THRESHOLDS
    built.color_scheme(dashboards.FieldColor().mode(by))
    if panel.alerts:
        built.links([_link(alert) for alert in panel.alerts])
    if panel.words:
        options = {str(value): parts.ValueMappingResult(text=text) for value, text in panel.words.items()}
        built.mappings([parts.ValueMap(options)])
    if panel.decimals is not None:
        built.decimals(panel.decimals)
    if panel.top is not None:
        built.max(panel.top)
    return built


def _number(panel: Panel) -> stat.Panel:
    is_judged = bool(panel.alert or panel.good)
    mode = shapes.BigValueColorMode.VALUE if is_judged else shapes.BigValueColorMode.NONE
    last = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return (
        stat.Panel()
        .reduce_options(last)
        .color_mode(mode)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .text_mode(shapes.BigValueTextMode.VALUE)
        .no_value("no data")
    )


def _lines(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).display_mode(shapes.LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
    built = timeseries.Panel().legend(legend.placement(shapes.LegendPlacement.BOTTOM)).tooltip(tooltip).min(0)
    built.line_width(1.5).fill_opacity(30 if panel.stacked else 6).show_points(shapes.VisibilityMode.NEVER)
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if panel.alert:
        style = common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.DASHED)
        built.thresholds_style(style)
    return built


def _bars(_panel: Panel) -> bargauge.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    built = bargauge.Panel().reduce_options(last).orientation(shapes.VizOrientation.HORIZONTAL).min(0)
    return built.display_mode(shapes.BarGaugeDisplayMode.BASIC).show_unfilled(False).no_value("none")


def _table(_panel: Panel) -> table.Panel:
    # The value is 1 by its nature, and the time is now: what is worth reading are the labels.
    hidden = dict.fromkeys(("Time", "Value", "__name__", "job", "service", "endpoint", "container", "prometheus"), True)
    drop = parts.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
    return table.Panel().show_header(True).with_transformation(drop)


_VISUALS: Mapping[Kind, Callable[[Panel], _Visual]] = {
    "number": _number, "lines": _lines, "bars": _bars, "table": _table,
}  # fmt: skip


def _target(query: Query, ref: str, kind: Kind) -> prometheus.Dataquery:
    built = prometheus.Dataquery().datasource(DATASOURCE).expr(query.expr).ref_id(ref)
    if query.legend:
        built.legend_format(query.legend)
    if kind == "table":
        built.format(PromQueryFormat.TABLE)
    return built.range() if kind == "lines" else built.instant()


def _variables(board: Board) -> list[dashboards.DatasourceVariable | dashboards.QueryVariable]:
    """An environment is a data source: each has its Prometheus workspace."""
    environment = dashboards.DatasourceVariable("datasource").label("Environment").type("prometheus")
    labels = {"namespace": "Namespace", **({"channel": "Channel"} if board.has_channels else {})}
    sources = {"namespace": 'up{job=~"adloom-.+"}', "channel": "adloom_creatives_total"}
    return [
        environment,
        *(
            dashboards.QueryVariable(name)
            .label(label)
            .datasource(DATASOURCE)
            .query(f"label_values({sources[name]}, {name})")
            .refresh(parts.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(parts.VariableSort.ALPHABETICAL_ASC)
            .include_all(True)
            .all_value(".*")
            .multi(True)
            for name, label in labels.items()
        ),
    ]


def _deploys() -> dashboards.AnnotationQuery:
    return (
        dashboards.AnnotationQuery()
        .name("Deploys")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("blue")
        .expr(DEPLOYS)
    )


def _siblings() -> dashboards.DashboardLink:
    link = dashboards.DashboardLink("Adloom").type(parts.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.include_vars(True).keep_time(True)


def _link(alert: str) -> dashboards.DashboardLink:
    link = dashboards.DashboardLink(f"Runbook: {alert}").type(parts.DashboardLinkType.LINK)
    return link.url(runbook_url(alert)).target_blank(True)


def _grid(place: Place) -> parts.GridPos:
    return parts.GridPos(h=place.height, w=place.width, x=place.left, y=place.top)
