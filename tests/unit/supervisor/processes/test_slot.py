"""The life of one slot, without a process."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from skep.base.backoff import Backoff
from skep.supervisor.processes.slot import (
    Fact,
    Slot,
    SlotOrder,
    SlotState,
    SlotTerms,
    SlotTimeouts,
    Succession,
    cut_short,
    group_of,
    hold,
    hurry,
    ordinary,
    step,
)

LIMITS = SlotTimeouts(
    boot=10, go=5, silence=30, drain=20, stop=3, backoff=Backoff(0.5, 2.0, 30.0, 0.0)
)


def after(*facts: Fact, released: bool = True, now: float = 0.0) -> Slot:
    slot = Slot("web.0", LIMITS, kept=released, released=released)
    for fact in facts:
        slot, _ = step(slot, fact, now)
    return slot


def test_a_released_slot_is_filled_prepared_and_goes() -> None:
    slot, order = step(Slot("web.0", LIMITS, kept=True, released=True), Fact.FILL, 1.0)
    assert (slot.state, order, slot.deadline) == (SlotState.STARTING, SlotOrder.START, 11.0)
    slot, order = step(slot, Fact.PREPARED, 2.0)
    assert (slot.state, order, slot.deadline) == (SlotState.GOING, SlotOrder.GO, 7.0)
    slot, order = step(slot, Fact.ACCEPTING, 3.0)
    assert (slot.state, order, slot.deadline) == (SlotState.READY, None, 33.0)


def test_an_unreleased_slot_waits_prepared_for_as_long_as_it_takes() -> None:
    slot = after(Fact.FILL, Fact.PREPARED, released=False)
    assert (slot.state, slot.deadline) == (SlotState.PREPARED, None)
    slot, order = step(slot, Fact.RELEASE, 100.0)
    assert (slot.state, order) == (SlotState.GOING, SlotOrder.GO)


def test_a_release_before_it_is_prepared_lets_it_go_at_once_afterwards() -> None:
    slot = after(Fact.FILL, Fact.RELEASE, released=False)
    assert slot.state is SlotState.STARTING
    assert step(slot, Fact.PREPARED, 1.0)[1] is SlotOrder.GO


def test_beats_keep_a_ready_slot_alive_and_silence_aborts_it() -> None:
    slot = after(Fact.FILL, Fact.PREPARED, Fact.ACCEPTING)
    slot, _ = step(slot, Fact.BEAT, 25.0)
    assert slot.deadline == 55.0
    slot, order = step(slot, Fact.LATE, 55.0)
    assert (slot.state, order, slot.deadline) == (SlotState.HUNG, SlotOrder.ABORT, 60.0)
    # A late beat does not save it: its stacks are being written already
    assert step(slot, Fact.BEAT, 55.1) == (slot, None)
    stubborn, order = step(slot, Fact.LATE, 60.0)
    assert (stubborn.state, order, stubborn.deadline) == (SlotState.HUNG, SlotOrder.KILL, None)
    slot, order = step(slot, Fact.EXITED, 55.2)
    assert slot.state is SlotState.BACKOFF


@pytest.mark.parametrize(
    "facts", [(), (Fact.PREPARED,), (Fact.PREPARED, Fact.RELEASE), (Fact.PREPARED, Fact.ACCEPTING)]
)
def test_a_slot_that_is_late_in_any_state_with_a_process_has_it_aborted_then_killed(
    facts: tuple[Fact, ...],
) -> None:
    slot, order = step(after(Fact.FILL, *facts), Fact.LATE, 99.0)
    assert order is SlotOrder.ABORT
    assert step(slot, Fact.LATE, 104.0)[1] is SlotOrder.KILL


def test_the_first_worker_that_dies_at_once_is_replaced_at_once_and_the_next_ones_wait_longer() -> (
    None
):
    slot, now, pauses = after(Fact.FILL, Fact.PREPARED, Fact.ACCEPTING), 0.0, []
    for _ in range(8):
        slot, _ = step(slot, Fact.EXITED, now)
        assert slot.deadline is not None
        pauses.append(slot.deadline - now)
        now = slot.deadline
        slot, order = step(slot, Fact.LATE, now)
        assert order is SlotOrder.START
        for fact in (Fact.PREPARED, Fact.ACCEPTING):
            slot, _ = step(slot, fact, now)
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


def test_a_crash_after_a_healthy_minute_is_answered_at_once_again() -> None:
    slot = after(Fact.FILL, Fact.PREPARED, Fact.ACCEPTING)
    for now in (0.0, 61.0, 122.0):
        slot, _ = step(slot, Fact.EXITED, now)
        assert slot.deadline == now
        for fact in (Fact.LATE, Fact.PREPARED, Fact.ACCEPTING):
            slot, _ = step(slot, fact, now)


@pytest.mark.parametrize("ready_for", [LIMITS.served, 2.0, 600.0])
def test_a_worker_that_served_is_replaced_at_once_however_often_it_ends(ready_for: float) -> None:
    slot, now = after(Fact.FILL, Fact.PREPARED, Fact.ACCEPTING), 0.0
    for _ in range(50):
        now += ready_for
        slot, _ = step(slot, Fact.EXITED, now)
        assert (slot.state, slot.deadline, slot.failures) == (SlotState.BACKOFF, now, 0)
        for fact in (Fact.LATE, Fact.PREPARED, Fact.ACCEPTING):
            slot, _ = step(slot, fact, now)


def test_one_that_served_ends_a_row_of_failures() -> None:
    slot = after(*[Fact.FILL, Fact.EXITED], *[Fact.LATE, Fact.EXITED] * 4)
    assert slot.failures == 5
    for fact in (Fact.LATE, Fact.PREPARED, Fact.ACCEPTING):
        slot, _ = step(slot, fact, 100.0)
    slot, _ = step(slot, Fact.EXITED, 101.0)
    assert (slot.failures, slot.deadline) == (0, 101.0)


def test_a_kept_slot_that_loses_its_worker_before_the_release_is_filled_and_still_waits() -> None:
    slot, _ = step(after(Fact.FILL, Fact.PREPARED, released=False), Fact.KEEP, 1.0)
    slot, _ = step(slot, Fact.EXITED, 2.0)
    # It was up, and this is the first time
    assert (slot.state, slot.deadline) == (SlotState.BACKOFF, 2.0)
    slot, order = step(slot, Fact.LATE, 2.0)
    assert order is SlotOrder.START
    slot, order = step(slot, Fact.PREPARED, 3.0)
    assert (slot.state, order) == (SlotState.PREPARED, None)
    assert step(slot, Fact.RELEASE, 4.0)[1] is SlotOrder.GO


@pytest.mark.parametrize("facts", [(Fact.PREPARED,), ()])
def test_a_release_finds_a_slot_whose_worker_is_just_being_replaced(
    facts: tuple[Fact, ...],
) -> None:
    slot = after(Fact.FILL, *facts, Fact.KEEP, Fact.EXITED, Fact.RELEASE, released=False)
    assert slot.state is SlotState.BACKOFF
    for fact in (Fact.LATE, Fact.PREPARED):
        slot, order = step(slot, fact, 9.0)
    assert order is SlotOrder.GO


def test_a_hold_does_not_concern_a_slot_whose_worker_served() -> None:
    served, _ = step(after(Fact.FILL, Fact.PREPARED, Fact.ACCEPTING), Fact.EXITED, 5.0)
    assert hold(served, 40.0).deadline == 5.0
    failed = after(Fact.FILL, Fact.EXITED)
    assert hold(failed, 40.0).deadline == 40.0
    assert hurry(hold(failed, 40.0), 7.0).deadline == 7.0
    assert hurry(failed, 7.0) == failed


def test_a_failure_to_boot_always_waits() -> None:
    slot, _ = step(after(Fact.FILL), Fact.EXITED, 1.0)
    assert (slot.state, slot.deadline) == (SlotState.BACKOFF, 1.5)


def test_an_exit_before_the_release_is_not_answered_by_filling_again() -> None:
    for facts in ((Fact.FILL,), (Fact.FILL, Fact.PREPARED)):
        slot, order = step(after(*facts, released=False), Fact.EXITED, 1.0)
        assert (slot.state, order) == (SlotState.GONE, None)


def test_a_retired_worker_drains_and_is_gone() -> None:
    slot = after(Fact.FILL, Fact.PREPARED, Fact.ACCEPTING)
    slot, order = step(slot, Fact.RETIRE, 10.0)
    assert (slot.state, order, slot.deadline) == (SlotState.DRAINING, SlotOrder.DRAIN, 33.0)
    assert step(slot, Fact.RETIRE, 11.0) == (slot, None)
    # Too slow: it and what it has started are told to end, and killed when that does not help
    slot, order = step(slot, Fact.LATE, 33.0)
    assert (slot.state, order, slot.deadline) == (SlotState.CUT, SlotOrder.TERMINATE, 38.0)
    assert step(slot, Fact.RETIRE, 34.0) == (slot, None)
    assert step(slot, Fact.LATE, 38.0)[1] is SlotOrder.KILL
    assert step(slot, Fact.EXITED, 38.1)[0].state is SlotState.GONE
    assert step(slot, Fact.EXITED, 12.0)[0].state is SlotState.GONE


def test_retiring_an_empty_slot_needs_no_process() -> None:
    for slot in (after(), after(Fact.FILL, Fact.EXITED)):
        assert step(slot, Fact.RETIRE, 1.0)[0].state is SlotState.GONE


def test_nothing_brings_a_gone_slot_back() -> None:
    gone = after(Fact.FILL, Fact.RETIRE, Fact.EXITED)
    for fact in Fact:
        slot, order = step(gone, fact, 9.0)
        assert (slot.state, order) == (SlotState.GONE, None)


def test_a_beat_of_a_draining_worker_does_not_move_its_deadline() -> None:
    slot = after(Fact.FILL, Fact.PREPARED, Fact.ACCEPTING, Fact.RETIRE)
    assert step(slot, Fact.BEAT, 5.0) == (slot, None)


def test_a_task_worker_may_drain_for_as_long_as_its_longest_task() -> None:
    """A10: and when the platform stops, for as long as all others."""
    limits = replace(LIMITS, task_drain=600)
    web, task = (replace(Slot(name, limits), state=SlotState.READY) for name in ("web.0", "task.0"))
    assert step(web, Fact.RETIRE, 0.0)[0].deadline == 23.0
    draining, order = step(task, Fact.RETIRE, 0.0)
    assert (draining.drain, draining.deadline, order) == (600, 603.0, SlotOrder.DRAIN)
    hurried, order = cut_short(draining, 100.0)
    assert (hurried.drain, hurried.deadline, order) == (20, 123.0, SlotOrder.DRAIN)
    # And one that would have ended earlier anyway goes on as it was
    assert cut_short(draining, 599.0) == (replace(draining, limits=LIMITS), None)
    assert cut_short(task, 0.0) == (replace(task, limits=LIMITS), None)


# -- custom processes ------------------------------------------------------------------------------


def process(restart: Literal["always", "on_failure", "never"] = "always", **terms: Any) -> Slot:
    """A process that has been ready for an hour."""
    made = SlotTerms(Succession.AFTER, restart, vital=False, **terms)
    slot = Slot("process.p.Echo.1", LIMITS, kept=True, released=True, terms=made)
    for fact in (Fact.FILL, Fact.PREPARED, Fact.ACCEPTING):
        slot, _ = step(slot, fact, -3600.0)
    return slot


@pytest.mark.parametrize(
    ("restart", "after_success", "after_failure"),
    [
        ("always", SlotState.BACKOFF, SlotState.BACKOFF),
        ("on_failure", SlotState.DONE, SlotState.BACKOFF),
        ("never", SlotState.DONE, SlotState.FAILED),
    ],
)
def test_the_policy_says_whether_a_process_that_ended_is_started_again(
    restart: Literal["always", "on_failure", "never"],
    after_success: SlotState,
    after_failure: SlotState,
) -> None:
    """Case 40."""
    slot = process(restart)
    assert step(slot, Fact.FINISHED, 0.0)[0].state is after_success
    failed, _ = step(slot, Fact.EXITED, 0.0)
    assert failed.state is after_failure
    # One that hung, and was killed, has failed
    hung, _ = step(slot, Fact.LATE, 0.0)
    assert step(hung, Fact.EXITED, 0.0)[0].state is after_failure


def test_a_process_that_has_ended_for_good_has_no_deadline_and_goes_when_it_retires() -> None:
    for fact, state in ((Fact.FINISHED, SlotState.DONE), (Fact.EXITED, SlotState.FAILED)):
        slot, _ = step(process("never"), fact, 0.0)
        assert (slot.state, slot.deadline, slot.filled) == (state, None, False)
        assert step(slot, Fact.LATE, 1.0) == (slot, None)
        assert step(slot, Fact.RETIRE, 1.0)[0].state is SlotState.GONE


def test_a_process_that_never_went_is_started_again_whatever_its_policy() -> None:
    terms = SlotTerms(Succession.AFTER, "never")
    for facts in ((), (Fact.PREPARED,)):
        slot = Slot("process.p.Echo.0", LIMITS, kept=True, terms=terms)
        for fact in (Fact.FILL, *facts):
            slot, _ = step(slot, fact, 0.0)
        assert step(slot, Fact.EXITED, 0.0)[0].state is SlotState.BACKOFF


def test_a_process_has_served_later_than_other_workers() -> None:
    slot, now, pauses = process(served=10.0), 0.0, []
    for _ in range(5):
        slot, _ = step(slot, Fact.EXITED, now)
        assert slot.deadline is not None
        pauses.append(slot.deadline - now)
        now = slot.deadline
        for fact in (Fact.LATE, Fact.PREPARED, Fact.ACCEPTING):
            slot, _ = step(slot, fact, now)
        now += 9.0
    assert pauses == [0.0, 0.0, 0.5, 1.0, 2.0]


def test_a_restart_drains_the_worker_and_fills_the_same_slot_again() -> None:
    slot, order = step(process(drain=60.0), Fact.RESTART, 0.0)
    assert (slot.state, order, slot.deadline) == (SlotState.DRAINING, SlotOrder.DRAIN, 63.0)
    assert not slot.leaving
    assert step(slot, Fact.RESTART, 1.0) == (slot, None)
    slot, _ = step(slot, Fact.EXITED, 2.0)
    assert (slot.state, slot.deadline, slot.again) == (SlotState.BACKOFF, 2.0, False)
    slot, order = step(slot, Fact.LATE, 2.0)
    assert (order, slot.exits, slot.failures) == (SlotOrder.START, 0, 0)
    assert step(slot, Fact.PREPARED, 3.0)[1] is SlotOrder.GO


def test_a_worker_that_drains_for_a_restart_and_retires_is_not_followed_by_another() -> None:
    slot, _ = step(process(), Fact.RESTART, 0.0)
    slot, order = step(slot, Fact.RETIRE, 1.0)
    assert (order, slot.leaving, slot.deadline) == (None, True, 23.0)
    assert step(slot, Fact.EXITED, 2.0)[0].state is SlotState.GONE


def test_a_restart_starts_what_has_ended_for_good_or_waits() -> None:
    done, _ = step(process("never"), Fact.FINISHED, 0.0)
    failed, _ = step(process("never"), Fact.EXITED, 0.0)
    waiting = step(step(process(), Fact.EXITED, 0.0)[0], Fact.LATE, 0.0)[0]
    waiting, _ = step(waiting, Fact.EXITED, 0.0)
    for slot in (done, failed, waiting):
        slot, order = step(slot, Fact.RESTART, 5.0)
        assert (slot.state, order, slot.failures) == (SlotState.STARTING, SlotOrder.START, 0)


def test_the_slots_of_a_class_are_a_group_and_those_of_a_kind() -> None:
    groups = {"web.0": "web", "task.mail.1": "task", "process.p.Echo.1": "process.p.Echo"}
    assert {name: group_of(name) for name in groups} == groups
    assert ordinary("cron.0").succession is Succession.HANDOVER
    assert ordinary("web.0").succession is Succession.BESIDE
