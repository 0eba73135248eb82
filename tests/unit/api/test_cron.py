import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.interval import IntervalTrigger

from skep.api.cron import CronJob, CronString, Tick, cron, named, seconds
from skep.base.errors import PluginError

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("5m", 300),
        ("1h", 3600),
        ("1.5 d", 129600),
        (0.5, 0.5),
        (2, 2),
    ],
)
def test_a_duration_is_read(duration: str | float, expected: float) -> None:
    assert seconds(duration) == pytest.approx(expected)


@pytest.mark.parametrize(
    "duration", ["", "5", "5 weeks", "-1s", "1h30m", "ms", 0, -1, float("inf")]
)
def test_what_is_no_duration_is_refused(duration: str | float) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(duration)


def test_a_decorated_function_can_still_be_called() -> None:
    @cron(every="500ms", overlap="queue", grace="2s", timeout=3)
    async def sweep(tick: Tick) -> str:
        """Sweep."""
        return f"swept {tick.n}"

    assert asyncio.run(sweep(Tick(NOON, 7))) == "swept 7"
    assert (sweep.name, sweep.__doc__) == ("sweep", "Sweep.")
    assert (sweep.terms.every, sweep.terms.overlap) == (0.5, "queue")
    assert (sweep.terms.grace, sweep.terms.timeout) == (2, 3)


def test_a_class_says_the_same_by_its_attributes() -> None:
    class Beat(CronJob):
        cron = "0 9 * * 1-5"
        tz = "Asia/Shanghai"
        misfire = "once"

        def run(self, tick: Tick) -> int:
            return tick.n

    assert str(Beat.terms) == "cron 0 9 * * 1-5 Asia/Shanghai"
    assert Beat.terms.misfire == "once"
    assert Beat().handler(Tick(NOON, 3)) == 3


@pytest.mark.parametrize(("every", "grace"), [("10ms", 1), ("5s", 5), ("1h", 3600)])
def test_an_interval_may_be_late_by_itself_but_at_least_a_second(every: str, grace: float) -> None:
    @cron(every=every)
    def sweep(tick: Tick) -> None: ...

    assert sweep.terms.grace == grace


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "needs one of every, a cron string and trigger"),
    ({"every": "1s", "trigger": IntervalTrigger(seconds=1)}, "needs one of"),
    ({"every": "1s", "tz": "UTC"}, "tz goes with a cron string only"),
    ({"every": "4ms"}, '"4ms" is shorter than 5 ms'),
    ({"every": "soon"}, '"soon" is not a duration'),
    ({"every": "1s", "grace": "0s"}, '"0s" is not a duration'),
    ({"every": "1s", "timeout": "never"}, '"never" is not a duration'),
    ({"every": "1s", "overlap": "join"}, 'overlap is "join", not one of skip, queue, allow'),
    ({"every": []}, "cannot run"),
    ({"every": "1s", "immediate": "yes"}, "immediate is 'yes', not True or False"),
    ({"trigger": "interval"}, "trigger is 'interval', not an object with get_next_fire_time"),
    ({"trigger": IntervalTrigger}, "not an object with get_next_fire_time"),
    ({"every": "1s", "misfire": "twice"}, 'misfire is "twice", not one of skip, once'),
]


@pytest.mark.parametrize(("options", "sentence"), BAD)
def test_options_that_cannot_be_meant_fail_where_they_stand(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence) as caught:

        @cron(**options)
        def sweep(tick: Tick) -> None: ...

    assert "The cron sweep cannot run" in str(caught.value)
    assert caught.value.file == __file__
    assert caught.value.line > 0


@pytest.mark.parametrize(
    ("text", "tz", "sentence"),
    [
        ("* * * *", None, r'"\* \* \* \*" is not a cron string \(Wrong number of fields\)'),
        ("61 * * * *", None, r'"61 \* \* \* \*" is not a cron string \(Bad minute\)'),
        ("@daily", None, '"@daily" is not a cron string'),
        ("0 0 31 2 *", None, "Bad day-of-month"),
        ("0 0 * * *", "Mars/Base", '"Mars/Base" is not a time zone that this machine knows'),
        ("0 0 * * *", "Europe", '"Europe" is not a time zone that this machine knows'),
        ("0 0 * * *", "../etc/passwd", "is not a time zone"),
    ],
)
def test_a_class_with_a_bad_cron_string_cannot_be_made(
    text: str, tz: str | None, sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence) as caught:
        type("Report", (CronJob,), {"cron": text, "tz": tz, "__module__": "plugins.orders.jobs"})
    assert "The cron Report cannot run" in str(caught.value)
    assert caught.value.plugin == "orders"


def test_names_are_the_plugin_s_and_the_function_s() -> None:
    @cron(every=1)
    def sweep(tick: Tick) -> None: ...

    @cron(every=1, name="night")
    def clean(tick: Tick) -> None: ...

    class Base(CronJob):
        grace: ClassVar[str] = "9s"

    class Beat(Base):
        every = "1s"

    found = named("orders", [sweep, clean, Beat])
    assert list(found) == ["orders.sweep", "orders.night", "orders.Beat"]
    assert found["orders.Beat"].terms.grace == 9
    with pytest.raises(PluginError, match=r"orders has two crons with the name orders\.sweep"):
        named("orders", [sweep, sweep])
    with pytest.raises(PluginError, match=r"The cron orders\.Base says no time"):
        named("orders", [Base])


def test_a_cron_can_be_stopped_alone() -> None:
    class Beat(CronJob):
        every = "1s"

    first, second = Beat(), Beat()
    first.stop()
    assert (first.stopped, second.stopped) == (True, False)


NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"

# What each string answers after a moment; in Debian's cron's way. 2026-11-23 is a Monday.
TABLE = [
    ("* * * * *", "UTC", "2026-11-23 12:00", ["2026-11-23 12:01", "2026-11-23 12:02"]),
    ("*/15 * * * *", "UTC", "2026-11-23 12:50", ["2026-11-23 13:00", "2026-11-23 13:15"]),
    ("5,35 * * * *", "UTC", "2026-11-23 12:05", ["2026-11-23 12:35", "2026-11-23 13:05"]),
    ("10-12 * * * *", "UTC", "2026-11-23 12:11", ["2026-11-23 12:12", "2026-11-23 13:10"]),
    ("0 9-17/4 * * *", "UTC", "2026-11-23 10:00", ["2026-11-23 13:00", "2026-11-23 17:00"]),
    ("0 3 * * *", "UTC", "2026-11-23 03:00", ["2026-11-24 03:00", "2026-11-25 03:00"]),
    # Sunday is 0 and 7 and SUN, and never Monday
    ("0 0 * * 0", "UTC", "2026-11-23 12:00", ["2026-11-29 00:00", "2026-12-06 00:00"]),
    ("0 0 * * 7", "UTC", "2026-11-23 12:00", ["2026-11-29 00:00", "2026-12-06 00:00"]),
    ("0 0 * * SUN", "UTC", "2026-11-23 12:00", ["2026-11-29 00:00", "2026-12-06 00:00"]),
    ("0 0 * * 1-5", "UTC", "2026-11-27 12:00", ["2026-11-30 00:00", "2026-12-01 00:00"]),
    ("0 0 * * 5-7", "UTC", "2026-11-23 12:00", ["2026-11-27 00:00", "2026-11-28 00:00"]),
    # Both days given: either will do; one of them a star: the other decides
    ("0 0 13 * 5", "UTC", "2026-11-10 12:00", ["2026-11-13 00:00", "2026-11-20 00:00"]),
    ("0 0 24 * 5", "UTC", "2026-11-23 12:00", ["2026-11-24 00:00", "2026-11-27 00:00"]),
    ("0 0 13 * *", "UTC", "2026-11-23 12:00", ["2026-12-13 00:00", "2027-01-13 00:00"]),
    # Months, ends of months, leap years
    ("0 0 1 JAN *", "UTC", "2026-11-23 12:00", ["2027-01-01 00:00", "2028-01-01 00:00"]),
    ("0 0 31 * *", "UTC", "2026-11-23 12:00", ["2026-12-31 00:00", "2027-01-31 00:00"]),
    ("0 0 L * *", "UTC", "2026-11-23 12:00", ["2026-11-30 00:00", "2026-12-31 00:00"]),
    ("0 0 29 2 *", "UTC", "2026-11-23 12:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ("59 23 31 12 *", "UTC", "2026-11-23 12:00", ["2026-12-31 23:59", "2027-12-31 23:59"]),
    ("0 12 * * MON#1", "UTC", "2026-11-23 12:00", ["2026-12-07 12:00", "2027-01-04 12:00"]),
    # Six fields: the seconds come first
    ("30 * * * * *", "UTC", "2026-11-23 12:00", ["2026-11-23 12:00:30", "2026-11-23 12:01:30"]),
    ("*/20 0 0 * * *", "UTC", "2026-11-23 00:00", ["2026-11-23 00:00:20", "2026-11-23 00:00:40"]),
    # Time zones
    ("0 9 * * *", "Asia/Shanghai", "2026-11-23 01:00", ["2026-11-24 01:00", "2026-11-25 01:00"]),
    ("30 5 * * *", "Asia/Kolkata", "2026-11-23 00:00", ["2026-11-24 00:00", "2026-11-25 00:00"]),
    ("0 0 1 * *", NEW_YORK, "2026-12-01 04:59", ["2026-12-01 05:00", "2027-01-01 05:00"]),
    # Spring: 02:30 does not exist on 2026-03-08 in New York; it runs at 03:00 (07:00 UTC)
    ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
    ("0 2 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:00"]),
    ("30 3 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:30", "2026-03-09 07:30"]),
    ("30 2 29 3 *", BERLIN, "2026-03-01 00:00", ["2026-03-29 01:00", "2027-03-29 00:30"]),
    # Autumn: 01:30 comes twice on 2026-11-01 in New York (05:30 and 06:30 UTC); it runs once
    ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
    ("30 1 * * *", NEW_YORK, "2026-11-01 05:30", ["2026-11-02 06:30", "2026-11-03 06:30"]),
    ("0 3 * * *", NEW_YORK, "2026-11-01 05:00", ["2026-11-01 08:00", "2026-11-02 08:00"]),
    ("30 2 * * *", BERLIN, "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
    # A start in the second pass must not answer with a moment of the first
    ("30 1 * * *", NEW_YORK, "2026-11-01 06:10", ["2026-11-02 06:30", "2026-11-03 06:30"]),
    # Every so many minutes goes on through both passes
    ("*/30 * * * *", NEW_YORK, "2026-11-01 05:00", ["2026-11-01 05:30", "2026-11-01 06:00"]),
    ("*/30 * * * *", NEW_YORK, "2026-11-01 06:00", ["2026-11-01 06:30", "2026-11-01 07:00"]),
    ("*/30 * * * *", NEW_YORK, "2026-03-08 06:30", ["2026-03-08 07:00", "2026-03-08 07:30"]),
]


@pytest.mark.parametrize(("text", "zone", "after", "expected"), TABLE)
def test_a_cron_string_means_what_debian_s_cron_means(
    text: str, zone: str, after: str, expected: list[str]
) -> None:
    trigger = CronString(text, ZoneInfo(zone))
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    for answer in expected:
        following = trigger.get_next_fire_time(moment, moment)
        assert following is not None
        assert following.astimezone(UTC) == datetime.fromisoformat(answer).replace(tzinfo=UTC)
        assert following.tzinfo == ZoneInfo(zone)
        moment = following.astimezone(UTC)


def test_a_fraction_of_a_second_later_is_later() -> None:
    trigger = CronString("* * * * * *", UTC)
    late = NOON + timedelta(milliseconds=3)
    assert trigger.get_next_fire_time(NOON, late) == NOON + timedelta(seconds=1)
    assert trigger.get_next_fire_time(None, late) == NOON + timedelta(seconds=1)
