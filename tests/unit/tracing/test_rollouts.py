"""Spans of rollouts and of changes of the configuration."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from skep.tracing.rollouts import RolloutSpans
from tests.unit.tracing.memory import tracer

CHANGE: dict[str, Any] = {
    "id": 4,
    "what": "config",
    "requester": "agent",
    "reason": "release application 7",
    "began": 1002.0,
    "ended": 1006.0,
    "outcome": "committed",
    "generation": 3,
    "notified": 1000.0,
    "pulled": 1001.0,
    "written": 1005.0,
    "phases": [{"name": "planning", "seconds": 2.5}, {"name": "preparing", "seconds": 1.5}],
    "problems": [],
}


def exported(**fields: Any) -> dict[str, ReadableSpan]:
    made, finished = tracer()
    RolloutSpans(made).export(CHANGE | fields)
    return {span.name: span for span in finished()}


def seconds(moment: int | None) -> float:
    return (moment or 0) / 1e9


def events(span: ReadableSpan) -> dict[str, float]:
    return {event.name: seconds(event.timestamp) for event in span.events}


def test_a_change_lasts_from_its_announcement_and_the_rollout_is_a_part_of_it() -> None:
    found = exported()
    change, rollout = found["config change"], found["rollout config"]
    assert change.context is not None
    assert rollout.parent is not None
    assert rollout.parent.span_id == change.context.span_id
    assert (seconds(change.start_time), seconds(change.end_time)) == (1000.0, 1006.0)
    assert (seconds(rollout.start_time), seconds(rollout.end_time)) == (1002.0, 1006.0)
    assert events(change) == {
        "notified": 1000.0,
        "pulled": 1001.0,
        "written": 1005.0,
        "applied": 1006.0,
    }
    assert events(rollout) == {"planning": 1002.0, "preparing": 1004.5}
    assert dict(rollout.attributes or {}) == {
        "skep.operation": 4,
        "skep.cause": "config",
        "skep.reason": "release application 7",
        "skep.generation": 3,
        "skep.outcome": "committed",
    }


def test_a_refusal_is_an_error_and_its_problems_are_not_shown() -> None:
    found = exported(outcome="refused", written=0.0, problems=["KEY is hunter2"])
    for span in found.values():
        assert span.status.status_code is StatusCode.ERROR
        assert "hunter2" not in span.to_json()
    assert "applied" not in events(found["config change"])


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"what": "reload", "notified": 0.0, "pulled": 0.0}, ["rollout reload"]),
        # From the cache: it may have been pulled days ago.
        ({"what": "start"}, ["rollout start"]),
        ({"what": "code", "outcome": "unchanged"}, []),
        ({"what": "stop"}, []),
        ({"notified": 0.0}, ["rollout config", "config change"]),
    ],
)
def test_which_operations_are_exported(fields: dict[str, Any], names: list[str]) -> None:
    assert list(exported(**fields)) == names
