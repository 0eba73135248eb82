"""From generation N to N+1, without a process."""

from collections.abc import Iterable

import pytest

from skep.supervisor.processes.slot import SlotTerms, Succession
from skep.supervisor.rollout.machine import (
    HANDOVER_TIMEOUT,
    LOSSES,
    Act,
    Committed,
    Denied,
    Fact,
    Late,
    Order,
    Ordered,
    PlanReady,
    Rollout,
    RolloutPhase,
    SlotAccepting,
    SlotHandedOver,
    SlotLost,
    SlotPrepared,
    begin,
    step,
)
from skep.wire.plan import Problem

SLOTS = ("web.0", "web.1", "task.0", "cron.0")
PROBLEM = Problem("prepare", "It will not.")


def told(*facts: Fact, now: float = 0.0) -> tuple[Rollout, list[Order]]:
    rollout = begin(60.0, 5.0, 0.0)
    all_orders: list[Order] = []
    for fact in facts:
        rollout, orders = step(rollout, fact, now)
        all_orders += orders
    return rollout, all_orders


def acts(orders: Iterable[Order]) -> list[Act]:
    return [order.act for order in orders]


PREPARED: tuple[Fact, ...] = (PlanReady(SLOTS), *(SlotPrepared(slot) for slot in SLOTS))
GOING: tuple[Fact, ...] = (*PREPARED, Committed())
ACCEPTED: tuple[Fact, ...] = (
    *GOING,
    SlotAccepting("web.0"),
    SlotAccepting("web.1"),
    SlotAccepting("task.0"),
)


def test_a_good_rollout_forks_commits_goes_retires_and_hands_over_in_this_order() -> None:
    rollout, orders = told(*ACCEPTED, SlotHandedOver("cron.0"))
    assert rollout.phase is RolloutPhase.FINISHED
    assert orders == [
        Order(Act.FORK, SLOTS),
        Order(Act.COMMIT),
        Order(Act.RELEASE, ("web.0", "web.1", "task.0")),
        Order(Act.RETIRE),
        Order(Act.HAND_OVER, ("cron.0",)),
        Order(Act.RELEASE, ("cron.0",)),
        Order(Act.FINISH),
    ]


def test_nothing_is_committed_before_every_slot_is_prepared() -> None:
    for missing in SLOTS:
        others = [slot for slot in SLOTS if slot != missing]
        facts: list[Fact] = [PlanReady(SLOTS), *map(SlotPrepared, others)]
        assert Act.COMMIT not in acts(told(*facts)[1])


def test_a_slot_that_says_prepared_twice_counts_once() -> None:
    rollout, _ = told(PlanReady(("web.0", "web.1")), SlotPrepared("web.0"), SlotPrepared("web.0"))
    assert rollout.phase is RolloutPhase.PREPARING


def test_the_old_ones_are_told_to_drain_only_when_all_the_new_ones_accept() -> None:
    assert Act.RETIRE not in acts(told(*ACCEPTED[:-1])[1])
    assert Act.RETIRE in acts(told(*ACCEPTED)[1])


def test_a_plan_with_problems_is_refused() -> None:
    rollout, orders = told(Denied((PROBLEM,)))
    assert (rollout.phase, rollout.problems) == (RolloutPhase.REFUSED, (PROBLEM,))
    assert acts(orders) == [Act.REFUSE]


def test_one_worker_that_is_lost_before_the_commit_refuses_all() -> None:
    rollout, orders = told(*PREPARED[:3], SlotLost("task.0", PROBLEM))
    assert rollout.problems == (PROBLEM,)
    assert acts(orders)[-1] is Act.REFUSE


def test_a_commit_that_fails_refuses() -> None:
    rollout, orders = told(*PREPARED, Denied((PROBLEM,)))
    assert rollout.phase is RolloutPhase.REFUSED
    assert Act.RELEASE not in acts(orders)


def test_loading_or_preparing_for_too_long_refuses_and_says_who() -> None:
    assert "Loading" in told(Late())[0].problems[0].message
    rollout, _ = told(*PREPARED[:3], Late())
    assert "cron.0, task.0" in rollout.problems[0].message


COMMITTING = PREPARED


@pytest.mark.parametrize("before", [COMMITTING, GOING], ids=["committing", "going"])
@pytest.mark.parametrize("slot", SLOTS)
def test_a_worker_that_is_lost_after_the_commit_began_is_a_crash_like_any_other(
    before: tuple[Fact, ...], slot: str
) -> None:
    rest: tuple[Fact, ...] = () if before is GOING else (Committed(),)
    accepted = map(SlotAccepting, ("web.0", "web.1", "task.0"))
    facts = (*before, SlotLost(slot, PROBLEM), *rest, *accepted, SlotHandedOver("cron.0"))
    rollout, orders = told(*facts)
    assert rollout.phase is RolloutPhase.FINISHED
    assert Act.REFUSE not in acts(orders)


def test_an_accepting_worker_that_is_lost_has_to_accept_again_before_the_old_ones_retire() -> None:
    lost = (*GOING, SlotAccepting("web.0"), SlotAccepting("task.0"), SlotLost("web.0", PROBLEM))
    rollout, orders = told(*lost, SlotAccepting("web.1"))
    assert rollout.phase is RolloutPhase.GOING
    assert Act.RETIRE not in acts(orders)
    assert (
        told(*lost, SlotAccepting("web.1"), SlotAccepting("web.0"))[0].phase
        is RolloutPhase.HANDING_OVER
    )


def test_a_kind_that_lost_its_only_worker_is_waited_for_once_as_long_as_a_boot_takes() -> None:
    rollout, _ = told(
        *GOING, SlotAccepting("web.0"), SlotAccepting("web.1"), SlotLost("task.0", PROBLEM)
    )
    rollout, orders = step(rollout, Late(), 5.0)
    assert (rollout.phase, rollout.deadline, orders) == (RolloutPhase.GOING, 65.0, ())
    assert step(rollout, SlotAccepting("task.0"), 20.0)[0].phase is RolloutPhase.HANDING_OVER
    rollout, orders = step(rollout, Late(), 65.0)
    assert rollout.phase is RolloutPhase.REFUSED
    assert "No task worker accepted within 65 s" in rollout.problems[0].message


def test_a_worker_that_is_lost_again_and_again_refuses_if_no_other_of_its_kind_accepts() -> None:
    loses = [SlotLost("task.0", PROBLEM)] * LOSSES
    rollout, orders = told(*GOING, SlotAccepting("web.0"), *loses)
    assert (rollout.phase, rollout.problems) == (RolloutPhase.REFUSED, (PROBLEM,))
    assert acts(orders)[-1] is Act.REFUSE
    # Another one of its kind serves: it is the slot's affair
    loses = [SlotLost("web.1", PROBLEM)] * LOSSES
    assert told(*GOING, SlotAccepting("web.0"), *loses)[0].phase is RolloutPhase.GOING


def test_a_generation_without_workers_or_with_a_timer_only_waits_for_nothing() -> None:
    rollout, orders = told(PlanReady(()), Ordered(), Committed())
    assert rollout.phase is RolloutPhase.FINISHED
    assert acts(orders)[:2] == [Act.FORK, Act.COMMIT]
    rollout, orders = told(PlanReady(("cron.0",)), SlotPrepared("cron.0"), Committed())
    assert rollout.phase is RolloutPhase.HANDING_OVER
    assert orders[-1] == Order(Act.HAND_OVER, ("cron.0",))


def test_late_with_one_of_each_kind_accepting_goes_on() -> None:
    rollout, orders = told(*GOING, SlotAccepting("web.1"), SlotAccepting("task.0"), Late())
    assert rollout.phase is RolloutPhase.HANDING_OVER
    assert Act.RETIRE in acts(orders)


def test_late_without_any_of_one_kind_accepting_is_refused_and_the_old_ones_stay() -> None:
    rollout, orders = told(*GOING, SlotAccepting("task.0"), Late())
    assert rollout.phase is RolloutPhase.REFUSED
    assert "no web worker" in rollout.problems[0].message.lower()
    assert Act.RETIRE not in acts(orders)


def test_what_other_old_workers_hand_over_does_not_end_the_wait_for_the_singletons() -> None:
    rollout, orders = told(*ACCEPTED, SlotHandedOver("task.0"), SlotHandedOver("web.0"))
    assert rollout.phase is RolloutPhase.HANDING_OVER
    assert acts(orders)[-1] is Act.HAND_OVER


def test_a_singleton_that_does_not_hand_over_in_time_is_cut() -> None:
    rollout, _ = told(*ACCEPTED)
    assert rollout.deadline == HANDOVER_TIMEOUT
    rollout, orders = step(rollout, Late(), HANDOVER_TIMEOUT)
    assert rollout.phase is RolloutPhase.FINISHED
    assert orders == (
        Order(Act.CUT, ("cron.0",)),
        Order(Act.RELEASE, ("cron.0",)),
        Order(Act.FINISH),
    )


def test_without_singletons_there_is_nothing_to_wait_for() -> None:
    rollout, orders = told(
        PlanReady(("web.0",)), SlotPrepared("web.0"), Committed(), SlotAccepting("web.0")
    )
    assert rollout.phase is RolloutPhase.FINISHED
    assert acts(orders)[-1] is Act.FINISH


def test_facts_that_come_after_the_end_change_nothing() -> None:
    for facts in ((*ACCEPTED, SlotHandedOver("cron.0")), (Denied((PROBLEM,)),)):
        over, _ = told(*facts)
        for fact in (
            SlotPrepared("web.0"),
            SlotAccepting("web.0"),
            Late(),
            SlotLost("web.0", PROBLEM),
        ):
            assert step(over, fact, 99.0) == (over, ())


# -- custom processes ------------------------------------------------------------------------------

ALONE, BESIDE, NEEDED = "process.p.Alone.0", "process.p.Beside.0", "process.p.Needed.0"
TERMS = {
    ALONE: SlotTerms(Succession.AFTER, vital=False),
    BESIDE: SlotTerms(Succession.BESIDE, vital=False),
    NEEDED: SlotTerms(Succession.BESIDE, vital=True),
}


def with_processes(*processes: str) -> tuple[Fact, ...]:
    slots = ("web.0", *processes)
    terms = {name: TERMS[name] for name in processes}
    return PlanReady(slots, terms), *map(SlotPrepared, slots), Committed()


def test_a_process_goes_when_its_predecessor_has_ended() -> None:
    rollout, orders = told(*with_processes(ALONE), SlotAccepting("web.0"))
    assert orders[-1] == Order(Act.HAND_OVER, (ALONE,))
    assert rollout.phase is RolloutPhase.HANDING_OVER
    rollout, more = step(rollout, SlotHandedOver(ALONE), 1.0)
    assert more == (Order(Act.RELEASE, (ALONE,)), Order(Act.FINISH))


def test_a_rollout_ends_without_a_process_that_takes_its_time_and_does_not_cut_it() -> None:
    rollout, _ = told(*with_processes(ALONE), SlotAccepting("web.0"))
    rollout, orders = step(rollout, Late(), HANDOVER_TIMEOUT)
    assert rollout.phase is RolloutPhase.FINISHED
    assert orders == (Order(Act.CUT), Order(Act.RELEASE), Order(Act.FINISH))


def test_a_process_beside_its_predecessor_goes_with_the_others_and_is_not_waited_for() -> None:
    rollout, orders = told(*with_processes(BESIDE))
    assert orders[-1] == Order(Act.RELEASE, ("web.0", BESIDE))
    loses = [SlotLost(BESIDE, PROBLEM)] * LOSSES
    rollout, _ = told(*with_processes(BESIDE), *loses, SlotAccepting("web.0"))
    assert rollout.phase is RolloutPhase.FINISHED


def test_a_required_process_beside_its_predecessor_has_to_accept() -> None:
    going = with_processes(NEEDED, BESIDE)
    assert told(*going, SlotAccepting("web.0"))[0].phase is RolloutPhase.GOING
    # One of another class does not stand for it
    loses = [SlotLost(NEEDED, PROBLEM)] * LOSSES
    rollout, _ = told(*going, SlotAccepting("web.0"), SlotAccepting(BESIDE), *loses)
    assert (rollout.phase, rollout.problems) == (RolloutPhase.REFUSED, (PROBLEM,))


def test_a_process_that_is_lost_before_the_commit_refuses() -> None:
    facts = with_processes(ALONE)[:-2]
    rollout, _ = told(*facts, SlotLost(ALONE, PROBLEM))
    assert (rollout.phase, rollout.problems) == (RolloutPhase.REFUSED, (PROBLEM,))
