"""The watch over a new generation."""

from skep.supervisor.probation import (
    EXITS,
    UNREADY,
    Probation,
    begin,
    exited,
    passed,
    seen,
)


def test_nothing_happens_and_it_passes() -> None:
    probation = begin(100.0, 30.0)
    assert probation.deadline == 130.0
    assert not passed(probation, 129.9)
    assert passed(probation, 130.0)


def test_a_few_exits_are_bearable_and_one_more_is_not() -> None:
    probation = begin(0.0, 30.0)
    for _ in range(EXITS - 1):
        probation = exited(probation, "web")
    assert probation.failure == ""
    assert exited(probation, "task").failure == ""
    probation = exited(probation, "web")
    assert "web" in probation.failure
    assert not passed(probation, 1000.0)


def test_a_kind_without_a_ready_worker_fails_it_after_a_while_only() -> None:
    probation = seen(begin(0.0, 30.0), {"web": False, "task": True}, 1.0)
    assert probation.deadline == 1.0 + UNREADY
    probation = seen(probation, {"web": False, "task": True}, 3.0)
    assert probation.failure == ""
    probation = seen(probation, {"web": False, "task": True}, 1.0 + UNREADY)
    assert "no web worker" in probation.failure


def test_who_is_ready_again_starts_anew() -> None:
    probation = seen(begin(0.0, 30.0), {"web": False}, 1.0)
    probation = seen(probation, {"web": True}, 4.0)
    probation = seen(probation, {"web": False}, 5.0)
    assert seen(probation, {"web": False}, 5.0 + UNREADY - 0.1).failure == ""


def test_nobody_passes_while_it_has_to_be_seen_if_a_kind_gets_ready() -> None:
    probation = seen(begin(0.0, 2.0), {"web": False}, 1.0)
    assert not passed(probation, 3.0)
    assert passed(seen(probation, {"web": True}, 3.5), 3.5)


def test_the_first_failure_is_the_one_that_is_told() -> None:
    probation = Probation(10.0, failure="it burned")
    assert exited(probation, "web").failure == "it burned"
    assert seen(probation, {"web": False}, 100.0).failure == "it burned"
