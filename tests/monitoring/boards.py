"""The committed dashboards and rules, and what they ask of Prometheus."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

GRAFANA = Path(__file__).parents[2] / "grafana"
PROMETHEUS = GRAFANA / "prometheus"
RULES = PROMETHEUS / "rules.yml"
BOARDS: dict[str, dict[str, Any]] = {
    path.name: json.loads(path.read_text())
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
# A name of the catalogue or of a recording rule; of a histogram, one of its series.
_NAME = re.compile(r"\b(?:platform[_:][a-z0-9_:]+|process_[a-z_]+)\b")


@dataclass(frozen=True)
class Question:
    """A query of a dashboard: where it stands, and the expression."""

    where: str
    expression: str


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every panel, those in collapsed rows too, but no row."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def questions(board: dict[str, Any]) -> Iterator[Question]:
    """Yield the queries of all panels."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield Question(f"{panel['title']} {target['refId']}", target["expr"])


def annotations(board: dict[str, Any]) -> Iterator[Question]:
    """Yield the queries of the annotations."""
    for annotation in board["annotations"]["list"]:
        yield Question(annotation["name"], annotation["expr"])


def variables(board: dict[str, Any]) -> Iterator[Question]:
    """Yield the queries of the variables."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield Question(variable["name"], variable["query"]["query"])


def rules() -> list[dict[str, Any]]:
    """Return every recording and alert rule."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return every alert rule."""
    return [rule for rule in rules() if "alert" in rule]


def names(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    outside_strings = re.sub(r'"[^"]*"', '""', expression)
    return set(_NAME.findall(outside_strings))


def family(name: str) -> str:
    """Return the metric of which this is a series."""
    return re.sub(r"_(?:bucket|sum|count)$", "", name)


def substituted(expression: str, interval: str, span: str) -> str:
    """Return an expression as Grafana sends it when everything is chosen."""
    for sign, text in (
        ("$__rate_interval", interval),
        ("$__interval", interval),
        ("$__range", span),
    ):
        expression = expression.replace(sign, text)
    return re.sub(r"\$\{?\w+(?::\w+)?\}?", ".*", expression)
