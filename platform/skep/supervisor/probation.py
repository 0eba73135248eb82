"""The watch kept over a new generation after its commit.

    WATCHED ──until──► PASSED
       │ more exits of one kind than are bearable, or a kind of which nobody is ready for too long
       ▼
    FAILED: the generation before is put back, once

Rule: everything is decided here, from facts and the time. Times are seconds of one monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# Five crashes take about eight seconds.
EXITS = 5
UNREADY = 5.0


@dataclass(frozen=True)
class Probation:
    """A watch that lasts until `until`.

    `exits` counts the exits that nobody asked for, by kind; `unready` says since when a kind has
    had no ready worker. `failure` is why it has failed, empty as long as it has not.
    """

    until: float
    exits: Mapping[str, int] = field(default_factory=dict)
    unready: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""

    @property
    def deadline(self) -> float:
        """When to look at it again, if nothing happens before."""
        return min((since + UNREADY for since in self.unready.values()), default=self.until)


def begin(now: float, length: float) -> Probation:
    """Return a watch over a generation that has just been committed."""
    return Probation(now + length)


def exited(probation: Probation, kind: str) -> Probation:
    """A worker of this kind has ended, and nobody asked for it."""
    count = probation.exits.get(kind, 0) + 1
    probation = replace(probation, exits={**probation.exits, kind: count})
    if count < EXITS:
        return probation
    return _fail(probation, f"its {kind} workers ended {count} times")


def seen(probation: Probation, ready: Mapping[str, bool], now: float) -> Probation:
    """So it is now: of each kind, whether any worker is ready."""
    unready = {kind: probation.unready.get(kind, now) for kind, is_so in ready.items() if not is_so}
    probation = replace(probation, unready=unready)
    late = sorted(kind for kind, since in unready.items() if now - since >= UNREADY)
    if not late:
        return probation
    return _fail(probation, f"no {' and no '.join(late)} worker was ready for {UNREADY:g} s")


def passed(probation: Probation, now: float) -> bool:
    """Whether the watch has ended well; not while it has to be seen if a kind gets ready."""
    return not probation.failure and not probation.unready and now >= probation.until


def _fail(probation: Probation, why: str) -> Probation:
    return replace(probation, failure=probation.failure or why)
