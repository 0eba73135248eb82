from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import given
from hypothesis import strategies as st

from skep.api.cron import CronTerms
from skep.api.cron_string import CronString
from skep.worker.cron.ticker import (
    Calendar,
    Due,
    Interval,
    Timing,
    jumped,
    look,
    overlapping,
    rebase,
    start,
    timeline,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
MINUTE, HOUR, YEAR = 60.0, 3600.0, 365 * 86400.0

TERMS = CronTerms(
    every=1.0,
    trigger=None,
    overlap="skip",
    misfire="skip",
    grace=1.0,
    immediate=False,
    timeout=None,
)
EVERY_SECOND = Interval(1.0)
EVERY_MINUTE = Calendar(CronString("* * * * *", UTC))
CALENDAR_TERMS = replace(TERMS, every=None, trigger=EVERY_MINUTE.trigger, grace=60.0)


def test_an_interval_keeps_step_with_its_start() -> None:
    timing, dues = start(EVERY_SECOND, 100.0, immediate=False), []
    for now in (100.5, 101.004, 101.9, 102.013, 103.0):
        timing, due = look(EVERY_SECOND, timing, now, TERMS)
        dues.append(due)
    assert dues == [None, Due(101.0), None, Due(102.0), Due(103.0)]


def test_immediate_is_due_at_the_start_and_then_in_step() -> None:
    timing, due = look(EVERY_SECOND, start(EVERY_SECOND, 100.0, immediate=True), 100.0, TERMS)
    assert due == Due(100.0)
    assert timing.due == 101.0


def test_moments_missed_together_make_one_run() -> None:
    timing, due = look(EVERY_SECOND, Timing(101.0), 105.3, TERMS)
    assert due == Due(105.0, missed=4)
    assert timing.due == 106.0


def test_a_day_of_missed_milliseconds_costs_nothing() -> None:
    line = Interval(0.005)
    timing, due = look(line, Timing(0.005), 86400.0, TERMS)
    assert due is not None
    assert due.missed >= 17_000_000
    assert timing.due is not None
    assert 0 < timing.due - 86400.0 <= 0.0051


@pytest.mark.parametrize(
    ("grace", "misfire", "expected"),
    [
        (5.0, "skip", Due(110.0)),
        (1.0, "skip", Due(110.0, too_late=True)),
        (1.0, "once", Due(110.0)),
    ],
)
def test_what_is_due_for_longer_than_the_grace_has_misfired(
    grace: float, misfire: Any, expected: Due
) -> None:
    terms = replace(TERMS, grace=grace, misfire=misfire)
    assert look(Interval(10.0), Timing(110.0), 113.0, terms) == (Timing(120.0, 110.0), expected)


@given(
    st.floats(0.005, 100, allow_nan=False),
    st.lists(st.floats(0, 50, allow_nan=False), max_size=30),
)
def test_no_moment_of_an_interval_is_lost_or_doubled(every: float, steps: list[float]) -> None:
    # Whatever the gaps between two looks, moments run and missed are all there were, in step
    line, now = Interval(every), 1000.0
    timing, runs = start(line, now, immediate=False), []
    for step in steps:
        now += step
        timing, due = look(line, timing, now, replace(TERMS, misfire="once"))
        if due is not None:
            assert due.at <= now + 1e-6
            runs.append(due)
    counted = sum(1 + due.missed for due in runs)
    assert counted == pytest.approx((now - 1000.0) / every, abs=1.001)
    assert timing.due == pytest.approx(1000.0 + (counted + 1) * every)


def roll(gap: float, every: float, rollouts: int) -> list[Due]:
    """Run a cron for five seconds in each of some generations, with a gap between two of them."""
    line, now, dues = Interval(every), 0.0, []
    timing = start(line, now, immediate=False)
    for _ in range(rollouts + 1):
        end = now + 5.0
        while now < end:
            timing, due = look(line, timing, now, replace(TERMS, grace=max(1.0, every)))
            if due is not None:
                dues.append(due)
            now += 0.01
        now += gap
    return dues


@pytest.mark.parametrize("gap", [0.001, 0.05, 0.3, 0.77])
def test_over_ten_rollouts_every_second_comes_exactly_once(gap: float) -> None:
    dues = roll(gap, every=1.0, rollouts=10)
    assert [due.at for due in dues] == [float(n) for n in range(1, len(dues) + 1)]
    assert not any(due.missed or due.too_late for due in dues)


def test_what_falls_into_a_longer_gap_comes_once_late() -> None:
    dues = roll(gap=3.5, every=1.0, rollouts=1)
    assert [(due.at, due.missed) for due in dues[4:7]] == [(8.0, 3), (9.0, 0), (10.0, 0)]


def test_an_hourly_cron_comes_though_there_is_a_rollout_every_minute() -> None:
    line, timing, comes = Interval(HOUR), Timing(HOUR), []
    for minute in range(200):
        handed_over = Timing(timing.due, timing.last)
        timing, due = look(line, handed_over, minute * MINUTE, replace(TERMS, grace=HOUR))
        if due is not None:
            comes.append(due.at)
    assert comes == [HOUR, 2 * HOUR, 3 * HOUR]


# -- the wall clock -------------------------------------------------------------------------------


def test_a_cron_string_is_due_at_its_minute() -> None:
    timing = start(EVERY_MINUTE, NOON + 20, immediate=False)
    assert timing == Timing(NOON + MINUTE)
    assert look(EVERY_MINUTE, timing, NOON + 59.9, CALENDAR_TERMS)[1] is None
    after, due = look(EVERY_MINUTE, timing, NOON + 60.01, CALENDAR_TERMS)
    assert due == Due(NOON + MINUTE)
    assert after == Timing(NOON + 2 * MINUTE, NOON + MINUTE)


def test_a_clock_set_forward_lets_what_was_skipped_come_at_most_once() -> None:
    # Given a cron every five minutes, due at 12:05, and a clock that jumps from 12:03 to 13:03
    line = Calendar(CronString("*/5 * * * *", UTC))
    now = NOON + HOUR + 3 * MINUTE
    # Then the last moment, 13:00, has misfired: it is skipped, or made up for once
    timing, due = look(line, Timing(NOON + 5 * MINUTE), now, CALENDAR_TERMS)
    assert due == Due(NOON + HOUR, missed=11, too_late=True)
    _, due = look(line, Timing(NOON + 5 * MINUTE), now, replace(CALENDAR_TERMS, misfire="once"))
    assert due == Due(NOON + HOUR, missed=11)
    # And it goes on by the new time
    assert timing.due == NOON + HOUR + 5 * MINUTE


def test_a_clock_set_forward_by_years_is_not_counted_through() -> None:
    now = NOON + 20 * YEAR
    timing, due = look(EVERY_MINUTE, Timing(NOON), now, CALENDAR_TERMS)
    assert due is not None
    assert (due.missed, due.at, due.too_late) == (1000, now, False)
    assert timing.due is not None
    assert now < timing.due <= now + MINUTE


def test_a_clock_set_back_does_not_stall_a_cron() -> None:
    timing = Timing(NOON + HOUR, last=NOON)
    hourly = Calendar(CronString("0 * * * *", UTC))
    back = rebase(hourly, timing, NOON - 2 * HOUR + 1, jump=-2 * HOUR)
    assert back.due == NOON - HOUR


def test_a_clock_set_back_a_little_does_not_run_a_minute_twice() -> None:
    timing = Timing(NOON + MINUTE, last=NOON)
    assert rebase(EVERY_MINUTE, timing, NOON - 2, jump=-3).due == NOON + MINUTE


DAILY = Calendar(CronString("0 12 * * *", UTC))


DAILY_TRIGGER = Calendar(CronTrigger(hour=12, timezone=UTC))
MINUTES_TRIGGER = Calendar(CronTrigger(minute="*/5", timezone=UTC))


@pytest.mark.parametrize("line", [DAILY, DAILY_TRIGGER])
def test_a_clock_set_back_does_not_run_a_daily_cron_again(line: Calendar) -> None:
    timing = Timing(NOON + 24 * HOUR, last=NOON)
    now = NOON + HOUR
    for jump in (-5.0, -MINUTE, -2 * HOUR, 2 * HOUR, -2.9 * HOUR):
        now += jump
        timing = rebase(line, timing, now, jump)
        assert timing == Timing(NOON + 24 * HOUR, last=NOON)


def test_a_trigger_of_every_few_minutes_goes_on_by_a_clock_set_back() -> None:
    timing = Timing(NOON + 5 * MINUTE, last=NOON)
    assert rebase(MINUTES_TRIGGER, timing, NOON - HOUR + 1, jump=-HOUR).due == (
        NOON - HOUR + 5 * MINUTE
    )


def test_three_hours_back_are_a_correction_by_which_every_cron_goes() -> None:
    timing = Timing(NOON + 24 * HOUR, last=NOON)
    assert rebase(DAILY, timing, NOON - 2 * HOUR, jump=-3 * HOUR).due == NOON


@pytest.mark.parametrize(
    ("jump", "expected"),
    [
        # What was skipped is due at once, whatever the grace; and it is not due again after that
        (HOUR, Due(NOON + HOUR - MINUTE)),
        (3 * HOUR, Due(NOON, too_late=True)),
    ],
)
def test_a_daily_cron_is_due_after_the_hours_that_a_clock_set_forward_skips(
    jump: float, expected: Due
) -> None:
    now = NOON - MINUTE + jump
    timing = rebase(DAILY, Timing(NOON), now, jump)
    timing, due = look(DAILY, timing, now, CALENDAR_TERMS)
    assert due == expected
    assert timing.due == NOON + 24 * HOUR


def test_what_became_due_until_the_jump_was_noticed_keeps_its_moment() -> None:
    timing = Timing(NOON)
    assert rebase(DAILY, timing, NOON + 1, jump=HOUR) == timing


def test_what_was_due_before_a_clock_was_set_forward_stays_due() -> None:
    timing = Timing(NOON, last=None)
    assert rebase(DAILY, timing, NOON + 2 * HOUR, jump=HOUR) == timing


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_intervals_do_not_care_for_the_wall_clock(jump: float) -> None:
    assert rebase(EVERY_SECOND, Timing(101.0), NOON, jump) == Timing(101.0)


def test_a_clock_set_forward_leaves_what_is_due_due() -> None:
    assert rebase(EVERY_MINUTE, Timing(NOON), NOON + HOUR, jump=HOUR) == Timing(NOON)


@pytest.mark.parametrize(
    ("before", "now", "jump"),
    [(100.0, 100.4, 0.0), (100.0, 99.6, 0.0), (100.0, 3700.0, 3600.0), (100.0, 40.0, -60.0)],
)
def test_a_jump_is_more_than_the_slewing_of_a_time_service(
    before: float, now: float, jump: float
) -> None:
    assert jumped(before, now) == jump


# -- triggers of others ---------------------------------------------------------------------------


def moments(trigger: Any, count: int) -> list[float | None]:
    """The first moments of a trigger that starts at noon, each looked at when it is due."""
    line = timeline(replace(CALENDAR_TERMS, trigger=trigger))
    timing, found = start(line, NOON, immediate=False), []
    for _ in range(count):
        found.append(None if timing.due is None else timing.due - NOON)
        if timing.due is not None:
            timing, _ = look(line, timing, timing.due, CALENDAR_TERMS)
    return found


def test_apscheduler_s_triggers_tell_their_moments() -> None:
    at_noon = datetime.fromtimestamp(NOON, UTC)
    interval = IntervalTrigger(seconds=90, start_date=at_noon, timezone=UTC)
    assert moments(interval, 3) == [0, 90, 180]
    assert moments(CronTrigger(minute="*/20", timezone=UTC), 3) == [0, 1200, 2400]
    date = DateTrigger(at_noon + timedelta(seconds=5), timezone=UTC)
    assert moments(date, 2) == [5, None]
    either = OrTrigger([CronTrigger(minute=m, timezone=UTC) for m in ("*/20", "5")])
    assert moments(either, 3) == [0, 300, 1200]


class Stuck:
    """A trigger that always answers with the same moment."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return datetime.fromtimestamp(NOON, UTC)


def test_a_trigger_that_does_not_get_on_is_found_out() -> None:
    with pytest.raises(ValueError, match="does not come after itself"):
        look(Calendar(Stuck()), Timing(NOON), NOON, CALENDAR_TERMS)


@pytest.mark.parametrize(
    ("overlap", "running", "expected"),
    [
        ("skip", False, "run"),
        ("queue", False, "run"),
        ("allow", False, "run"),
        ("skip", True, "skip"),
        ("queue", True, "wait"),
        ("allow", True, "run"),
    ],
)
def test_what_comes_while_a_cron_runs(overlap: Any, running: bool, expected: str) -> None:
    assert overlapping(overlap, running) == expected
