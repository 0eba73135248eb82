"""Which moments run, and which are missed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from skep.api.cron_string import CronString
from skep.schedule.crontab import CommandTerms
from skep.schedule.moments import Judgement, following, judge

SKIP, ONCE = CommandTerms(), CommandTerms(misfire="once")
MINUTELY, NIGHTLY = CronString("* * * * *", UTC), CronString("30 2 * * *", UTC)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_nothing_is_due_before_its_moment() -> None:
    last = at("2026-11-29 02:30")
    assert judge(NIGHTLY, last, last + 3600, SKIP) == Judgement(last)


def test_a_moment_is_due_once() -> None:
    moment = at("2026-11-29 02:30")
    found = judge(NIGHTLY, moment - 100, moment + 0.2, SKIP)
    assert found == Judgement(moment, moment)
    assert judge(NIGHTLY, found.last, moment + 0.3, SKIP) == Judgement(moment)


@pytest.mark.parametrize(
    ("terms", "late", "due"),
    [(SKIP, 59, True), (SKIP, 61, False), (ONCE, 61, True), (CommandTerms(grace=3600), 61, True)],
)
def test_a_late_moment_runs_within_its_grace_or_once(
    terms: CommandTerms, late: float, due: bool
) -> None:
    moment = at("2026-11-29 02:30")
    found = judge(NIGHTLY, moment - 100, moment + late, terms)
    assert found == Judgement(moment, moment if due else None, 0 if due else 1)


def test_moments_missed_together_make_one_run() -> None:
    moment = at("2026-11-29 02:30")
    assert judge(NIGHTLY, moment - 3 * 86400, moment + 10, SKIP) == Judgement(moment, moment, 2)


def test_years_without_a_schedule_are_judged_at_once() -> None:
    now = at("2026-11-29 02:30:20")
    assert judge(MINUTELY, now - 3e8, now, SKIP) == Judgement(now - 20, now - 20, 99)
    yearly = CronString("0 0 1 1 *", UTC)
    assert judge(yearly, at("1800-01-01"), now, ONCE).due == at("2026-01-01")


@pytest.mark.parametrize("back", [60, 3600, 3 * 3600])
def test_after_a_small_step_back_a_fixed_time_does_not_run_again(back: float) -> None:
    last = at("2026-11-29 02:30")
    assert judge(NIGHTLY, last, last - back + 1, SKIP) == Judgement(last)
    assert judge(NIGHTLY, last, last + 0.5, SKIP).due is None


def test_after_a_small_step_back_other_commands_go_by_the_new_time() -> None:
    last = at("2026-11-29 02:30")
    found = judge(MINUTELY, last, last - 3590, SKIP)
    assert found == Judgement(last - 3590)
    assert judge(MINUTELY, found.last, last - 3540, SKIP).due == last - 3540


def test_a_correction_of_seconds_runs_no_minute_twice() -> None:
    last = at("2026-11-29 02:30")
    assert judge(MINUTELY, last, last - 0.004, SKIP) == Judgement(last)
    assert judge(MINUTELY, last, last + 0.5, SKIP).due is None


def test_a_large_step_back_is_a_correction() -> None:
    last = at("2026-11-29 02:30")
    assert judge(NIGHTLY, last, last - 86400 * 30, SKIP).last == last - 86400 * 30


def test_a_day_with_a_skipped_hour_has_its_run() -> None:
    berlin = CronString("30 2 * * *", ZoneInfo("Europe/Berlin"))
    night = at("2026-03-29 00:00")
    assert (
        following(berlin, night)
        == (datetime(2026, 3, 29, 1, tzinfo=UTC) + timedelta(0)).timestamp()
    )
