"""From generation N to N+1, without a process."""

from collections.abc import Iterable

from skep.supervisor.rollout import (
    HANDOVER_TIMEOUT,
    Accepting,
    Act,
    Committed,
    Denied,
    Fact,
    HandedOver,
    Late,
    Lost,
    Order,
    Phase,
    Planned,
    Prepared,
    Rollout,
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


PREPARED: tuple[Fact, ...] = (Planned(SLOTS), *(Prepared(slot) for slot in SLOTS))
GOING: tuple[Fact, ...] = (*PREPARED, Committed())
ACCEPTED: tuple[Fact, ...] = (*GOING, Accepting("web.0"), Accepting("web.1"), Accepting("task.0"))


def test_a_good_rollout_forks_commits_goes_retires_and_hands_over_in_this_order() -> None:
    rollout, orders = told(*ACCEPTED, HandedOver("cron.0"))
    assert rollout.phase is Phase.FINISHED
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
        facts: list[Fact] = [Planned(SLOTS), *map(Prepared, others)]
        assert Act.COMMIT not in acts(told(*facts)[1])


def test_a_slot_that_says_prepared_twice_counts_once() -> None:
    rollout, _ = told(Planned(("web.0", "web.1")), Prepared("web.0"), Prepared("web.0"))
    assert rollout.phase is Phase.PREPARING


def test_the_old_ones_are_told_to_drain_only_when_all_the_new_ones_accept() -> None:
    assert Act.RETIRE not in acts(told(*ACCEPTED[:-1])[1])
    assert Act.RETIRE in acts(told(*ACCEPTED)[1])


def test_a_plan_with_problems_is_refused() -> None:
    rollout, orders = told(Denied((PROBLEM,)))
    assert (rollout.phase, rollout.problems) == (Phase.REFUSED, (PROBLEM,))
    assert acts(orders) == [Act.REFUSE]


def test_one_worker_that_is_lost_before_the_commit_refuses_all() -> None:
    rollout, orders = told(*PREPARED[:3], Lost("task.0", PROBLEM))
    assert rollout.problems == (PROBLEM,)
    assert acts(orders)[-1] is Act.REFUSE


def test_a_commit_that_fails_refuses() -> None:
    rollout, orders = told(*PREPARED, Denied((PROBLEM,)))
    assert rollout.phase is Phase.REFUSED
    assert Act.RELEASE not in acts(orders)


def test_loading_or_preparing_for_too_long_refuses_and_says_who() -> None:
    assert "Loading" in told(Late())[0].problems[0].message
    rollout, _ = told(*PREPARED[:3], Late())
    assert "cron.0, task.0" in rollout.problems[0].message


def test_after_the_commit_a_lost_worker_is_not_the_rollout_s_affair() -> None:
    rollout, _ = told(*GOING, Lost("web.0", PROBLEM))
    assert rollout.phase is Phase.GOING


def test_late_with_one_of_each_kind_accepting_goes_on() -> None:
    rollout, orders = told(*GOING, Accepting("web.1"), Accepting("task.0"), Late())
    assert rollout.phase is Phase.HANDING_OVER
    assert Act.RETIRE in acts(orders)


def test_late_without_any_of_one_kind_accepting_is_refused_and_the_old_ones_stay() -> None:
    rollout, orders = told(*GOING, Accepting("task.0"), Late())
    assert rollout.phase is Phase.REFUSED
    assert "no web worker" in rollout.problems[0].message.lower()
    assert Act.RETIRE not in acts(orders)


def test_what_other_old_workers_hand_over_does_not_end_the_wait_for_the_singletons() -> None:
    rollout, orders = told(*ACCEPTED, HandedOver("task.0"), HandedOver("web.0"))
    assert rollout.phase is Phase.HANDING_OVER
    assert acts(orders)[-1] is Act.HAND_OVER


def test_a_singleton_that_does_not_hand_over_in_time_is_cut() -> None:
    rollout, _ = told(*ACCEPTED)
    assert rollout.deadline == HANDOVER_TIMEOUT
    rollout, orders = step(rollout, Late(), HANDOVER_TIMEOUT)
    assert rollout.phase is Phase.FINISHED
    assert orders == (
        Order(Act.CUT, ("cron.0",)),
        Order(Act.RELEASE, ("cron.0",)),
        Order(Act.FINISH),
    )


def test_without_singletons_there_is_nothing_to_wait_for() -> None:
    rollout, orders = told(Planned(("web.0",)), Prepared("web.0"), Committed(), Accepting("web.0"))
    assert rollout.phase is Phase.FINISHED
    assert acts(orders)[-1] is Act.FINISH


def test_facts_that_come_after_the_end_change_nothing() -> None:
    for facts in ((*ACCEPTED, HandedOver("cron.0")), (Denied((PROBLEM,)),)):
        over, _ = told(*facts)
        for fact in (Prepared("web.0"), Accepting("web.0"), Late(), Lost("web.0", PROBLEM)):
            assert step(over, fact, 99.0) == (over, ())
