"""When a cron is due: pure decisions about moments; `now` is passed in.

A moment is a number of seconds on one of two clocks. Intervals live on the monotonic one, which no
one sets, so that a step of the wall clock neither stalls them nor makes them rush; on one machine
it is the same for all processes, so a successor can keep the phase. Cron strings and triggers live
on the wall clock (Unix time). In the journal all moments are Unix times.

    start, resume ──► Timing(due) ──look──► not yet: the same Timing
                         ▲  ▲               due:     a Due, and the Timing of the next moment
                         │  └──rebase── the wall clock was set back
                         └──skip── it was stopped for a while
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Literal, NamedTuple

from skep.api.cron import CronTerms, Overlap, Trigger
from skep.api.cron_string import CORRECTION, CronString
from skep.table.journal import CronState

JUMP = 0.5
_ENOUGH = 1000
_RECENT = 60.0
_SAME_MINUTE = 60.0
# A jump is noticed after this many seconds, in which a cron may have become due by the new time.
_NOTICED = 1.5


@dataclass(frozen=True)
class Interval:
    """Every so many seconds, in step with the first; on the monotonic clock."""

    seconds: float
    wall: bool = False
    zone: tzinfo = UTC

    def first(self, now: float) -> float:
        """Return the first moment of a cron that starts now."""
        return now + self.seconds

    def after(self, moment: float) -> float:
        """Return the moment that follows one."""
        return moment + self.seconds

    def latest(self, due: float, now: float) -> tuple[float, int]:
        """Return the last moment not after `now`, and how many from `due` on come before it.

        Computed, not enumerated: a loop that hung for a day costs nothing.
        """
        missed = int((now - due) // self.seconds)
        return due + missed * self.seconds, missed


@dataclass(frozen=True)
class Calendar:
    """The moments of a trigger, on the wall clock."""

    trigger: Trigger
    zone: tzinfo = UTC
    wall: bool = True

    def first(self, now: float) -> float | None:
        return self._ask(None, now)

    def after(self, moment: float) -> float | None:
        following = self._ask(moment, moment)
        if following is not None and following <= moment:
            raise ValueError(f"The trigger {self.trigger} does not come after itself.")
        return following

    def latest(self, due: float, now: float) -> tuple[float, int]:
        """Like `Interval.latest`, but enumerated, up to a thousand: the clock may jump by years.

        Of more, the last one within a minute is found, so that its lateness is right.
        """
        for missed in range(_ENOUGH):
            following = self.after(due)
            if following is None or following > now:
                return due, missed
            due = following
        moment = self.first(now - _RECENT)
        for _ in range(_ENOUGH):
            if moment is None or moment > now:
                break
            due, moment = moment, self.after(moment)
        return due, _ENOUGH

    def _ask(self, previous: float | None, now: float) -> float | None:
        before = None if previous is None else datetime.fromtimestamp(previous, self.zone)
        found = self.trigger.get_next_fire_time(before, datetime.fromtimestamp(now, self.zone))
        return None if found is None else found.timestamp()


Timeline = Interval | Calendar


class Instant(NamedTuple):
    """One instant on both clocks; the monotonic one counts since the `boot` of the machine."""

    wall: float
    monotonic: float
    boot: str = ""

    def on(self, line: Timeline) -> float:
        """Return it on the clock of a timeline."""
        return self.wall if line.wall else self.monotonic

    def unix(self, line: Timeline, moment: float) -> float:
        """Return a moment of a timeline as a Unix time."""
        return moment if line.wall else self.wall + moment - self.monotonic


@dataclass(frozen=True)
class Timing:
    """When a cron is due next (None: never again), and when it last was."""

    due: float | None
    last: float | None = None


@dataclass(frozen=True)
class Due:
    """A moment that has come, after `missed` others. If it is `too_late`, it gets no run."""

    at: float
    missed: int = 0
    too_late: bool = False


def timeline(terms: CronTerms) -> Timeline:
    """Return the timeline of a cron with these terms."""
    if terms.trigger is None:
        return Interval(terms.every or 0.0)
    return Calendar(terms.trigger, getattr(terms.trigger, "zone", UTC))


def start(line: Timeline, now: float, immediate: bool) -> Timing:
    """Return the timing of a cron that starts now."""
    return Timing(now if immediate else line.first(now))


def identity(terms: CronTerms) -> str:
    """Return what says when a cron is due; where a process has its trigger in memory does not."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(terms))


def resume(line: Timeline, state: CronState, terms: CronTerms, now: Instant) -> Timing | None:
    """Return the timing of a cron that goes on where another process left it; None if it was due by
    other terms.

    Its next moment may be over: `look` decides what becomes of it.
    """
    if state.terms != identity(terms):
        return None
    if isinstance(line, Calendar) or state.due is None:
        timing = Timing(state.due, state.last)
        return rebase(line, timing, now.wall, min(0.0, jumped(state.wall, now.wall)))
    left = state.due - now.wall
    if state.boot == now.boot:  # whatever was done to the wall clock
        left = state.due - state.wall + state.monotonic - now.monotonic
    return Timing(now.monotonic + min(left, line.seconds))


def skip(line: Timeline, timing: Timing, now: float) -> Timing:
    """Return the timing of a cron that goes on after it was stopped: it is due as if it had not
    been, and what came in between does not count as missed."""
    if timing.due is None or timing.due > now:
        return timing
    if line.wall:
        return replace(timing, due=line.first(now))
    at, _ = line.latest(timing.due, now)
    return replace(timing, due=line.after(at))


def look(line: Timeline, timing: Timing, now: float, terms: CronTerms) -> tuple[Timing, Due | None]:
    """Return what is due now, if anything, and what will be.

    Moments missed together make one run, the latest's. Raises what the trigger raises.
    """
    if timing.due is None or now < timing.due:
        return timing, None
    at, missed = line.latest(timing.due, now)
    too_late = now - at > terms.grace and terms.misfire == "skip"
    following = line.first(now) if missed == _ENOUGH and line.wall else line.after(at)
    return Timing(following, last=at), Due(at, missed, too_late)


def jumped(before: float, now: float) -> float:
    """Return by how much the wall clock was set (seconds, forward is positive), 0 if it was not.

    Both are the wall clock minus the monotonic one, or both the wall clock itself: then only a
    jump back can be seen. Less than half a second is the slow slewing of
    a time service.
    """
    return now - before if abs(now - before) > JUMP else 0.0


def rebase(line: Timeline, timing: Timing, now: float, jump: float) -> Timing:
    """Return the timing after the wall clock jumped; `now` is the new time.

    After a jump back, a cron would wait until the clock has caught up, so its next moment is
    computed again; after a small one, the minute that ran already must not run again. A jump
    forward needs nothing: what is due by now is due.

    A cron string at fixed times is treated as Debian's cron treats it: what ran in the hours that
    come again does not run again, and what was due in those that were skipped is due now. So is a
    trigger whose moments are further apart than the jump.
    """
    if not isinstance(line, Calendar) or timing.due is None:
        return timing
    if abs(jump) < CORRECTION.total_seconds() and _is_fixed(line.trigger, timing, jump):
        skipped = now - jump < timing.due < now - _NOTICED
        return replace(timing, due=now) if skipped else timing
    if jump >= 0:
        return timing
    if timing.last is not None and now <= timing.last < now + _SAME_MINUTE:
        return replace(timing, due=line.after(timing.last))
    return replace(timing, due=line.first(now))


def _is_fixed(trigger: Trigger, timing: Timing, jump: float) -> bool:
    if isinstance(trigger, CronString):
        return trigger.fixed
    if timing.due is None or timing.last is None:
        return False
    return timing.due - timing.last > abs(jump)


def overlapping(overlap: Overlap, running: bool) -> Literal["run", "wait", "skip"]:
    """Return what becomes of a due moment while the cron runs, or does not."""
    if not running or overlap == "allow":
        return "run"
    return "wait" if overlap == "queue" else "skip"
