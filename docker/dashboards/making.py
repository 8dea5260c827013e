"""From the description to Grafana's own form, by its foundation SDK."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from grafana_foundation_sdk.builders import common as common_parts
from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.description import Backend, Board, Kind, Panel, Query, State, Variable
from dashboards.influxql import InfluxQuery, InfluxQueryBuilder

__all__ = ["dashboard_of", "encoded"]

TAG: Final = "ocs"
"""What all dashboards have in common: by it, each offers links to the others."""

SILENCE: Final = 90_000
"""Milliseconds without a value after which a state is unknown: three of the registry's rounds."""

_FUNCTION_PREFIX: Final = r"^(?:count|last|max|mean|min)_(.*)$"
"""InfluxDB calls a column by what was done to it."""

_HIDDEN_COLUMNS: Final = ("Time", "__name__", "job")

_COLORED: Final = {"mode": "basic", "type": "color-background"}

_Variable: TypeAlias = parts.QueryVariable | parts.CustomVariable | parts.TextBoxVariable


def dashboard_of(board: Board, backend: Backend) -> dashboard.Dashboard:
    """Make a dashboard.

    Args:
        board: its description.
        backend: the database that it asks.
    """
    made = (
        parts.Dashboard(board.title)
        .uid(f"ocs-{board.name}-{backend}")
        .description(board.says)
        .tags([TAG, backend.value])
        .timezone("utc")
        .editable()
        .refresh("10s")
        .time(board.since, "now")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(_links(backend))
    )
    for variable in board.variables.get(backend, ()):
        made.with_variable(_variable(variable, backend))
    for section in board.sections_for(backend):
        made.with_row(parts.Row(section.title))
        for panel in section.panels:
            made.with_panel(_panel(panel, backend))
    return _tidied(made.build())


def encoded(made: dashboard.Dashboard) -> str:
    """Return a dashboard as the text of its file, the same each time."""
    return json.dumps(made, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _tidied(made: dashboard.Dashboard) -> dashboard.Dashboard:
    for number, panel in enumerate(made.panels or [], 1):
        panel.id_val = number
    for variable in made.templating.list_val or [] if made.templating else []:
        # Said of every variable by the SDK's model, and none of Grafana's but of intervals.
        variable.auto = variable.auto_count = variable.auto_min = None
    return made


def _links(backend: Backend) -> parts.DashboardLink:
    links = parts.DashboardLink("Dashboards").type(dashboard.DashboardLinkType.DASHBOARDS)
    return links.tags([TAG, backend.value]).as_dropdown(True).keep_time(True)


def _source(backend: Backend) -> dashboard.DataSourceRef:
    return dashboard.DataSourceRef(type_val=backend.value, uid=backend.uid)


def _variable(variable: Variable, backend: Backend) -> _Variable:
    if variable.choices:
        first = dashboard.VariableOption(text=variable.choices[0], value=variable.choices[0], selected=True)
        chosen = parts.CustomVariable(variable.name).label(variable.label).values(",".join(variable.choices))
        return chosen.current(first)
    if not variable.query:
        return parts.TextBoxVariable(variable.name).label(variable.label).default_value("")
    return _listed(variable, backend)


def _listed(variable: Variable, backend: Backend) -> parts.QueryVariable:
    made = parts.QueryVariable(variable.name).label(variable.label).query(variable.query).datasource(_source(backend))
    made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.NATURAL_ASC)
    if variable.regex:
        made.regex(variable.regex)
    if variable.many:
        made.multi(True).include_all(True).current(dashboard.VariableOption(text="All", value="$__all"))
    if variable.hidden:
        made.hide(dashboard.VariableHide.HIDE_VARIABLE)
    return made


def _panel(panel: Panel, backend: Backend) -> Builder[dashboard.Panel]:
    made = _MAKERS[panel.kind]()
    made.title(panel.title).description(panel.says).datasource(_source(backend)).height(panel.height).span(panel.width)
    made.with_target(_target(panel.queries[backend], panel.kind, backend))
    for transformation in _transformations(panel.kind, backend):
        made.with_transformation(transformation)
    if panel.unit:
        made.unit(panel.unit)
    return _colored(made, panel)


def _colored(made: Any, panel: Panel) -> Builder[dashboard.Panel]:
    if panel.states:
        made.mappings([_meaning(panel.states)])
    if panel.limits:
        made.thresholds(_limits(panel.limits))
    if panel.kind is Kind.LINES:
        # Lines keep colours of their own, to be told apart; where the limits are is drawn.
        if panel.limits:
            made.thresholds_style(_dashed())
    elif panel.states or panel.limits:
        made.color_scheme(parts.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        if panel.kind is Kind.TABLE:
            made.override_by_name(panel.colored, [dashboard.DynamicConfigValue("custom.cellOptions", _COLORED)])
    colored: Builder[dashboard.Panel] = made
    return colored


def _dashed() -> common_parts.GraphThresholdsStyleConfig:
    return common_parts.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)


def _target(query: Query, kind: Kind, backend: Backend) -> Builder[Dataquery]:
    if backend is Backend.INFLUXDB:
        form = "table" if kind is Kind.TABLE else "time_series"
        return InfluxQueryBuilder(InfluxQuery(query.text, "A", query.legend, form))
    asked = prometheus.Dataquery().expr(query.text).ref_id("A")
    if kind is Kind.TABLE:
        return asked.instant().format(PromQueryFormat.TABLE)
    if kind is Kind.TILES:
        asked.instant()
    else:
        asked.range()
    return asked.legend_format(query.legend)


def _transformations(kind: Kind, backend: Backend) -> list[dashboard.DataTransformerConfig]:
    if backend is Backend.INFLUXDB:
        named = {"regex": _FUNCTION_PREFIX, "renamePattern": "$1"}
        return [dashboard.DataTransformerConfig(id_val="renameByRegex", options=named)]
    if kind is Kind.TABLE:
        hidden = {"excludeByName": dict.fromkeys(_HIDDEN_COLUMNS, True)}
        return [dashboard.DataTransformerConfig(id_val="organize", options=hidden)]
    return []


def _meaning(states: Mapping[int, State] | Mapping[str, State]) -> dashboard.ValueMap:
    results = {
        str(value): dashboard.ValueMappingResult(text=state.text, color=state.color, index=place)
        for place, (value, state) in enumerate(states.items())
    }
    return dashboard.ValueMap(options=results)


def _limits(limits: Mapping[float, str]) -> parts.ThresholdsConfig:
    steps = [dashboard.Threshold(value=None, color="green")]
    steps += [dashboard.Threshold(value=value, color=color) for value, color in sorted(limits.items())]
    return parts.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _states() -> statetimeline.Panel:
    made = statetimeline.Panel().show_value(common.VisibilityMode.AUTO).merge_values(True).row_height(0.85)
    made.fill_opacity(85).legend(_legend(common.LegendDisplayMode.LIST)).tooltip(_tooltip())
    # The panel knows it, its model does not: what falls silent is shown as unknown, not as its last state for ever.
    return made.override_by_field_type("number", [dashboard.DynamicConfigValue("custom.spanNulls", SILENCE)])


def _tiles() -> stat.Panel:
    newest = common_parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    made = stat.Panel().reduce_options(newest).color_mode(common.BigValueColorMode.BACKGROUND)
    return made.graph_mode(common.BigValueGraphMode.NONE).text_mode(common.BigValueTextMode.AUTO)


def _lines() -> timeseries.Panel:
    made = timeseries.Panel().line_width(1).fill_opacity(8).show_points(common.VisibilityMode.AUTO)
    return made.span_nulls(SILENCE).legend(_legend(common.LegendDisplayMode.TABLE)).tooltip(_tooltip())


def _table() -> table.Panel:
    return table.Panel().show_header(True).filterable(True).cell_options(common.TableAutoCellOptions())


def _legend(mode: common.LegendDisplayMode) -> common_parts.VizLegendOptions:
    made = common_parts.VizLegendOptions().show_legend(True).display_mode(mode)
    made.placement(common.LegendPlacement.BOTTOM)
    return made.calcs(["lastNotNull"]) if mode is common.LegendDisplayMode.TABLE else made


def _tooltip() -> common_parts.VizTooltipOptions:
    made = common_parts.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    return made.sort(common.SortOrder.DESCENDING)


_MAKERS: Final[Mapping[Kind, Any]] = {
    Kind.STATES: _states,
    Kind.TILES: _tiles,
    Kind.LINES: _lines,
    Kind.TABLE: _table,
}
"""The SDK's builders of panels have most methods in common, and no class that says so."""
