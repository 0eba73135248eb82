"""How much of a queue may be handed out."""

from hypothesis import given
from hypothesis import strategies as st

from skep.engine.contract import QueueLimits
from skep.store.state.queue_limits import Throttle


def test_without_limits_everything_may() -> None:
    throttle = Throttle()
    throttle.passed(10, 0)
    assert throttle.allows(10**6, 10**6, 0) == 10**6
    assert throttle.opens_at(0) is None


def test_a_paused_queue_gives_nothing_and_opens_by_itself_never() -> None:
    throttle = Throttle(QueueLimits(rate=1), paused=True)
    assert throttle.allows(5, 0, 0) == 0
    assert throttle.opens_at(0) is None


def test_no_more_than_the_concurrency_is_leased() -> None:
    throttle = Throttle(QueueLimits(concurrency=3))
    assert [throttle.allows(5, leased, 0) for leased in (0, 2, 3, 4)] == [3, 1, 0, 0]


def test_a_rate_opens_when_its_window_has_moved_on() -> None:
    throttle = Throttle(QueueLimits(rate=2, period=1000))
    throttle.passed(throttle.allows(5, 0, 100), 100)
    assert throttle.allows(5, 0, 1099) == 0
    assert throttle.opens_at(1099) == 1100
    assert throttle.allows(5, 0, 1100) == 2


def test_a_clock_that_is_set_back_does_not_close_a_valve() -> None:
    throttle = Throttle(QueueLimits(rate=1, period=1000))
    throttle.passed(1, 5_000_000)
    assert throttle.allows(1, 0, 1000) == 1


def test_new_limits_know_what_has_begun_already() -> None:
    throttle = Throttle(QueueLimits(rate=5, period=1000))
    throttle.passed(4, 0)
    throttle.limits = QueueLimits(rate=3, period=1000)
    assert throttle.allows(5, 0, 10) == 0


@given(
    st.integers(1, 5),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=60),
)
def test_no_window_ever_holds_more_than_the_rate(
    rate: int, period: int, asked: list[tuple[int, int]]
) -> None:
    throttle, now, begun = Throttle(QueueLimits(rate=rate, period=period)), 0, []
    for pause, n in asked:
        now += pause
        allowed = throttle.allows(n, 0, now)
        throttle.passed(allowed, now)
        begun += [now] * allowed
    for first in begun:
        assert sum(first <= moment < first + period for moment in begun) <= rate
