"""How long a guesser waits, with a clock that the test moves."""

from dataclasses import dataclass

from skep.pages.lockout import Lockout


@dataclass
class _Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_locked_after_some_failures_and_longer_after_each_further_one() -> None:
    clock = _Clock()
    lockout = Lockout(2, first=60, longest=200, clock=clock)
    waits = []
    for _ in range(5):
        lockout.failed("ann")
        waits.append(lockout.seconds("ann"))
        clock.now += lockout.seconds("ann")
    assert waits == [0, 60, 120, 200, 200]
    assert lockout.seconds("bob") == 0


def test_a_success_or_a_long_pause_forgets_the_failures() -> None:
    clock = _Clock()
    lockout = Lockout(2, first=60, longest=200, clock=clock)
    lockout.failed("ann")
    lockout.succeeded("ann")
    lockout.failed("ann")
    assert lockout.seconds("ann") == 0
    clock.now += 201
    lockout.failed("ann")
    assert lockout.seconds("ann") == 0


def test_the_memory_of_failures_is_bounded() -> None:
    lockout = Lockout(1, clock=_Clock())
    for number in range(10_002):
        lockout.failed(str(number))
    assert lockout.seconds("0") == 0
    assert lockout.seconds("10001") == 60
