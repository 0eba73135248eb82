import json
from typing import Any

import pytest

from skep.supervisor.metrics.frame import BadFrame, Definitions, check

FAMILIES = [
    [1, "runs_total", "counter", "Runs.", "sum"],
    [2, "size", "gauge", "Size.", "max"],
    [3, "wait_seconds", "histogram", "Wait.", "sum"],
]
SERIES = [[10, 1, {"b": "2", "a": "1"}], [20, 2, {}], [30, 3, {}, [0.5, 1]]]
GOOD: dict[str, Any] = {
    "families": FAMILIES,
    "series": SERIES,
    "add": [[10, 2]],
    "set": [[20, "NaN"]],
    "observe": [[30, 1.5, [1, 0, 2]]],
    "drop": [20],
}


def test_a_good_frame_is_read_in_full() -> None:
    frame = check(GOOD, Definitions())
    ((series, delta),) = frame.added
    assert (series.family.name, series.labels, delta) == ("runs_total", (("a", "1"), ("b", "2")), 2)
    ((series, total, counts),) = frame.observed
    assert (series.bounds, total, counts) == ((0.5, 1), 1.5, [1, 0, 2])
    assert [series.id for series in frame.dropped] == [20]


def test_an_idle_frame_is_good() -> None:
    assert check({}, Definitions()).added == []


def test_what_was_defined_before_is_known() -> None:
    before = check({"families": FAMILIES, "series": SERIES}, Definitions()).defined
    assert len(check({"add": [[10, 1]], "set": [[20, -1.5]]}, before).added) == 1


@pytest.mark.parametrize(
    "frame",
    [
        None,
        [],
        "add",
        {"surprise": []},
        {"add": {}},
        {"add": [10]},
        {"add": [[10]]},
        {"add": [[99, 1]]},
        {"add": [[True, 1]]},
        {"add": [["10", 1]]},
        {"add": [[10, -1]]},
        {"add": [[10, "1"]]},
        {"add": [[10, True]]},
        {"add": [[10, float("nan")]]},
        {"add": [[10, float("inf")]]},
        {"add": [[20, 1]]},
        {"set": [[10, 1]]},
        {"set": [[20, "many"]]},
        {"set": [[20, None]]},
        {"set": [[30, 1]]},
        {"observe": [[30, 1, [1, 0]]]},
        {"observe": [[30, 1, [1, 0, -2]]]},
        {"observe": [[30, "x", [1, 0, 2]]]},
        {"observe": [[10, 1, [1]]]},
        {"drop": [99]},
        {"drop": 10},
        {"families": [[4, "x", "speed", "", "sum"]]},
        {"families": [[4, "x", "gauge", "", "median"]]},
        {"families": [[4, 5, "gauge", "", "sum"]]},
        {"families": [[[], "x", "gauge", "", "sum"]]},
        {"series": [[40, 9, {}]]},
        {"series": [[40, 1, []]]},
        {"series": [[40, 1, {"a": 1}]]},
        {"series": [[40, 3, {}, [1, 0.5]]]},
        {"series": [[40, 3, {}, [1, 1]]]},
        {"series": [[40, 1, {}, [1]]]},
        {"exemplars": [[10, 1, {}, 1, 0]]},
        {"exemplars": [[20, 0, {}, 1, 0]]},
        {"exemplars": [[30, 3, {}, 1, 0]]},
        {"exemplars": [[30, -1, {}, 1, 0]]},
        {"exemplars": [[30, 0, [], 1, 0]]},
        {"exemplars": [[30, 0, {"trace_id": "x" * 121}, 1, 0]]},
        {"exemplars": [[30, 0, {}, None, 0]]},
        {"exemplars": [[30, 0, {}, 1, "now"]]},
    ],
    ids=json.dumps,
)
def test_what_a_healthy_worker_does_not_send_is_refused(frame: object) -> None:
    before = check({"families": FAMILIES, "series": SERIES}, Definitions()).defined
    with pytest.raises(BadFrame):
        check(frame, before)


def test_half_a_surrogate_pair_cannot_spoil_the_page() -> None:
    frame = json.loads(
        '{"families": [[1, "a", "gauge", "", "sum"]], "series": [[2, 1, {"l": "\\ud800é"}]]}'
    )
    (series,) = check(frame, Definitions()).defined.series.values()
    assert series.labels == (("l", "?é"),)
