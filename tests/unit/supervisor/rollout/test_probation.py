"""The watch over a new generation."""

import pytest

from skep.supervisor.rollout.probation import (
    BEARABLE,
    LONGEST,
    UNREADY,
    Before,
    Probation,
    begin,
    exited,
    passed,
    seen,
)


def watch(length: float = 30.0, before: Before | None = None) -> Probation:
    return begin(0.0, length, before or Before())


def exits(probation: Probation, slots: int, *times: float, kind: str = "web") -> Probation:
    for now in times:
        probation = exited(probation, kind, slots, now)
    return probation


def test_nothing_happens_and_it_passes() -> None:
    probation = begin(100.0, 30.0, Before())
    assert probation.deadline == 130.0
    assert not passed(probation, 129.9)
    assert passed(probation, 130.0)


@pytest.mark.parametrize(
    ("slots", "bearable"), [(1, BEARABLE), (2, 2), (4, 4), (16, 16)], ids=lambda n: str(n)
)
def test_as_many_exits_as_slots_are_bearable_and_one_more_is_not(slots: int, bearable: int) -> None:
    probation = exits(watch(), slots, *[1.0] * bearable)
    assert probation.failure == ""
    assert exits(probation, slots, 1.0, kind="task").failure == ""
    probation = exits(probation, slots, 1.0)
    assert probation.failure == f"its web workers ended {bearable + 1} times"
    assert not passed(probation, 1000.0)


@pytest.mark.parametrize("slots", [1, 2, 4, 16])
def test_workers_that_crash_20_s_after_their_start_do_not_pass(slots: int) -> None:
    probation, now = watch(), 0.0
    while not probation.failure and not passed(probation, now + 19.9):
        now += 20.0
        probation = exits(probation, slots, *[now] * slots)
    assert probation.failure
    assert now <= 60.0


def test_each_exit_prolongs_the_watch_but_not_for_ever() -> None:
    probation = exits(watch(), 64, 20.0)
    assert probation.until == 50.0
    probation = exits(probation, 64, *[float(now) for now in range(45, 1000, 25)])
    assert probation.until == LONGEST * 30.0
    assert passed(exits(watch(), 1, 20.0), 50.0)


def test_what_the_generation_before_did_too_is_not_held_against_it() -> None:
    before = Before({"web": 6})
    probation = exits(watch(before=before), 2, *range(1, 9))
    assert probation.failure == ""
    # In the second length there may be as many again, in any one no more
    assert exits(probation, 2, *[31.0] * 6).failure == ""
    assert exits(probation, 2, 9.0).failure
    assert exits(watch(before=before), 2, *[1.0] * 3, kind="task").failure


def test_a_kind_that_was_not_ready_before_either_may_stay_so() -> None:
    probation = watch(before=Before(unready=frozenset({"web"})))
    for now in (1.0, 20.0):
        probation = seen(probation, {"web": False, "task": True}, now)
    assert passed(probation, 30.0)
    # Once it was ready it has to be
    probation = seen(probation, {"web": True, "task": True}, 21.0)
    for now in (22.0, 22.0 + UNREADY):
        probation = seen(probation, {"web": False, "task": True}, now)
    assert "no web worker" in probation.failure


def test_a_kind_without_a_ready_worker_fails_it_after_a_while_only() -> None:
    probation = seen(watch(), {"web": False, "task": True}, 1.0)
    assert probation.deadline == 1.0 + UNREADY
    probation = seen(probation, {"web": False, "task": True}, 3.0)
    assert probation.failure == ""
    probation = seen(probation, {"web": False, "task": True}, 1.0 + UNREADY)
    assert "no web worker" in probation.failure


def test_who_is_ready_again_starts_anew() -> None:
    probation = seen(watch(), {"web": False}, 1.0)
    probation = seen(probation, {"web": True}, 4.0)
    probation = seen(probation, {"web": False}, 5.0)
    assert seen(probation, {"web": False}, 5.0 + UNREADY - 0.1).failure == ""


def test_nobody_passes_while_it_has_to_be_seen_if_a_kind_gets_ready() -> None:
    probation = seen(watch(2.0), {"web": False}, 1.0)
    assert not passed(probation, 3.0)
    assert passed(seen(probation, {"web": True}, 3.5), 3.5)


def test_the_first_failure_is_the_one_that_is_told() -> None:
    probation = Probation(0.0, 10.0, 10.0, failure="it burned")
    assert exited(probation, "web", 2, 1.0).failure == "it burned"
    assert seen(probation, {"web": False}, 100.0).failure == "it burned"
