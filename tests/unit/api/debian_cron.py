"""Debian's cron 3.0pl1-162 in Python: how it reads a line and which jobs it starts in which minute.

Written from its man pages and the behaviour of its entry.c and cron.c, and from nothing in
`platform/`. A day is a mask of 1440 bits, so that two years of a job are one large number.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

DAY = 24 * 60
_EPOCH = date(1970, 1, 1)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
class Job:
    """A line of a crontab: what its fields allow, and which of them begin with a star."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    stars: tuple[bool, ...]

    @property
    def wild(self) -> bool:
        return self.stars[0] or self.stars[1]

    def runs_on(self, day: date) -> bool:
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.stars[2] or self.stars[4]:
            return day.month in self.months and by_day and by_weekday
        return day.month in self.months and (by_day or by_weekday)

    def minutes_of_a_day(self) -> int:
        return sum(1 << 60 * hour + minute for hour in self.hours for minute in self.minutes)

    def local_minutes(self, first: date, days: int) -> int:
        """Return a mask of the minutes of so many days at which the job matches the clock."""
        some = self.minutes_of_a_day().to_bytes(DAY // 8, "little")
        none = bytes(DAY // 8)
        line = (first + timedelta(days=n) for n in range(days))
        return int.from_bytes(b"".join(some if self.runs_on(d) else none for d in line), "little")


def read(text: str) -> Job:
    """Read the five fields of a line that Debian's cron accepts."""
    fields = _WORDS.get(text, text).split()
    minutes, hours, days, months, weekdays = (
        frozenset(itertools.chain.from_iterable(_part(part, *bounds) for part in text.split(",")))
        for text, bounds in zip(
            fields,
            [(0, 59, []), (0, 23, []), (1, 31, []), (1, 12, _MONTHS), (0, 7, _DAYS)],
            strict=True,
        )
    )
    if weekdays & {0, 7}:
        weekdays |= {0, 7}
    return Job(minutes, hours, days, months, weekdays, tuple(f.startswith("*") for f in fields))


def _part(part: str, low: int, high: int, names: list[str]) -> Iterator[int]:
    range_, _, step = part.partition("/")
    if range_ != "*":
        first, _, last = range_.partition("-")
        low, high = (
            low + names.index(v.lower()) if v.lower() in names else int(v)
            for v in (first, last or first)
        )
    yield from range(low, high + 1, int(step or 1))


@dataclass
class Stretch:
    """Minutes in a row that the daemon looks at: of the clock on the wall, and when it does so."""

    wild: bool
    fixed: bool
    clock: int
    real: int
    length: int = 1


def walk(zone: tzinfo, start: int, end: int) -> list[Stretch]:
    """Wake up in every minute (Unix time / 60) after `start` up to `end`, as the daemon does.

    Its virtual time is the minute of the clock on the wall up to which all jobs have run.
    """
    done: list[Stretch] = []

    def find_jobs(clock: int, *, wild: bool, fixed: bool) -> None:
        last = done[-1] if done else None
        if last and (last.wild, last.fixed) == (wild, fixed):
            ahead = (clock - last.clock, now - last.real)
            if ahead == (last.length, last.length):
                last.length += 1
                return
        done.append(Stretch(wild, fixed, clock, now))

    offset = _offset(zone, start)
    virtual = start + offset
    for now in range(start + 1, end + 1):
        # The clocks of the zones that are used here change at a quarter of an hour.
        if now % 15 == 0:
            offset = _offset(zone, now)
        running = now + offset
        ahead = running - virtual
        if ahead == 1:
            virtual = running
            find_jobs(running, wild=True, fixed=True)
        elif 1 < ahead <= 5:
            for missed in range(virtual + 1, running + 1):
                find_jobs(missed, wild=True, fixed=True)
            virtual = running
        elif 5 < ahead <= 180:
            find_jobs(running, wild=True, fixed=False)
            for missed in range(virtual + 1, running + 1):
                find_jobs(missed, wild=False, fixed=True)
            virtual = running
        elif -180 < ahead <= 0:
            find_jobs(running, wild=True, fixed=False)
        else:
            virtual = running
            find_jobs(running, wild=True, fixed=True)
    return done


def _offset(zone: tzinfo, minute: int) -> int:
    offset = datetime.fromtimestamp(60 * minute, zone).utcoffset() or timedelta()
    return offset // timedelta(minutes=1)


class Years:
    """The jobs that the daemon starts in a zone from one minute to another."""

    def __init__(self, zone: tzinfo, start: datetime, end: datetime) -> None:
        self.start, self.end = _minute(start), _minute(end)
        # The daemon has been up for a while, so that it knows of a change just before the start.
        self._stretches = walk(zone, self.start - 2 * DAY, self.end)
        self._first = _EPOCH + timedelta(days=self.start // DAY - 5)
        self._days = (self.end - self.start) // DAY + 10

    def starts(self, job: Job) -> int:
        """Return a mask of the minutes after the start in which the job is started."""
        line = job.local_minutes(self._first, self._days)
        lines = line.to_bytes(self._days * DAY // 8, "little")
        origin, before = (self._first - _EPOCH).days * DAY, 2 * DAY
        found = 0
        for stretch in self._stretches:
            if not (stretch.wild if job.wild else stretch.fixed):
                continue
            clock, real = stretch.clock - origin, stretch.real - self.start + before
            if stretch.length == 1:
                found |= (lines[clock >> 3] >> (clock & 7) & 1) << real
            else:
                found |= (line >> clock & (1 << stretch.length) - 1) << real
        return found >> before + 1 << 1


def _minute(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) // 60
