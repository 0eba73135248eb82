"""What a cron string means: compared with a simulation of Debian's cron, minute by minute."""

import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from skep.api.cron_string import CronString
from tests.unit.api import debian_cron

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ZONES = [
    "America/New_York",
    # Its clocks change by half an hour.
    "Australia/Lord_Howe",
    # These skip midnight, or repeat the hour before or after it.
    "America/Santiago",
    "Africa/Cairo",
    "America/Havana",
]
# Minutes and hours: at fixed times, and with a star at the beginning.
TIMES = [
    *("0 0", "30 0", "1-59/20 0", "0 1", "15 1", "45 1", "0 2", "15 2", "30 2", "59 1,2", "0 3"),
    *("30 23", "59 23", "0 22-23", "7 0,2,12", "0-59/30 2", "10 0-3"),
    *("*/30 2", "*/20 3", "0 */6"),
]
# Days of the month, months and days of the week.
DAYS = [
    *("* * *", "* * 0", "* * 7", "* * sun", "* * mon-fri", "1 * *", "31 * *", "29 2 *"),
    *("13 * 5", "1,15 * sat,SUN", "1-31 * 6-7", "6,25-25/5 */5 fri", "24-31 mar,apr,oct *"),
    # A star with a step is a star: both days must fit.
    *("*/2 * 0", "*/7 * 1-5", "*/10 */3 */2", "8-14 3,4 */7", "* 2-4,10-11 *"),
]
ODD = [
    *("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"),
    *("0 * * * *", "*/20 * * * *", "*/45 * * * 6", "*/90 * * * *", "59 */5 * * *", "0 */25 * * *"),
    *(
        "5-5/7 4-4/2 * * *",
        "5-9/100 0 * * *",
        "0-59 2 * * 1",
        "* 3 1 * *",
        "00 01 01 01 00",
        "1,1,1 1 * * *",
    ),
    # Only a star at the beginning of a field counts.
    *("*,5 1 * * *", "5,*/10 1 * * *", "0 1,*/12 * * *", "0 *,1 1 * *", "5,35 0 1,* * 1"),
    *("0 0 *,1 * 1", "0 0 1 * *,1", "0 0 1 * 1,*", "0 0 */40 * *", "0 0 */40 * 1", "0 0 1 * */8"),
    *("0 0 * * 0-7", "0 0 * * 5-7", "0 0 * * 0,7", "0 0 * * 1-7/2", "0 0 * * */7", "0 0 * * 0-0/3"),
    *(
        "0 0 * * MON",
        "0 0 * * Tue-thu/2",
        "0 0 * jan,MAR-May/2,11 *",
        "0 0 * feb-4 fri-7",
        "0 0 29-31 2 *",
    ),
    *("\t0  0 * * *  ", "*/15 9-17 * * mon-fri", "0 0 31 1-12/3 *", "0 0 30,31 4,2,6 *"),
]
STRINGS = [*(f"{time} {days}" for time in TIMES for days in DAYS), *ODD]
GROUPS = 16


@functools.cache
def years(zone: str) -> debian_cron.Years:
    return debian_cron.Years(ZoneInfo(zone), START, END)


def moments(trigger: CronString, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the moments after the start up to the end."""
    while (following := trigger.get_next_fire_time(start, start)) and following <= end:
        yield following
        start = following


def minutes(text: str, zone: str) -> int:
    """Return a mask of the minutes after START in which the string is due."""
    found = bytearray((END - START) // MINUTE // 8 + 1)
    origin = START.timestamp()
    for moment in moments(CronString(text, ZoneInfo(zone)), START, END):
        minute, second = divmod(int(moment.timestamp() - origin), 60)
        assert second == 0
        found[minute >> 3] |= 1 << (minute & 7)
    return int.from_bytes(found, "little")


def test_the_table_has_strings_enough() -> None:
    assert len({text.lower() for text in STRINGS}) >= 300


@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("zone", ZONES)
def test_it_is_due_in_the_minutes_in_which_debian_s_cron_starts_a_job(
    zone: str, group: int
) -> None:
    """Test 32 of the list of tasks, events and crons."""
    for text in STRINGS[group::GROUPS]:
        assert minutes(text, zone) == years(zone).starts(debian_cron.read(text)), text


# -- around changes of the clocks -----------------------------------------------------------------

CHANGES = [
    ("Europe/Berlin", "2026-03-29 01:00"),
    ("Europe/Berlin", "2026-10-25 01:00"),
    ("Europe/Dublin", "2026-10-25 01:00"),
    ("Asia/Beirut", "2026-03-28 22:00"),
    ("Asia/Beirut", "2026-10-24 21:00"),
    ("America/Havana", "2026-11-01 05:00"),
    ("Australia/Lord_Howe", "2026-04-04 15:00"),
    ("Australia/Lord_Howe", "2026-10-03 15:30"),
    ("Asia/Kathmandu", "1985-12-31 18:30"),
    ("Asia/Almaty", "2024-02-29 18:00"),
    ("Antarctica/Troll", "2026-03-29 01:00"),
    ("Antarctica/Troll", "2026-10-25 01:00"),
    # Three hours, seven hours and a day: corrections, but for three hours back.
    ("Antarctica/Casey", "2018-10-06 20:00"),
    ("Antarctica/Casey", "2020-03-07 16:00"),
    ("Antarctica/Vostok", "1994-01-31 17:00"),
    ("Antarctica/Vostok", "1994-11-01 00:00"),
    ("Pacific/Apia", "2011-12-30 10:00"),
]
BEFORE, AFTER = timedelta(hours=12), timedelta(days=3)


@functools.cache
def around(zone: str, change: str) -> debian_cron.Years:
    moment = datetime.fromisoformat(change).replace(tzinfo=UTC)
    return debian_cron.Years(ZoneInfo(zone), moment - BEFORE, moment + AFTER)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(sorted)
    step = st.one_of(st.just(""), st.integers(1, high + 5).map("/{}".format))
    part = st.one_of(
        value.map(str),
        st.tuples(pair, step).map(lambda drawn: f"{drawn[0][0]}-{drawn[0][1]}{drawn[1]}"),
        step.map("*{}".format),
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


MANY = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)
# Most random strings have no day in three days.
OFTEN = st.tuples(field(0, 59), field(0, 23)).map(" ".join).map("{} * * *".format)


def made(text: str, zone: ZoneInfo) -> CronString:
    try:
        return CronString(text, zone)
    except ValueError as error:
        if "never comes" not in str(error):
            raise
        reject()


HOUR = 3600
SECONDS = st.one_of(st.integers(0, 84 * HOUR), st.integers(8 * HOUR, 16 * HOUR))


@settings(max_examples=500, deadline=None)
@given(st.one_of(MANY, OFTEN), st.sampled_from(CHANGES), SECONDS)
def test_the_next_moment_is_the_first_in_which_debian_s_cron_starts_a_job(
    text: str, change: tuple[str, str], second: int
) -> None:
    zone, window = ZoneInfo(change[0]), around(*change)
    trigger = made(text, zone)
    origin = datetime.fromisoformat(change[1]).replace(tzinfo=UTC) - BEFORE
    start = origin + timedelta(seconds=second)
    following = trigger.get_next_fire_time(start, start)
    assert following is not None
    assert following > start
    later = window.starts(debian_cron.read(text)) >> (minute := second // 60 + 1) << minute
    if later:
        first = (later & -later).bit_length() - 1
        assert following.astimezone(UTC) == origin + first * MINUTE
    else:
        assert following > origin + BEFORE + AFTER


@settings(deadline=None)
@given(field(0, 59), MANY, st.integers(0, 10**9), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_seconds_come_within_the_minutes_of_the_other_five(
    seconds: str, text: str, moment: int, zone: str
) -> None:
    five = made(text, ZoneInfo(zone))
    start = datetime.fromtimestamp(moment, UTC)
    allowed = sorted(debian_cron.read(f"{seconds} * * * *").minutes)
    minute = start.replace(second=0)
    if five.get_next_fire_time(None, minute - MINUTE) != minute or start.second >= allowed[-1]:
        following = five.get_next_fire_time(None, minute)
        assert following is not None
        minute, allowed = following, [-1, *allowed]
    second = next(s for s in allowed if s > (start.second if allowed[0] >= 0 else -1))
    six = CronString(f"{seconds} {text}", ZoneInfo(zone))
    assert six.get_next_fire_time(start, start) == minute + timedelta(seconds=second)


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        # A whole minute of seconds moves as one.
        ("*/20 30 2 * * *", "Europe/Berlin", "2026-03-29 00:59:59", ["01:00:00", "00:30:00"]),
        ("5 0 3 * * *", "Europe/Berlin", "2026-03-29 00:59:59", ["01:00:05", "01:00:05"]),
        ("15 * 2 * * *", "Europe/Berlin", "2026-03-29 00:59:59", ["00:00:15", "00:01:15"]),
        # It counts once, or in both passes, to the second.
        ("59 59 2 * * *", "Europe/Berlin", "2026-10-25 00:59:58", ["00:59:59", "01:59:59"]),
        ("59 */59 2 * * *", "Europe/Berlin", "2026-10-25 00:59:58", ["00:59:59", "01:00:59"]),
    ],
)
def test_seconds_at_a_change_of_the_clocks(
    text: str, zone: str, after: str, expected: list[str]
) -> None:
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = moments(CronString(text, ZoneInfo(zone)), start, start + timedelta(days=3))
    assert [f"{next(found).astimezone(UTC):%H:%M:%S}" for _ in expected] == expected


def test_a_string_that_comes_once_in_28_years_is_found() -> None:
    trigger = CronString("0 0 29 2 */7", UTC)
    found = moments(trigger, START, datetime(2110, 1, 1, tzinfo=UTC))
    assert [moment.year for moment in found] == [2032, 2060, 2088]


def test_there_is_no_moment_after_the_last_year() -> None:
    trigger = CronString("0 0 1 1 *", ZoneInfo("America/New_York"))
    end = datetime(9999, 6, 1, tzinfo=UTC)
    assert trigger.get_next_fire_time(end, end) is None


def test_strings_are_the_same_by_text_and_zone() -> None:
    assert CronString("0 0 * * *", UTC) == CronString("0 0 * * *", UTC)
    assert CronString("0 0 * * *", UTC) != CronString("0 0 * * *", ZoneInfo("Asia/Kolkata"))
    assert str(CronString("@daily", ZoneInfo("Asia/Kolkata"))) == "cron @daily Asia/Kolkata"


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("0 0 * * *", True),
        ("0-59 0-23 * * *", True),
        ("1,* 0 * * *", True),
        ("*/5 0 * * *", False),
        ("0 *,1 * * *", False),
        ("@daily", True),
        ("@hourly", False),
        ("* 0 0 * * *", True),
    ],
)
def test_a_string_is_fixed_unless_minute_or_hour_begin_with_a_star(text: str, fixed: bool) -> None:
    assert CronString(text, UTC).fixed is fixed


# -- some strings for people to read ---------------------------------------------------------------

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"
LORD_HOWE = "Australia/Lord_Howe"

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
    ("0 0 29 2 *", "UTC", "2026-11-23 12:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ("59 23 31 12 *", "UTC", "2026-11-23 12:00", ["2026-12-31 23:59", "2027-12-31 23:59"]),
    # Six fields: the seconds come first
    ("30 * * * * *", "UTC", "2026-11-23 12:00", ["2026-11-23 12:00:30", "2026-11-23 12:01:30"]),
    ("*/20 0 0 * * *", "UTC", "2026-11-23 00:00", ["2026-11-23 00:00:20", "2026-11-23 00:00:40"]),
    # A step over a single value, and one after a star, which is a star for the days, too
    ("5-5/7 * * * *", "UTC", "2026-11-23 12:00", ["2026-11-23 12:05", "2026-11-23 13:05"]),
    ("0 0 */2 * 1", "UTC", "2026-11-23 12:00", ["2026-12-07 00:00", "2026-12-21 00:00"]),
    # Words
    ("@hourly", "UTC", "2026-11-23 12:00", ["2026-11-23 13:00", "2026-11-23 14:00"]),
    ("@weekly", "UTC", "2026-11-23 12:00", ["2026-11-29 00:00", "2026-12-06 00:00"]),
    ("@annually", "UTC", "2026-11-23 12:00", ["2027-01-01 00:00", "2028-01-01 00:00"]),
    # Time zones
    ("0 9 * * *", "Asia/Shanghai", "2026-11-23 01:00", ["2026-11-24 01:00", "2026-11-25 01:00"]),
    ("30 5 * * *", "Asia/Kolkata", "2026-11-23 00:00", ["2026-11-24 00:00", "2026-11-25 00:00"]),
    ("0 0 1 * *", NEW_YORK, "2026-12-01 04:59", ["2026-12-01 05:00", "2027-01-01 05:00"]),
    # Spring: 02:30 does not exist on 2026-03-08 in New York; it runs at 03:00 (07:00 UTC)
    ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
    ("0 2 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:00"]),
    ("30 3 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:30", "2026-03-09 07:30"]),
    ("30 2 29 3 *", BERLIN, "2026-03-01 00:00", ["2026-03-29 01:00", "2027-03-29 00:30"]),
    # Midnight does not exist on 2026-09-06 in Santiago, 02:15 on 2026-10-04 on Lord Howe
    ("@daily", "America/Santiago", "2026-09-05 12:00", ["2026-09-06 04:00", "2026-09-07 03:00"]),
    ("15 2 * * *", LORD_HOWE, "2026-10-03 12:00", ["2026-10-03 15:30", "2026-10-04 15:15"]),
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
    """Tasks, case 32."""
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
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    late = noon + timedelta(milliseconds=3)
    assert trigger.get_next_fire_time(noon, late) == noon + timedelta(seconds=1)
    assert trigger.get_next_fire_time(None, late) == noon + timedelta(seconds=1)


# -- bad strings ----------------------------------------------------------------------------------

WORDS = "@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly"
BAD = [
    ("", "it has 0 fields, not 5, or 6 with the seconds first."),
    ("* * * *", "it has 4 fields, not 5, or 6 with the seconds first."),
    ("* * * * * * *", "it has 7 fields, not 5, or 6 with the seconds first."),
    ("@reboot", "a start is not a time; immediate=True runs a cron at every start too."),
    ("@Daily", f"the words with @ are {WORDS}."),
    ("@every 5m", f"the words with @ are {WORDS}."),
    ("60 * * * *", '"60" is not a minute (0 to 59).'),
    ("-1 * * * *", '"-1" is not a minute (0 to 59).'),
    ("1.5 * * * *", '"1.5" is not a minute (0 to 59).'),
    ("٣ * * * *", '"٣" is not a minute (0 to 59).'),
    ("60 * * * * *", '"60" is not a second (0 to 59).'),
    ("0 24 * * *", '"24" is not an hour (0 to 23).'),
    ("0 ? * * *", '"?" is not an hour (0 to 23).'),
    ("0 0 0 * *", '"0" is not a day of the month (1 to 31); triggers of APScheduler know more.'),
    ("0 0 L * *", '"L" is not a day of the month (1 to 31); triggers of APScheduler know more.'),
    ("0 0 * 13 *", '"13" is not a month (1 to 12 or jan to dec).'),
    ("0 0 * march *", '"march" is not a month (1 to 12 or jan to dec).'),
    (
        "0 0 * * 8",
        '"8" is not a day of the week (0 to 7 or sun to sat); triggers of APScheduler know more.',
    ),
    (
        "0 0 * * fri#2",
        '"fri#2" is not a day of the week (0 to 7 or sun to sat); '
        "triggers of APScheduler know more.",
    ),
    ("1,,2 * * * *", '"" is not a minute (0 to 59).'),
    ("1,2- * * * *", '"2-" is not a minute (0 to 59).'),
    ("*-5 * * * *", '"*-5" is not a minute (0 to 59).'),
    ("** * * * *", '"**" is not a minute (0 to 59).'),
    ("*/5/2 * * * *", '"*/5/2" is not a minute (0 to 59).'),
    ("*/-5 * * * *", '"*/-5" is not a minute (0 to 59).'),
    ("5-64/30 * * * *", '"64" is not a minute (0 to 59).'),
    ("*/0 * * * *", 'the step of "*/0" is 0; the smallest is 1.'),
    ("5/15 * * * *", '"5/15" has a step without a range; write 5-59/15.'),
    ("0 0 * * mon/2", '"mon/2" has a step without a range; write mon-6/2.'),
    ("0 22-2 * * *", '"22-2" runs backwards; write 22-23,0-2.'),
    ("0 0 * nov-feb *", '"nov-feb" runs backwards; write 11-12,1-2.'),
    ("0 0 * * fri-sun", '"fri-sun" runs backwards; write 5-7.'),
    ("0 0 * * 7-mon", '"7-mon" runs backwards; write 0-1.'),
    ("0 0 * * 6-2/2", '"6-2/2" runs backwards; write 6-6,0-2.'),
]


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_what_is_not_a_cron_string_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="is not a cron string") as caught:
        CronString(text, UTC)
    assert str(caught.value) == f'"{text}" is not a cron string: {sentence}'


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30-31 feb */2"])
def test_an_impossible_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="never comes") as caught:
        CronString(text, UTC)
    assert str(caught.value) == f'"{text}" never comes: none of its months has such a day.'


def test_what_a_zone_always_skips_is_refused() -> None:
    text, zone = "*/30 2 8-14 3 */7", ZoneInfo("America/New_York")
    assert not years(zone.key).starts(debian_cron.read(text))
    with pytest.raises(ValueError, match="never comes") as caught:
        CronString(text, zone)
    assert str(caught.value) == (
        f'"{text}" never comes: the clocks of America/New_York always skip that time.'
    )
    assert CronString(text, UTC)
