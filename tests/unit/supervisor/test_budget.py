"""How many crashes a kind may have, without a process."""

from skep.supervisor.budget import INTENSITY, Budget, calmed, exited, sentence


def crash(budget: Budget, *times: float, booted: bool = True) -> Budget:
    for now in times:
        budget = exited(budget, now, "exited with 9", booted=booted)
    return budget


def test_a_few_crashes_are_bearable() -> None:
    budget = crash(Budget(), *range(INTENSITY))
    assert budget.spent is None
    assert budget.until == 0.0
    assert sentence("web", budget, 5.0) == ""


def test_more_than_the_intensity_within_the_period_spends_it() -> None:
    budget = crash(Budget(), *range(INTENSITY + 1))
    assert budget.spent == INTENSITY
    assert budget.until > INTENSITY + 6
    assert sentence("web", budget, 5.0).startswith(
        "web in backoff: 6 exits, the last one exited with 9; next try in "
    )


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
    assert "6 exits, 3 of them before they were up" in sentence("web", budget, 6.0)
