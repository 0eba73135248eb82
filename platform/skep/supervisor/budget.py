"""How many crashes of one kind are bearable, and how long its slots wait when there are more.

    WITHIN ──more than `intensity` exits within `period`──► SPENT ──calm for `memory`──► WITHIN

Each slot waits by itself after its own crashes (`slots.py`); that would let many slots of one kind
crash at a rate that is the sum of all. So, as long as the budget of the kind is spent, each crash
of any of them lengthens the wait of all. Rule: every decision is in here. Times are seconds of one
monotonic clock.
"""

from dataclasses import dataclass

from skep.base.backoff import Backoff

INTENSITY = 5
PERIOD = 30.0
_MEMORY = 60.0
_PAUSE = Backoff(first=0.5, factor=2.0, cap=30.0, jitter=0.1)


@dataclass(frozen=True)
class Budget:
    """The crashes of one kind: `recent` are their times within the period, `streak` is how many
    there were without a calm, `latest` when the last one was; `spent` says since when there were
    too many, `until` until when no slot of the kind is filled. `boots` counts those that never came
    up; `last` is how the last one ended."""

    recent: tuple[float, ...] = ()
    latest: float = 0.0
    streak: int = 0
    boots: int = 0
    spent: float | None = None
    until: float = 0.0
    last: str = ""


def exited(budget: Budget, now: float, how: str, *, booted: bool) -> Budget:
    """A worker of this kind has ended, and nobody asked for it."""
    budget = calmed(budget, now)
    recent = (*(t for t in budget.recent if now - t < PERIOD), now)
    streak, boots = budget.streak + 1, budget.boots + (not booted)
    spent = budget.spent
    if spent is None and len(recent) > INTENSITY:
        spent = now
    until = budget.until if spent is None else now + _PAUSE.delay(streak - 1)
    return Budget(recent, now, streak, boots, spent, until, how)


def calmed(budget: Budget, now: float) -> Budget:
    """Forget what is long ago."""
    return budget if now - max(budget.latest, budget.until) < _MEMORY else Budget()


def sentence(kind: str, budget: Budget, now: float) -> str:
    """Say how it stands with a kind whose budget is spent; empty if it is not."""
    if budget.spent is None:
        return ""
    boots = f", {budget.boots} of them before they were up" if budget.boots else ""
    wait = max(0.0, budget.until - now)
    again = f"next try in {wait:.0f} s" if wait else "trying again"
    return f"{kind} in backoff: {budget.streak} exits{boots}, the last one {budget.last}; {again}"
