"""The kinds of panels that the dashboards use.

In expressions `@` stands for what all have in common: `{@}` selects the chosen jobs and instances,
`[@]` is Grafana's interval for rates.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Protocol

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as queries

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
SELECTED = 'job=~"$job",instance=~"$instance"'
WIDTH = 24

Query = tuple[str, str]
"""An expression, and the legend of each of its series."""
Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from this value on this colour; the first value is None, for the least."""


@dataclass(frozen=True)
class Panel:
    """A panel without a position."""

    model: models.Panel
    width: int
    height: int


class _PanelBuilder(Protocol):
    def build(self) -> models.Panel: ...


def expand(expression: str) -> str:
    """Return the expression as Grafana gets it."""
    expression = expression.replace("{@", "{" + SELECTED).replace("[@]", "[$__rate_interval]")
    return re.sub(r"\s+", " ", expression).strip()


def quantiles(metric: str, *by: str, of: Sequence[float] = (0.5, 0.95, 0.99)) -> list[Query]:
    """Return queries for quantiles of a histogram."""
    groups, names = ", ".join(("le", *by)), " ".join(f"{{{{{name}}}}}" for name in by)
    return [
        (
            f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{{@}}[@])))",
            f"{names} p{q * 100:g}".strip(),
        )
        for q in of
    ]


def lines(
    title: str,
    description: str,
    unit: str,
    *asked: Query,
    width: int = 8,
    stacked: bool = False,
    most: float | None = None,
    exemplars: bool = False,
) -> Panel:
    """Return a graph over time; `exemplars` are single observations with their traces."""
    legend = (
        common.VizLegendOptions()
        .display_mode(options.LegendDisplayMode.TABLE)
        .placement(options.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["mean", "max", "lastNotNull"])
    )
    tooltip = (
        common.VizTooltipOptions()
        .mode(options.TooltipDisplayMode.MULTI)
        .sort(options.SortOrder.DESCENDING)
    )
    mode = options.StackingMode.NORMAL if stacked else options.StackingMode.NONE
    builder = (
        timeseries.Panel()
        .legend(legend)
        .tooltip(tooltip)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(options.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(mode).group("A"))
    )
    made = _panel(builder, title, description, unit, asked, width, 8, most=most)
    for target in made.model.targets or []:
        assert isinstance(target, queries.Dataquery)
        target.exemplar = exemplars
    return made


def heat(title: str, description: str, unit: str, metric: str, width: int = 8) -> Panel:
    """Return how the buckets of a histogram fill over time."""
    asked = [(f"sum by (le) (rate({metric}_bucket{{@}}[@]))", "{{le}}")]
    builder = (
        heatmap.Panel()
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().scheme("Oranges").steps(64))
    )
    made = _panel(builder, title, description, unit, asked, width, 8)
    for target in made.model.targets or []:
        assert isinstance(target, queries.Dataquery)
        target.format_val = queries.PromQueryFormat.HEATMAP
    return made


def value(
    title: str,
    description: str,
    unit: str,
    *asked: Query,
    steps: Steps = ((None, "green"),),
    texts: Mapping[int, str] | None = None,
    to: str = "",
    width: int = 4,
) -> Panel:
    """Return one large number; `texts` are shown in place of numbers, `to` is the dashboard that
    shows more."""
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
    builder = (
        stat.Panel()
        .reduce_options(reduced)
        .color_mode(options.BigValueColorMode.VALUE)
        .graph_mode(options.BigValueGraphMode.AREA if not texts else options.BigValueGraphMode.NONE)
    )
    return _panel(builder, title, description, unit, asked, width, 4, steps, texts=texts, to=to)


def bars(
    title: str, description: str, unit: str, *asked: Query, width: int = 8, height: int = 8
) -> Panel:
    """Return bars of present values."""
    builder = (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
    )
    return _panel(builder, title, description, unit, asked, width, height, instant=True)


def states(
    title: str,
    description: str,
    *asked: Query,
    steps: Steps = ((None, "green"),),
    texts: Mapping[int, str] | None = None,
    width: int = 8,
    height: int = 8,
) -> Panel:
    """Return a band of colours over time for each series."""
    builder = statetimeline.Panel().show_value(options.VisibilityMode.NEVER).row_height(0.8)
    return _panel(builder, title, description, "short", asked, width, height, steps, texts=texts)


def rows(
    title: str,
    description: str,
    *columns: tuple[str, str, str],
    hide: Sequence[str] = (),
    width: int = 24,
    height: int = 8,
    link: tuple[str, str, str] | None = None,
) -> Panel:
    """Return a table; each column is its heading, its unit and its expression.

    An expression with no unit only adds its labels. `link` is a column, the text and the target of
    a link on its cells. Labels named in `hide` are not shown.
    """
    builder = table.Panel().show_header(True)
    asked = [(expression, "") for _, _, expression in columns]
    made = _panel(builder, title, description, "short", asked, width, height, instant=True)
    fields = [f"Value #{letter}" if len(columns) > 1 else "Value" for letter in ascii_uppercase]
    shown = dict(zip(fields, columns, strict=False))
    excluded = ["Time", *hide, *(f for f, (_, unit, _) in shown.items() if not unit)]
    organized = {
        "excludeByName": dict.fromkeys(excluded, True),
        "renameByName": {field: heading for field, (heading, unit, _) in shown.items() if unit},
    }
    made.model.transformations = [
        models.DataTransformerConfig(id_val="merge", options={}),
        models.DataTransformerConfig(id_val="organize", options=organized),
    ]
    assert made.model.field_config is not None
    made.model.field_config.overrides = [
        _override(heading, "unit", unit) for heading, unit, _ in columns if unit
    ]
    if link:
        column, text, url = link
        made.model.field_config.overrides.append(
            _override(column, "links", [{"title": text, "url": url}])
        )
    for target in made.model.targets or []:
        assert isinstance(target, queries.Dataquery)
        target.format_val = queries.PromQueryFormat.TABLE
    return made


def _override(name: str, key: str, content: Any) -> models.DashboardFieldConfigSourceOverrides:
    return models.DashboardFieldConfigSourceOverrides(
        matcher=models.MatcherConfig(id_val="byName", options=name),
        properties=[models.DynamicConfigValue(id_val=key, value=content)],
    )


def _panel(
    builder: _PanelBuilder,
    title: str,
    description: str,
    unit: str,
    asked: Sequence[Query],
    width: int,
    height: int,
    steps: Steps = ((None, "green"),),
    *,
    texts: Mapping[int, str] | None = None,
    most: float | None = None,
    instant: bool = False,
    to: str = "",
) -> Panel:
    model = builder.build()
    model.title, model.description, model.datasource = title, description, DATASOURCE
    targets = zip(ascii_uppercase, asked, strict=False)
    model.targets = [_target(letter, query, instant).build() for letter, query in targets]
    model.field_config = model.field_config or models.FieldConfigSource()
    defaults = model.field_config.defaults
    defaults.unit, defaults.min_val, defaults.max_val, defaults.no_value = unit, 0, most, "–"
    defaults.thresholds = models.ThresholdsConfig(
        mode=models.ThresholdsMode.ABSOLUTE, steps=[models.Threshold(*step) for step in steps]
    )
    if texts:
        defaults.mappings = [_mapping(texts)]
    if to:
        model.links = [board_link(to)]
    return Panel(model, width, height)


def _target(letter: str, query: Query, instant: bool) -> Builder[queries.Dataquery]:
    expression, legend = query
    target = prometheus.Dataquery().ref_id(letter).expr(expand(expression)).datasource(DATASOURCE)
    return (target.instant() if instant else target.range()).legend_format(legend)


def _mapping(texts: Mapping[int, str]) -> models.ValueMap:
    return models.ValueMap(
        options={
            str(number): models.ValueMappingResult(text=text, index=index)
            for index, (number, text) in enumerate(texts.items())
        }
    )


def board_url(name: str, more: str = "") -> str:
    """Return the address of another dashboard with the same time, jobs and instances."""
    kept = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
    return f"/d/platform-{name}?{kept}{more}"


def board_link(name: str) -> models.DashboardLink:
    """Return the link of a panel to another dashboard."""
    return (
        dashboard.DashboardLink(f"Open {name}")
        .type(models.DashboardLinkType.LINK)
        .url(board_url(name))
        .build()
    )
