"""The moments of a cron string in a time zone, as Debian's cron keeps them when clocks change."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from skep.api.cron_fields import CYCLE, CronFields, read

# A larger change is a correction: Debian's cron then goes by the new time and nothing else.
CORRECTION = timedelta(hours=3)
_NONE, _SECOND = timedelta(), timedelta(seconds=1)


@dataclass(frozen=True)
class CronString:
    """A trigger made of a cron string and a time zone, with the meaning it has in Debian's cron.

    When the clocks of the zone change by less than three hours, a string at fixed times, whose
    minute and hour do not begin with a star, comes as often as on other days: what falls in the
    skipped time is due at its end, once, and the repeated time counts once. Any other string
    follows the clock on the wall.

    Raises ValueError with a sentence if the text is not a cron string or never comes.
    """

    text: str
    zone: tzinfo
    fields: CronFields = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", read(self.text))
        if self.fields.after(datetime(2000, 1, 1)) is None:
            raise ValueError(f'"{self.text}" never comes: none of its months has such a day.')
        if self.get_next_fire_time(None, datetime.now(UTC)) is None:
            raise ValueError(
                f'"{self.text}" never comes: the clocks of {self.zone} always skip that time.'
            )

    def __str__(self) -> str:
        return f"cron {self.text} {self.zone}"

    @property
    def fixed(self) -> bool:
        """Whether it names its times: neither its minute nor its hour begins with a star."""
        return not self.fields.wildcard

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the first moment after `previous_fire_time`, or after `now` if it never fired.

        The answer is in the zone of the cron; None after the year 9999.
        """
        start = (previous_fire_time or now).astimezone(self.zone)
        try:
            return self._after(start)
        except OverflowError:
            return None

    def _after(self, start: datetime) -> datetime | None:
        wall = _at(start, None)
        before, after = self._offsets(wall)
        if before <= after:
            return self._later(wall)
        end = self._change(wall, before, after) + before
        once = self.fixed and before - after <= CORRECTION
        passes = [] if once and start.fold else [(wall, start.fold)]
        if not once and not start.fold:
            passes.append((end - (before - after) - _SECOND, 1))
        for since, fold in passes:
            found = self.fields.after(since)
            if found is not None and found < end:
                return _at(found, self.zone, fold)
        return self._later(end - _SECOND)

    def _later(self, wall: datetime) -> datetime | None:
        """Return the first moment after a time that is not in repeated time."""
        found = self.fields.after(wall)
        last = wall.year + CYCLE
        while found is not None and found.year <= last:
            before, after = self._offsets(found)
            if before >= after:
                return _at(found, self.zone)
            end = self._change(found, before, after) + after
            if self.fixed and after - before < CORRECTION:
                return _at(end, self.zone)
            found = self.fields.after(end - _SECOND)
        return None

    def _offsets(self, wall: datetime) -> tuple[timedelta, timedelta]:
        """Return the offset before and after the change of the clocks in which a time falls.

        They are the same outside of changes; the first is larger in repeated time, smaller in
        skipped time.
        """
        offset = self.zone.utcoffset
        return offset(wall) or _NONE, offset(_at(wall, None, fold=1)) or _NONE

    def _change(self, wall: datetime, before: timedelta, after: timedelta) -> datetime:
        """Return the first second (UTC, naive) of the new offset, for a time within a change."""
        low = wall - max(before, after)

        def is_new(seconds: int) -> bool:
            moment = (low + timedelta(seconds=seconds)).replace(tzinfo=UTC)
            return moment.astimezone(self.zone).utcoffset() == after

        span = int(abs(before - after).total_seconds())
        return low + timedelta(seconds=bisect_left(range(span + 1), True, key=is_new))


def _at(wall: datetime, zone: tzinfo | None, fold: int = 0) -> datetime:
    # Three times as fast as replace().
    return datetime(
        wall.year,
        wall.month,
        wall.day,
        wall.hour,
        wall.minute,
        wall.second,
        tzinfo=zone,
        fold=fold,
    )
