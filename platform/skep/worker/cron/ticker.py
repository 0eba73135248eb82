"""When a cron is due: pure decisions about moments; `now` is passed in.

A moment is a number of seconds on one of two clocks. Intervals live on the monotonic one, which no
one sets, so that a step of the wall clock neither stalls them nor makes them rush; on one machine
it is the same for all processes, so a successor can keep the phase. Cron strings and triggers live
on the wall clock (Unix time).

    resume ──► Timing(due) ──look──► not yet: the same Timing
                  ▲                  due:     a Due, and the Timing of the next moment
                  └──rebase── the wall clock was set back
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Literal

from skep.api.cron import CronTerms, Overlap, Trigger

JUMP = 0.5
_ENOUGH = 100
_SAME_MINUTE = 60.0


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
    """Whatever a trigger says; on the wall clock."""

    trigger: Trigger
    zone: tzinfo = UTC
    wall: bool = True

    def first(self, now: float) -> float | None:
        """Return the first moment of a cron that starts now."""
        return self._ask(None, now)

    def after(self, moment: float) -> float | None:
        """Return the moment that follows one. Raises ValueError if it does not."""
        following = self._ask(moment, moment)
        if following is not None and following <= moment:
            raise ValueError(f"The trigger {self.trigger} does not come after itself.")
        return following

    def latest(self, due: float, now: float) -> tuple[float, int]:
        """Return the last moment not after `now`, and how many from `due` on come before it.

        Enumerated, but never more than a hundred: the clock may have jumped by years.
        """
        for missed in range(_ENOUGH):
            following = self.after(due)
            if following is None or following > now:
                return due, missed
            due = following
        return due, _ENOUGH

    def _ask(self, previous: float | None, now: float) -> float | None:
        before = None if previous is None else datetime.fromtimestamp(previous, self.zone)
        found = self.trigger.get_next_fire_time(before, datetime.fromtimestamp(now, self.zone))
        return None if found is None else found.timestamp()


Timeline = Interval | Calendar


@dataclass(frozen=True)
class Timing:
    """When a cron is due next (None: never again), and when it last was."""

    due: float | None
    last: float | None = None


@dataclass(frozen=True)
class Due:
    """A moment that has come. `missed` others went by before it; if it is `too_late` itself, the
    grace is over and it is not made up for."""

    at: float
    missed: int = 0
    too_late: bool = False


def timeline(terms: CronTerms) -> Timeline:
    """Return what tells the moments of a cron with these terms."""
    if terms.trigger is None:
        return Interval(terms.every or 0.0)
    return Calendar(terms.trigger, getattr(terms.trigger, "zone", UTC))


def start(line: Timeline, now: float, immediate: bool) -> Timing:
    """Return the timing of a cron that starts now."""
    return Timing(now if immediate else line.first(now))


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

    Both are the wall clock minus the monotonic one. Less than half a second is the slow slewing of
    a time service.
    """
    return now - before if abs(now - before) > JUMP else 0.0


def rebase(line: Timeline, timing: Timing, now: float, jump: float) -> Timing:
    """Return the timing after the wall clock jumped; `now` is the new time.

    Set back, a cron would wait until the clock has caught up: it is reckoned anew. If the clock was
    set back by little, the minute that ran already must not run again. Set forward, nothing is to
    be done: what is due by now is due.
    """
    if not line.wall or jump > 0 or timing.due is None:
        return timing
    if timing.last is not None and now <= timing.last < now + _SAME_MINUTE:
        return replace(timing, due=line.after(timing.last))
    return replace(timing, due=line.first(now))


def overlapping(overlap: Overlap, running: bool) -> Literal["run", "wait", "skip"]:
    """Return what becomes of a due moment while the cron runs, or does not."""
    if not running or overlap == "allow":
        return "run"
    return "wait" if overlap == "queue" else "skip"
