"""The stages of a change of the configuration."""

from dataclasses import replace

import pytest

from skep.supervisor.config.history import propagation
from skep.supervisor.request import Outcome, Report, RolloutRequest

TOLD = RolloutRequest("config", notified=100.0, pulled=100.25)


def report(outcome: Outcome = "committed") -> Report:
    return Report(outcome, 2, "config", "", at=101.0, written_at=100.75)


def test_each_stage_takes_from_one_moment_to_the_next() -> None:
    assert propagation(TOLD, report()) == {
        "notified_to_pulled": 0.25,
        "pulled_to_written": 0.5,
        "written_to_applied": 0.25,
        "notified_to_applied": 1.0,
    }


def test_what_nobody_told_of_has_no_stage_from_the_notification() -> None:
    found = propagation(RolloutRequest("config", pulled=100.25), report())
    assert found == {"pulled_to_written": 0.5, "written_to_applied": 0.25}


def test_the_same_under_another_key_is_applied_when_it_is_written() -> None:
    """Metrics, case 38: there is one observation for each release in force."""
    assert propagation(TOLD, report("unchanged")) == propagation(TOLD, report())
    assert propagation(TOLD, replace(report("unchanged"), written_at=0.0)) == {}


@pytest.mark.parametrize("outcome", ["refused", "rolled back"])
def test_what_is_not_applied_has_no_stages(outcome: Outcome) -> None:
    assert propagation(TOLD, report(outcome)) == {}


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    assert propagation(RolloutRequest("config", notified=200.0, pulled=100.0), report()) == {
        "notified_to_pulled": 0.0,
        "pulled_to_written": 0.75,
        "written_to_applied": 0.25,
        "notified_to_applied": 0.0,
    }
