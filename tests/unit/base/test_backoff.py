"""How long to wait before trying again."""

import pytest

from skep.base.backoff import Backoff


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(first=0.5, factor=2.0, cap=30.0, jitter=0.0)
    assert [backoff.delay(n) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_full_jitter_draws_from_the_whole_span() -> None:
    backoff = Backoff(first=4.0, jitter=1.0)
    assert backoff.delay(1, draw=lambda: 0.0) == 0.0
    assert backoff.delay(1, draw=lambda: 0.5) == 2.0


def test_a_fifth_of_jitter_varies_by_a_fifth_to_either_side() -> None:
    backoff = Backoff(first=10.0, jitter=0.2)
    assert backoff.delay(1, draw=lambda: 0.0) == pytest.approx(8.0)
    assert backoff.delay(1, draw=lambda: 0.999999) == pytest.approx(12.0, abs=0.001)


def test_days_of_failures_do_not_overflow() -> None:
    assert Backoff(jitter=0.0).delay(1_000_000) == 30.0


def test_a_factor_that_overflows_is_capped() -> None:
    assert Backoff(factor=1e10, jitter=0.0).delay(60) == 30.0
