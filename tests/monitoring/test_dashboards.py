"""What holds for every dashboard, without Prometheus."""

import itertools
import re
from typing import Any

import pytest

from grafana.generator.__main__ import rendered
from skep.metrics.names import BY_EXPOSED
from tests.monitoring.boards import (
    BOARDS,
    GRAFANA,
    annotations,
    family,
    names,
    panels,
    questions,
    rules,
    variables,
)

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
KINDS = {"timeseries", "stat", "bargauge", "table", "heatmap", "state-timeline"}
EVERY_BOARD = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
MOST_PANELS = 25
# The labels of Prometheus' own series are not in our catalogue.
OWN = {"ALERTS", "ALERTS_FOR_STATE", "up"}


def test_there_are_six_dashboards_and_each_is_what_the_program_writes() -> None:
    """39: regenerate == committed."""
    written = rendered()
    assert len(written) == 6
    committed = {path.name: path.read_text() for path in (GRAFANA / "dashboards").iterdir()}
    assert committed == written, "run make dashboards"


@EVERY_BOARD
def test_a_dashboard_has_what_grafana_s_linter_asks_for(board: dict[str, Any]) -> None:
    """39: data source, job and instance are variables; no plugin and no Angular panel."""
    first, job, instance, *_ = board["templating"]["list"]
    assert (first["name"], first["label"], first["query"]) == (
        "datasource",
        "Data source",
        "prometheus",
    )
    assert (job["name"], instance["name"]) == ("job", "instance")
    assert len(board["uid"]) <= 40
    assert board["schemaVersion"] >= 39
    assert board["tags"] == ["platform"]
    assert not {"__inputs", "gnetId", "iteration"} & board.keys()
    for variable in board["templating"]["list"][1:]:
        assert variable["datasource"] == DATASOURCE
        assert variable["multi"]
        assert variable["allValue"] == ".*"
    for annotation in board["annotations"]["list"]:
        assert annotation["datasource"] == DATASOURCE
    assert {"Rollouts", "Config releases"} == {a["name"] for a in board["annotations"]["list"]}


@EVERY_BOARD
def test_a_panel_has_a_unit_a_description_and_queries_of_the_chosen_instances(
    board: dict[str, Any],
) -> None:
    """39."""
    for panel in panels(board):
        assert panel["type"] in KINDS
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == DATASOURCE
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert defaults["noValue"]
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        for target in panel["targets"]:
            assert target["datasource"] == DATASOURCE
            assert_selects(target["expr"])
            instant = panel["type"] in ("table", "bargauge")
            assert target.get("instant", False) is instant
            assert instant or "topk" not in target["expr"]


def assert_selects(expression: str) -> None:
    """Each metric selects by job and instance, each rate is over a variable interval."""
    for name in re.findall(r"\b(?:platform_|process_|ALERTS)\w*", expression):
        for found in re.finditer(rf"\b{name}\b(.)", expression):
            assert found[1] == "{", expression
    for selector in re.findall(r"\{([^}]*)\}", expression):
        assert selector.startswith('job=~"$job",instance=~"$instance"'), expression
    for interval in re.findall(r"\[([^\]]*)\]", expression):
        assert interval in ("$__rate_interval", "$__range"), expression


@EVERY_BOARD
def test_panels_do_not_overlap_and_have_ids_of_their_own(board: dict[str, Any]) -> None:
    """39: at most 25 panels, 24 columns."""
    every = [*panels(board), *(p for p in board["panels"] if p["type"] == "row")]
    ids = [panel["id"] for panel in every]
    assert len(set(ids)) == len(ids)
    assert len(list(panels(board))) <= MOST_PANELS
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles), "two panels have the same title"
    rows = [row["panels"] for row in board["panels"] if row["type"] == "row"]
    for together in (board["panels"], *rows):
        for one, other in itertools.combinations([p["gridPos"] for p in together], 2):
            apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert apart_x or apart_y, (one, other)
        assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in together)


def test_the_overview_fits_a_screen_until_a_row_is_opened() -> None:
    board = BOARDS["platform-overview.json"]
    shown = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in shown) <= 20
    assert [row["collapsed"] for row in board["panels"] if row["type"] == "row"] == [
        *(False, False),
        *(True, True, True),
    ]


def test_links_lead_to_dashboards_there_are() -> None:
    uids = {board["uid"] for board in BOARDS.values()}
    found = set()
    for board in BOARDS.values():
        assert [link["tags"] for link in board["links"]] == [["platform"]]
        for path in re.findall(r'"/d/([a-z-]+)', str(board).replace("'", '"')):
            found.add(path)
    assert found <= uids
    assert {"platform-http", "platform-config", "platform-tasks-events-crons"} <= found


def expressions() -> dict[str, str]:
    """Return every expression of dashboards and rules by where it stands."""
    found = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}
    for name, board in BOARDS.items():
        for ask in (questions, annotations, variables):
            found |= {f"{name}: {q.where}": q.expression for q in ask(board)}
    return found


def test_every_metric_in_an_expression_is_in_the_catalogue_and_every_family_is_used() -> None:
    """39."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used: set[str] = set()
    for where, expression in expressions().items():
        for name in names(expression) - recorded - OWN:
            known = name if name in BY_EXPOSED else family(name)
            assert known in BY_EXPOSED, f"{where}: {name}"
            used.add(known)
    assert BY_EXPOSED.keys() - used == set()


# LaravelS's dashboard, panel by panel, and ours that shows the same.
LARAVELS = {
    "Total RPS": ("http", "Requests"),
    "Top RPS": ("http", "Routes"),
    "Total 5xx": ("http", "5xx by route"),
    "5xx Percentage": ("http", "Share of 5xx by route"),
    "Top Duration": ("http", "Mean by route"),
    "Top Requests": ("http", "Most requested"),
    "Total Requests": ("http", "Requests by instance"),
    "Bottom Requests": ("http", "Least requested"),
    "Load Average": ("overview", "Load"),
    "APCu Memory": ("workers-rollouts", "Series"),
    "Memory Usage(Worker)": ("workers-rollouts", "Memory by kind"),
    "Memory Usage(Task Worker)": ("workers-rollouts", "Memory by kind"),
    "Memory Usage(Timer)": ("workers-rollouts", "Memory by kind"),
    "Worker Num": ("workers-rollouts", "Ready and wanted"),
    "Task Worker Num": ("tasks-events-crons", "Running"),
    "Connection Num": ("http", "Open connections"),
    "Up Time": ("overview", "Up time"),
    "GC Status(Worker)": ("workers-rollouts", "Garbage collections by kind"),
    "GC Status(Task Worker)": ("workers-rollouts", "Garbage collections by kind"),
    "GC Status(Timer)": ("workers-rollouts", "Garbage collections by kind"),
}


def test_every_panel_of_laravels_has_one_that_shows_the_same() -> None:
    assert len(LARAVELS) == 20
    for name, title in LARAVELS.values():
        assert title in {panel["title"] for panel in panels(BOARDS[f"platform-{name}.json"])}, title
