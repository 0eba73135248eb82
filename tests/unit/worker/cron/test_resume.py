"""Where a cron goes on after a kill, a restart, a stop of the platform or of itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.date import DateTrigger
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from skep.api.cron import CronTerms, Misfire
from skep.api.cron_string import CronString
from skep.table.journal import CronState
from skep.worker.cron.ticker import (
    Calendar,
    Due,
    Instant,
    Interval,
    Timing,
    identity,
    look,
    resume,
    skip,
    start,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0

DAILY = CronTerms(
    every=DAY, trigger=None, overlap="skip", misfire="skip", grace=DAY, immediate=False,
    timeout=None,
)  # fmt: skip
HOURLY = replace(DAILY, every=None, trigger=CronString("0 * * * *", UTC), grace=MINUTE)
EVERY_DAY, EVERY_HOUR = Interval(DAY), Calendar(CronString("0 * * * *", UTC))


def state(
    terms: CronTerms, due: float | None, *, wall: float, monotonic: float = 1000.0
) -> CronState:
    return CronState(identity(terms), due, None, wall, monotonic, "boot")


def test_an_interval_goes_on_in_its_phase_whatever_the_wall_clock_does() -> None:
    """The machine has not been started since: the monotonic clock says how much time has passed."""
    kept = state(DAILY, NOON + HOUR, wall=NOON)
    for wall in (NOON + 60, NOON + 60 + 5000, NOON - 5000):
        timing = resume(EVERY_DAY, kept, DAILY, Instant(wall, 1060.0, "boot"))
        assert timing == Timing(1000.0 + HOUR)


def test_after_a_start_of_the_machine_an_interval_goes_on_by_the_wall_clock() -> None:
    kept = state(DAILY, NOON + HOUR, wall=NOON)
    timing = resume(EVERY_DAY, kept, DAILY, Instant(NOON + 60, 5.0, "another boot"))
    assert timing == Timing(5.0 + HOUR - 60)
    # Which was set back by a month: it is due after one interval
    set_back = Instant(NOON - 30 * DAY, 5.0, "another boot")
    assert resume(EVERY_DAY, kept, DAILY, set_back) == Timing(5.0 + DAY)


def test_a_daily_cron_runs_though_there_is_a_start_every_hour() -> None:
    """A14: `every="24h"` with restarts more often than that."""
    now, runs = Instant(NOON, 1000.0, "boot"), 0
    kept = state(DAILY, NOON + DAY, wall=NOON)
    for _ in range(24 * 7):
        timing = resume(EVERY_DAY, kept, DAILY, now)
        assert timing is not None
        for _ in range(60):
            timing, due = look(EVERY_DAY, timing, now.monotonic, DAILY)
            runs += due is not None
            now = Instant(now.wall + MINUTE, now.monotonic + MINUTE, now.boot)
        assert timing.due is not None
        kept = state(DAILY, now.unix(EVERY_DAY, timing.due), wall=now.wall, monotonic=now.monotonic)
    assert runs == 6


@pytest.mark.parametrize(
    ("misfire", "down", "expected"),
    [
        # Due at 13:00. The platform is up again in time: nothing is missed
        ("skip", 30 * MINUTE, None),
        # Within the grace of a minute it runs late
        ("skip", HOUR + 50, Due(NOON + HOUR, 0)),
        ("skip", HOUR + 70, Due(NOON + HOUR, 0, too_late=True)),
        ("once", HOUR + 70, Due(NOON + HOUR, 0)),
        # Of several the last one counts
        ("skip", 3 * HOUR + 70, Due(NOON + 3 * HOUR, 2, too_late=True)),
        ("once", 3 * HOUR + 70, Due(NOON + 3 * HOUR, 2)),
        ("skip", 3 * HOUR + 10, Due(NOON + 3 * HOUR, 2)),
    ],
)
def test_a_platform_that_was_down_over_a_moment(
    misfire: Misfire, down: float, expected: Due | None
) -> None:
    """A14: it is run once or counted, as `misfire` and `grace` say."""
    terms = replace(HOURLY, misfire=misfire)
    kept = state(terms, NOON + HOUR, wall=NOON)
    now = Instant(NOON + down, 1000.0 + down, "boot")
    timing = resume(EVERY_HOUR, kept, terms, now)
    assert timing is not None
    after, due = look(EVERY_HOUR, timing, now.wall, terms)
    assert due == expected
    assert after.due == NOON + (down // HOUR + 1) * HOUR


def test_of_very_many_moments_the_last_is_found_and_not_all_are_counted() -> None:
    every_second = replace(HOURLY, trigger=CronString("* * * * * *", UTC), grace=2.0)
    line = Calendar(every_second.trigger)  # type: ignore[arg-type]
    for down, expected in (
        (100.5, Due(NOON + 100, 99)),
        (5000.5, Due(NOON + 5000, 1000)),
    ):
        _, due = look(line, Timing(NOON + 1), NOON + down, every_second)
        assert due == expected
    # One that comes seldom is judged by the last that was counted
    _, due = look(EVERY_HOUR, Timing(NOON + HOUR), NOON + 2000.5 * HOUR, HOURLY)
    assert due == Due(NOON + 1001 * HOUR, 1000, too_late=True)


def test_the_wall_clock_was_set_back_while_no_timer_ran() -> None:
    """It must not stall until the clock has caught up, nor repeat the minute that ran."""
    kept = changed(state(HOURLY, NOON + HOUR, wall=NOON + 1), last=NOON)
    now = Instant(NOON - 5 * HOUR, 1000.0, "boot")
    assert resume(EVERY_HOUR, kept, HOURLY, now) == Timing(NOON - 4 * HOUR, NOON)
    a_little = Instant(NOON - 20, 1000.0, "boot")
    assert resume(EVERY_HOUR, kept, HOURLY, a_little) == Timing(NOON + HOUR, NOON)


def test_other_terms_start_again_and_what_has_ended_stays_so() -> None:
    now = Instant(NOON, 1000.0, "boot")
    assert resume(EVERY_DAY, state(HOURLY, NOON, wall=NOON), DAILY, now) is None
    once = replace(HOURLY, trigger=DateTrigger(datetime.fromtimestamp(NOON, UTC)))
    ran = changed(state(once, None, wall=NOON), last=NOON)
    line = Calendar(once.trigger)  # type: ignore[arg-type]
    assert resume(line, ran, once, now) == Timing(None, NOON)


def test_the_place_of_a_trigger_in_memory_is_not_part_of_the_terms() -> None:
    class Mine:
        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
            return now + timedelta(hours=1)

    assert identity(replace(HOURLY, trigger=Mine())) == identity(replace(HOURLY, trigger=Mine()))


@given(st.floats(0.005, 1e5), st.floats(0, 1e6))
def test_after_a_stop_an_interval_is_due_as_if_it_had_not_been(every: float, after: float) -> None:
    line = Interval(every)
    begun = start(line, 100.0, immediate=False)
    found = skip(line, begun, 100.0 + after)
    assert found.due is not None
    assert begun.due is not None
    assert found.due > 100.0 + after - 1e-6
    steps = (found.due - begun.due) / every
    assert steps == pytest.approx(round(steps), abs=1e-3)


def test_after_a_stop_a_cron_string_is_due_at_its_next_moment() -> None:
    timing = Timing(NOON + HOUR, NOON)
    assert skip(EVERY_HOUR, timing, NOON + 10) == timing
    assert skip(EVERY_HOUR, timing, NOON + 5.5 * HOUR) == Timing(NOON + 6 * HOUR, NOON)
    assert skip(EVERY_HOUR, Timing(None), NOON) == Timing(None)
