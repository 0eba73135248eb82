"""The fields of a cron string, read as Debian's cron 3.0pl1 reads them (its entry.c)."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART = re.compile(
    r"(?:\*|(?P<first>[0-9A-Za-z]+)(?:-(?P<last>[0-9A-Za-z]+))?)(?:/(?P<step>[0-9]+))?"
)
_EVERY_WEEK = sum(1 << 7 * week for week in range(6))
# The calendar repeats itself after 400 years, weekdays included.
CYCLE = 400
_LAST_YEAR = 9999


@dataclass(frozen=True)
class _Scale:
    """What a field counts: its name, its lowest and highest value, the names of its values."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def highest(self) -> int:
        """The highest value that is not another name of the lowest: 6 for the weekdays."""
        return self.high - (self is _WEEKDAY)

    def value(self, text: str) -> int:
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        # int() alone would also read the digits of other scripts.
        if text.isascii() and text.isdigit() and self.low <= int(text) <= self.high:
            return int(text)
        raise ValueError(self.refusal(text))

    def refusal(self, text: str) -> str:
        names = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        more = "; triggers of APScheduler know more" if self in (_DAY, _WEEKDAY) else ""
        return f'"{text}" is not {self.name} ({self.low} to {self.high}{names}){more}.'

    def wrapped(self, low: int, high: int) -> str:
        """Return how to write a range from `low` over the end to `high`."""
        if self is _WEEKDAY and low == 7:
            return f"0-{high}"
        if self is _WEEKDAY and high == 0:
            return f"{low}-7"
        return f"{low}-{self.highest},{self.low}-{high}"


_SECOND = _Scale("a second", 0, 59)
_MINUTE = _Scale("a minute", 0, 59)
_HOUR = _Scale("an hour", 0, 23)
_DAY = _Scale("a day of the month", 1, 31)
_MONTH = _Scale("a month", 1, 12, _MONTHS)
_WEEKDAY = _Scale("a day of the week", 0, 7, _WEEKDAYS)


@dataclass(frozen=True)
class CronFields:
    """The times that a cron string matches. A mask has a bit for each value that its field allows.

    `wildcard`: the minute or the hour begins with a star. `either`: neither of the two days does,
    so that one of them is enough.
    """

    seconds: int
    minutes: int
    hours: int
    days: int
    months: int
    weekdays: int
    wildcard: bool
    either: bool

    def after(self, wall: datetime) -> datetime | None:
        """Return the first matching time after a naive one in whole seconds; None if there is none.

        It looks at whole months, so that a string that comes once in 28 years costs microseconds.
        """
        year, month, day = wall.year, wall.month, wall.day
        if self._days_of(year, month) >> day & 1:
            time = self._time_after(wall.hour, wall.minute, wall.second)
            if time is not None:
                return datetime(year, month, day, *time)
        last = min(year + CYCLE, _LAST_YEAR)
        while year <= last:
            day = _next(self._days_of(year, month), day)
            if day > 0:
                hour, minute = _next(self.hours, -1), _next(self.minutes, -1)
                return datetime(year, month, day, hour, minute, _next(self.seconds, -1))
            month, day = _next(self.months, month), 0
            if month < 0:
                year, month = year + 1, _next(self.months, 0)
        return None

    def _days_of(self, year: int, month: int) -> int:
        if not self.months >> month & 1:
            return 0
        monday_based, length = monthrange(year, month)
        by_weekday = self.weekdays * _EVERY_WEEK >> monday_based + 1 << 1
        days = self.days | by_weekday if self.either else self.days & by_weekday
        return days & (2 << length) - 2

    def _time_after(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                following = _next(self.seconds, second)
                if following >= 0:
                    return hour, minute, following
            following = _next(self.minutes, minute)
            if following >= 0:
                return hour, following, _next(self.seconds, -1)
        following = _next(self.hours, hour)
        if following < 0:
            return None
        return following, _next(self.minutes, -1), _next(self.seconds, -1)


def _next(mask: int, value: int) -> int:
    """Return the lowest bit above `value`, -1 if there is none."""
    above = mask >> value + 1
    return value + (above & -above).bit_length() if above else -1


def read(text: str) -> CronFields:
    """Read a cron string. Raises ValueError with a sentence if it is none.

    Refused is also what Debian's cron accepts and never runs (a range that runs backwards), or
    runs in another way than it reads (it ignores the end of `5#3`).
    """
    try:
        return _fields(_SHORTHANDS.get(text, text))
    except ValueError as error:
        raise ValueError(f'"{text}" is not a cron string: {error}') from None


def _fields(text: str) -> CronFields:
    if text == "@reboot":
        raise ValueError("a start is not a time; immediate=True runs a cron at every start too.")
    if text.startswith("@"):
        raise ValueError(f"the words with @ are {', '.join(_SHORTHANDS)}.")
    fields = text.split()
    if len(fields) not in (5, 6):
        raise ValueError(f"it has {len(fields)} fields, not 5, or 6 with the seconds first.")
    second, minute, hour, day, month, weekday = ["0", *fields][-6:]
    weekdays = _mask(weekday, _WEEKDAY)
    return CronFields(
        seconds=_mask(second, _SECOND),
        minutes=_mask(minute, _MINUTE),
        hours=_mask(hour, _HOUR),
        days=_mask(day, _DAY),
        months=_mask(month, _MONTH),
        # Sunday is 0 and 7.
        weekdays=weekdays & 0x7F | weekdays >> 7,
        wildcard=minute[0] == "*" or hour[0] == "*",
        either=day[0] != "*" and weekday[0] != "*",
    )


def _mask(text: str, scale: _Scale) -> int:
    mask = 0
    for part in text.split(","):
        for value in _values(part, scale):
            mask |= 1 << value
    return mask


def _values(part: str, scale: _Scale) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(scale.refusal(part))
    first, last, step = match["first"], match["last"], int(match["step"] or 1)
    if step == 0:
        raise ValueError(f'the step of "{part}" is 0; the smallest is 1.')
    if first is None:
        return range(scale.low, scale.high + 1, step)
    low = scale.value(first)
    if last is None:
        if match["step"]:
            remedy = f"{first}-{scale.highest}/{step}"
            raise ValueError(f'"{part}" has a step without a range; write {remedy}.')
        return range(low, low + 1)
    high = scale.value(last)
    if low > high:
        raise ValueError(f'"{part}" runs backwards; write {scale.wrapped(low, high)}.')
    return range(low, high + 1, step)
