"""How many crashes a kind may have, without a process."""

import pytest

from skep.supervisor.processes.crash_budget import (
    INTENSITY,
    Budget,
    calmed,
    exited,
    first_again,
    sentence,
)
from skep.supervisor.processes.slot import Slot, SlotState


def crash(budget: Budget, *times: float, booted: bool = True, served: bool = False) -> Budget:
    for now in times:
        budget = exited(budget, now, "exited with 9", booted=booted, served=served)
    return budget


def waiting(name: str, until: float, began: float = 0.0) -> Slot:
    return Slot(name, state=SlotState.BACKOFF, deadline=until, kept=True, began=began)


def test_a_few_crashes_are_bearable() -> None:
    budget = crash(Budget(), *range(INTENSITY))
    assert budget.spent is None
    assert budget.until == 0.0
    assert sentence("web", budget, {}, 5.0) == ""


def test_more_than_the_intensity_within_the_period_spends_it() -> None:
    budget = crash(Budget(), *range(INTENSITY + 1))
    assert budget.spent == INTENSITY
    assert budget.until > INTENSITY + 6
    slots = {slot.name: slot for slot in (waiting("web.0", 9.0), waiting("web.1", 20.0))}
    text = "web in backoff: 6 exits, the last one exited with 9; "
    assert sentence("web", budget, slots, 5.0) == f"{text}next try in 4 s"
    assert sentence("web", budget, {}, 5.0) == f"{text}trying again"


def test_crashes_that_are_far_apart_do_not() -> None:
    assert crash(Budget(), *range(0, 1000, 10)).spent is None


def test_every_crash_after_that_makes_all_wait_longer_up_to_half_a_minute() -> None:
    budget, waits, now = crash(Budget(), *range(INTENSITY + 1)), [], 5.0
    for _ in range(6):
        now = budget.until
        budget = crash(budget, now)
        waits.append(budget.until - now)
    assert waits[0] > 14
    assert all(27 <= wait <= 33 for wait in waits[1:])


def test_one_that_ends_right_after_it_is_ready_is_started_twelve_times_in_a_minute_at_most() -> (
    None
):
    # Two slots whose own waits are 0, ½, 1, 2 … and the waits of their kind on top
    budget, starts, pending = Budget(), 2, [(0.0, 0), (0.0, 0)]
    while True:
        now, exits = min(pending)
        pending.remove((now, exits))
        if now > 60:
            break
        budget = crash(budget, now)
        own = now + (0.5 * 2 ** (exits - 1) if exits else 0.0)
        pending.append((own, exits + 1))
        pending = [(max(at, budget.until), exits) for at, exits in pending]
        starts += 1
    assert starts <= 12


def test_it_is_forgotten_after_a_calm() -> None:
    budget = crash(Budget(), *range(INTENSITY + 1))
    assert calmed(budget, budget.until + 59) == budget
    assert calmed(budget, budget.until + 61) == Budget()
    assert crash(budget, budget.until + 61).streak == 1


def test_failures_to_boot_are_counted_apart() -> None:
    budget = crash(crash(Budget(), 1, 2, 3), 4, 5, 6, booted=False)
    assert (budget.streak, budget.boots) == (6, 3)
    assert "6 exits, 3 of them before they were up" in sentence("web", budget, {}, 6.0)


def test_workers_that_served_spend_nothing_and_are_told_of() -> None:
    budget = crash(Budget(), *range(20), served=True)
    assert (budget.spent, budget.streak, budget.until) == (None, 0, 0.0)
    assert sentence("web", budget, {}, 20.0) == (
        "web workers keep crashing: 20 within 30 s, the last one exited with 9; "
        "each is replaced at once"
    )
    assert sentence("web", budget, {}, 48.0) == ""


def test_one_that_served_ends_the_backoff() -> None:
    budget = crash(crash(Budget(), *range(INTENSITY + 1)), 30.0, served=True)
    assert (budget.spent, budget.streak, budget.recent) == (None, 0, ())


@pytest.mark.parametrize(
    ("slots", "first"),
    [
        ([waiting("web.0", 40, 8), waiting("web.1", 30, 9)], ("web.1", 9.5)),
        ([waiting("web.0", 40, 8), Slot("web.1", state=SlotState.STARTING)], None),
        ([waiting("web.0", 40, 8), Slot("web.1", state=SlotState.READY)], None),
        ([waiting("web.0", 40, 8), Slot("web.1", state=SlotState.DRAINING)], ("web.0", 8.5)),
        ([waiting("web.0", 40, 8), Slot("task.0", state=SlotState.READY)], ("web.0", 8.5)),
        ([], None),
    ],
    ids=["all wait", "one starts", "one is ready", "one leaves", "other kinds", "none"],
)
def test_of_web_slots_that_all_wait_one_is_filled_now(
    slots: list[Slot], first: tuple[str, float] | None
) -> None:
    assert first_again({slot.name: slot for slot in slots}, "web") == first


def test_task_workers_wait_as_long_as_it_takes_and_platform_slots_a_second_at_most() -> None:
    def soon(kind: str) -> tuple[str, float] | None:
        return first_again({f"{kind}.0": waiting(f"{kind}.0", 40, 8)}, kind)

    assert soon("task") is None
    assert soon("cron") is None
    for kind in ("store", "agent", "configserver"):
        found = soon(kind)
        assert found is not None
        assert found[1] <= 9.0
