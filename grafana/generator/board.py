"""A dashboard: rows of panels with positions, and what all dashboards share."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from grafana.generator.panels import DATASOURCE, WIDTH, Panel, expand

_ROLLOUTS = 'changes(platform_reloads_total{@,outcome!="noop"}[@]) > 0'
_RELEASES = """
platform_config_namespace_applied_timestamp_seconds{@}
  * on (job, instance, namespace) group_left (release) platform_config_info{@} * 1000
"""


@dataclass(frozen=True)
class Row:
    """Panels below a heading; a collapsed row asks Prometheus nothing until it is opened."""

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True)
class Choice:
    """A variable that chooses values of a label."""

    name: str
    metric: str


class Annotation(dashboard.AnnotationQuery):
    """An annotation of the Prometheus data source, whose own fields the models lack."""

    def __init__(self, name: str, colour: str, expression: str, title: str, at: bool) -> None:
        super().__init__()
        self._internal = _PrometheusAnnotation(
            name=name, datasource=DATASOURCE, icon_color=colour, expr=expand(expression)
        )
        self._internal.title = title
        self._internal.at = at


class _PrometheusAnnotation(models.AnnotationQuery):
    """`at`: the values are the times of the events, in ms."""

    title: str
    at: bool

    def to_json(self) -> dict[str, object]:
        return {
            **super().to_json(),
            "titleFormat": self.title,
            "textFormat": "{{instance}}",
            "useValueForTime": self.at,
        }


def board(
    name: str, title: str, description: str, rows: Sequence[Row], choices: Sequence[Choice] = ()
) -> models.Dashboard:
    """Return a dashboard whose uid and file are named `platform-NAME`."""
    builder = (
        dashboard.Dashboard(f"Platform / {title}")
        .uid(f"platform-{name}")
        .description(description)
        .tags(["platform"])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .variables(
            [
                _datasource(),
                _choice(Choice("job", "platform_build_info"), ""),
                _choice(Choice("instance", "platform_build_info"), '{job=~"$job"}'),
                *(_choice(choice, "{@}") for choice in choices),
            ]
        )
        .annotations(
            [
                Annotation(
                    "Rollouts", "blue", _ROLLOUTS, "Rollout ({{reason}}): {{outcome}}", at=False
                ),
                Annotation(
                    "Config releases", "purple", _RELEASES, "{{namespace}}: {{release}}", at=True
                ),
            ]
        )
        .link(_others())
    )
    built = builder.build()
    built.panels = _placed(rows)
    return built


def _datasource() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _choice(choice: Choice, selector: str) -> dashboard.QueryVariable:
    query = expand(f"label_values({choice.metric}{selector}, {choice.name})")
    return (
        dashboard.QueryVariable(choice.name)
        .label(choice.name.capitalize())
        .datasource(DATASOURCE)
        .query({"query": query, "refId": choice.name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Platform")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags(["platform"])
        .as_dropdown(False)
        .keep_time(True)
        .include_vars(True)
    )


def _placed(rows: Sequence[Row]) -> list[models.Panel | models.RowPanel]:
    """Give each panel an id and a position; a line of panels is as high as its highest."""
    found: list[models.Panel | models.RowPanel] = []
    number, top = 0, 0
    for row in rows:
        number += 1
        header = models.RowPanel(
            collapsed=row.collapsed,
            title=row.title,
            id_val=number,
            grid_pos=models.GridPos(h=1, w=WIDTH, x=0, y=top),
        )
        found.append(header)
        top += 1
        left, line, below = 0, top, top
        for panel in row.panels:
            number += 1
            if left + panel.width > WIDTH:
                left, line = 0, below
            panel.model.id_val = number
            panel.model.grid_pos = models.GridPos(panel.height, panel.width, left, line)
            left, below = left + panel.width, max(below, line + panel.height)
        models_of_row = [panel.model for panel in row.panels]
        if row.collapsed:
            header.panels = models_of_row
        else:
            found += models_of_row
            top = below
    return found
