"""How many crashes of one group are bearable, and how long its slots wait when there are more.

    WITHIN ──more than `intensity` failures within `period`──► SPENT ──calm for `memory`──► WITHIN
       ▲                                                          │
       └───────────── a worker that served has ended ─────────────┘

A failure is a worker that did not come up, or ended at once. Each slot waits by itself after its
own failures (`slots.py`); that would let many slots of one kind fail at a rate that is the sum of
all. So, as long as the budget of the group is spent, each failure of any of them lengthens the wait
of all. A group is a kind of worker, or one class of custom processes. A worker that served is
replaced at once, however often that happens. Rule: every decision is in here. Times are seconds of
one monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from skep.base.backoff import Backoff
from skep.supervisor.processes.slot import Slot, SlotState

INTENSITY = 5
PERIOD = 30.0
_MEMORY = 60.0
_PAUSE = Backoff(first=0.5, factor=2.0, cap=30.0, jitter=0.1)
# Without a worker of these groups the platform is of no use, so one slot of each is always tried:
# the seconds from one start to the next. A platform slot starts an interpreter, a web worker does
# not.
_NEVER_EMPTY = {"web": 0.5, "store": 0.8, "agent": 0.8, "configserver": 0.8}


@dataclass(frozen=True)
class Budget:
    """The unexpected exits of one group: `recent` are the times of the failures within the period,
    `served` those of the exits of workers that had served; `streak` is how many failures there were
    without a calm, `latest` when the last exit was; `spent` is since when there were too many,
    `until` until when the slots of the group wait. `boots` counts the workers that never came up;
    `last` is how the last one ended."""

    recent: tuple[float, ...] = ()
    served: tuple[float, ...] = ()
    latest: float = 0.0
    streak: int = 0
    boots: int = 0
    spent: float | None = None
    until: float = 0.0
    last: str = ""


def exited(
    budget: Budget, now: float, how: str, *, booted: bool, served: bool, takes: float = 0.0
) -> Budget:
    """Return the budget after an unexpected exit of a worker of this group, which has served after
    so many seconds as it `takes`: failures are that far apart at most."""
    budget = calmed(budget, now)
    if served:  # the group does come up
        return Budget(served=(*_within(budget.served, now), now), latest=now, last=how)
    recent = (*_within(budget.recent, now, PERIOD + INTENSITY * takes), now)
    streak, boots = budget.streak + 1, budget.boots + (not booted)
    spent = budget.spent
    if spent is None and len(recent) > INTENSITY:
        spent = now
    until = budget.until if spent is None else now + _PAUSE.delay(streak - 1)
    return replace(
        budget,
        recent=recent,
        latest=now,
        streak=streak,
        boots=boots,
        spent=spent,
        until=until,
        last=how,
    )


def calmed(budget: Budget, now: float) -> Budget:
    """Forget what is long ago."""
    return budget if now - max(budget.latest, budget.until) < _MEMORY else Budget()


def first_again(slots: Mapping[str, Slot], group: str) -> tuple[str, float] | None:
    """Return the slot of a group that is to be filled although its wait is not over, and when.

    That is so when all slots of a group that must not be empty are. One of them is enough.
    """
    ours = [slot for slot in slots.values() if slot.group == group and not slot.leaving]
    spacing = _NEVER_EMPTY.get(group)
    if spacing is None or not ours or any(slot.state is not SlotState.BACKOFF for slot in ours):
        return None
    first = min(ours, key=lambda slot: slot.deadline or 0.0)
    return first.name, max(slot.began for slot in ours) + spacing


def sentence(group: str, budget: Budget, slots: Mapping[str, Slot], now: float) -> str:
    """Say how it stands with a group that crashes too often; empty if it does not."""
    if budget.spent is not None:
        boots = f", {budget.boots} of them before they were up" if budget.boots else ""
        ours = [slot for slot in slots.values() if slot.group == group]
        waits = [
            s.deadline - now if s.state is SlotState.BACKOFF and s.deadline else 0 for s in ours
        ]
        wait = max(0.0, min(waits, default=0.0))
        again = f"next try in {wait:.0f} s" if wait else "trying again"
        return (
            f"{group} in backoff: {budget.streak} exits{boots}, the last one {budget.last}; {again}"
        )
    count = len(_within(budget.served, now))
    if count <= INTENSITY:
        return ""
    return (
        f"{group} workers keep crashing: {count} within {PERIOD:.0f} s, the last one "
        f"{budget.last}; "
        "each is replaced at once"
    )


def _within(times: tuple[float, ...], now: float, period: float = PERIOD) -> tuple[float, ...]:
    return tuple(t for t in times if now - t < period)
