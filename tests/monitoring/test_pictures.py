"""How the pictures of dashboards show values; what draws them is not installed for tests."""

import math

import pytest

from grafana.pictures.series import asked
from grafana.pictures.units import text
from tests.monitoring.boards import BOARDS, panels


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0123, "s", "12.3 ms"),
        (0.0, "s", "0 s"),
        (7200.0, "dtdurations", "2 h"),
        (3 * 2**20, "bytes", "3 MiB"),
        (512, "Bps", "512 B/s"),
        (0.125, "percentunit", "12.5%"),
        (2500, "reqps", "2.5 K req/s"),
        (0, "dateTimeAsIso", "1970-01-01 00:00:00"),
        (math.nan, "ops", "–"),
    ],
)
def test_a_value_is_shown_in_its_unit(value: float, unit: str, shown: str) -> None:
    assert text(value, unit) == shown


def test_every_unit_of_the_dashboards_is_known() -> None:
    units = {
        panel["fieldConfig"]["defaults"]["unit"]
        for board in BOARDS.values()
        for panel in panels(board)
    }
    assert {text(90_000, unit) for unit in units - {"short"}}.isdisjoint({text(90_000, "short")})


def test_a_legend_has_the_values_of_its_labels() -> None:
    target = {"expr": "up", "refId": "A", "legendFormat": "{{instance}} {{gone}} p95"}
    answer = {"metric": {"instance": "a"}, "values": [[1, "2"], [2, "NaN"]]}
    (series,) = asked({"targets": [target]}, lambda expression, instant: [answer])
    assert series.name == "a  p95"
    assert (series.last, series.peak) == (2, 2)
