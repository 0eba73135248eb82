"""The history of operations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from skep.supervisor.control.records import KEPT, Operations
from skep.supervisor.processes.events import (
    Events,
    PhaseEntered,
    RolloutBegan,
    RolloutReported,
)
from skep.supervisor.request import Report, RolloutRequest
from skep.wire.plan import Problem


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def history(path: Path) -> tuple[Operations, Events, Clock]:
    clock, events = Clock(), Events()
    operations = Operations(path, clock, events)
    return operations, events, clock


REQUEST = RolloutRequest("cli", "platform reload", requester="uid 0 (pid 7)")
DONE = Report("committed", 2, "cli", "platform reload", 0.0)


def test_a_rollout_is_told_with_who_asked_and_how_long_each_phase_took(tmp_path: Path) -> None:
    operations, events, clock = history(tmp_path / "o")
    events.publish(RolloutBegan(2, REQUEST))
    clock.now += 0.5
    events.publish(PhaseEntered(2, REQUEST, "preparing"))
    assert operations.latest()[0]["phase"] == "preparing"
    clock.now += 0.25
    events.publish(RolloutReported(REQUEST, DONE))
    (entry,) = operations.latest()
    assert entry["phases"] == [
        {"name": "planning", "seconds": 0.5},
        {"name": "preparing", "seconds": 0.25},
    ]
    assert (entry["what"], entry["requester"]) == ("reload", "uid 0 (pid 7)")
    assert (entry["outcome"], entry["generation"], entry["seconds"]) == ("committed", 2, 0.75)


def test_a_change_of_the_configuration_keeps_when_it_was_announced_pulled_and_written(
    tmp_path: Path,
) -> None:
    operations, events, _ = history(tmp_path / "o")
    request = RolloutRequest("config", snapshot="s", notified=990.0, pulled=991.0)
    events.publish(RolloutReported(request, replace(DONE, written_at=999.0)))
    (entry,) = operations.latest()
    assert (entry["notified"], entry["pulled"], entry["written"]) == (990.0, 991.0, 999.0)


def test_a_refusal_keeps_its_problems_and_needs_no_phase(tmp_path: Path) -> None:
    operations, events, _ = history(tmp_path / "o")
    report = replace(
        DONE, outcome="refused", problems=(Problem("load", "no", file="a.py", line=4),)
    )
    events.publish(RolloutReported(RolloutRequest("code"), report))
    (entry,) = operations.latest()
    assert entry["problems"] == ["a.py:4: no"]
    assert (entry["what"], entry["requester"]) == ("code", "agent")


def test_a_rollout_that_gives_way_to_a_newer_one_says_so(tmp_path: Path) -> None:
    operations, events, _ = history(tmp_path / "o")
    events.publish(RolloutBegan(2, REQUEST))
    events.publish(RolloutBegan(3, REQUEST))
    events.publish(RolloutReported(REQUEST, DONE))
    assert [e["outcome"] for e in operations.latest()] == ["superseded", "committed"]


def test_the_last_ones_outlive_the_supervisor_and_a_line_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "o"
    operations, _, _ = history(path)
    for number in range(2 * KEPT + 5):
        operations.end(operations.begin("scale", "me", str(number)), "ok")
    with path.open("a") as file:
        file.write('{"id": 1')
    again, _, _ = history(path)
    ids = [entry["id"] for entry in again.latest()]
    assert ids[-1] == 2 * KEPT + 5
    assert ids == sorted(ids)
    assert len(path.read_text().splitlines()) <= 2 * KEPT + 1
    assert again.begin("stop", "me").id == 2 * KEPT + 6


def test_an_operation_ends_once(tmp_path: Path) -> None:
    operations, _, _ = history(tmp_path / "o")
    operation: Any = operations.begin("stop", "me")
    operations.end(operation, "stopped")
    operations.end(operation, "something else")
    assert [e["outcome"] for e in operations.latest()] == ["stopped"]
