"""The watch kept over a new generation after its commit: the pure decision, and `Watch`, which
keeps the generation before until the new one has passed.

    WATCHED ──until──► PASSED
       │ more exits of one kind than are bearable, or a kind without a ready worker for too long
       ▼
    FAILED: the generation before is put back, once

How many exits are bearable depends on how many slots the kind has: on a large machine more workers
end for reasons of their own. What the generation before did too is not held against the new one.
Each exit prolongs the watch, so that a crash that takes a while to come shows a second time. Rule:
everything is decided here, from facts and the time. Times are seconds of one monotonic clock.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace

from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.slot import SlotState

# One slot may lose its worker twice by accident.
BEARABLE = 2
UNREADY = 5.0
# However many exits there are, the watch ends after so many times its length.
LONGEST = 4
# How many exits of the generation in service are remembered, for the judgement on the next one.
_REMEMBERED = 1000


@dataclass(frozen=True)
class Before:
    """How the generation before did: its unexpected exits by kind within one length of the watch,
    and the kinds that had no ready worker at the end."""

    exits: Mapping[str, int] = field(default_factory=dict)
    unready: Set[str] = frozenset()


@dataclass(frozen=True)
class Probation:
    """A watch over `length` seconds since `began`, that lasts until `until`.

    `exits` counts the unexpected exits by kind; `unready` is since when a kind has had no ready
    worker. A kind in `excused` was not ready before either. `failure` is why it has failed, empty
    as long as it has not.
    """

    began: float
    length: float
    until: float
    before: Before = Before()
    exits: Mapping[str, int] = field(default_factory=dict)
    unready: Mapping[str, float] = field(default_factory=dict)
    excused: Set[str] = frozenset()
    failure: str = ""

    @property
    def deadline(self) -> float:
        """When to look at it again, if nothing happens before."""
        return min((since + UNREADY for since in self.unready.values()), default=self.until)


def begin(now: float, length: float, before: Before) -> Probation:
    """Return a watch over a generation that has just been committed."""
    return Probation(now, length, now + length, before, excused=before.unready)


def exited(probation: Probation, kind: str, slots: int, now: float) -> Probation:
    """Return the watch after an unexpected exit of a worker of a kind that has so many slots."""
    count = probation.exits.get(kind, 0) + 1
    longest = probation.began + LONGEST * probation.length
    until = max(probation.until, min(now + probation.length, longest))
    probation = replace(probation, exits={**probation.exits, kind: count}, until=until)
    if count <= _bearable(probation, kind, slots, now):
        return probation
    return failed(probation, f"its {kind} workers ended {count} times")


def seen(probation: Probation, ready: Mapping[str, bool], now: float) -> Probation:
    """Return the watch after a look; `ready` is whether any worker of each kind is ready."""
    excused = probation.excused - {kind for kind, is_so in ready.items() if is_so}
    unready = {
        kind: probation.unready.get(kind, now)
        for kind, is_so in ready.items()
        if not is_so and kind not in excused
    }
    probation = replace(probation, unready=unready, excused=excused)
    late = sorted(kind for kind, since in unready.items() if now - since >= UNREADY)
    if not late:
        return probation
    return failed(probation, f"no {' and no '.join(late)} worker was ready for {UNREADY:g} s")


def passed(probation: Probation, now: float) -> bool:
    """Whether the watch has ended well; not while it has to be seen if a kind gets ready."""
    return not probation.failure and not probation.unready and now >= probation.until


def _bearable(probation: Probation, kind: str, slots: int, now: float) -> int:
    own = max(BEARABLE, slots)
    lengths = math.ceil((now - probation.began) / probation.length) if probation.length else 1
    return own + probation.before.exits.get(kind, 0) * max(1, lengths)


def failed(probation: Probation, why: str) -> Probation:
    """Return the watch after something that must not happen at all."""
    return replace(probation, failure=probation.failure or why)


class Watch:
    """Watches over the generation that was committed last.

    `former` is the one before it, whose zygote lives until the end of the watch, so that putting it
    back is forking, whatever the disk holds by then. `passed()` or `failed(reason)` is called at
    the end, unless another generation is committed before.
    """

    def __init__(self, passed: Callable[[], None], failed: Callable[[str], None]) -> None:
        self.former: Generation | None = None
        self._watched: Generation | None = None
        self._probation: Probation | None = None
        self._exits: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)
        self._passed = passed
        self._failed = failed
        self._loop = asyncio.get_running_loop()

    @property
    def deadline(self) -> float | None:
        """When `look` has to be called next."""
        return self._probation.deadline if self._probation else None

    @property
    def on(self) -> bool:
        """Whether a generation is on probation."""
        return self._probation is not None

    def begin(
        self, watched: Generation, former: Generation | None, unready: Set[str] = frozenset()
    ) -> None:
        """Begin to watch; without a former generation there is none to go back to. `unready` are
        the kinds of the former one that had no ready worker when the rollout began."""
        self.end()
        now, length = self._loop.time(), watched.configuration.options.probation
        before = Before()
        if former is not None:
            kinds = [kind for moment, kind in self._exits if now - moment <= length]
            before = Before({kind: kinds.count(kind) for kind in kinds}, unready)
        self._exits.clear()
        self.former, self._watched = former, watched
        self._probation = begin(now, length, before)

    def end(self) -> None:
        """Stop watching; the former generation is given up."""
        if self.former is not None:
            self.former.zygote.stop()
        self.former = self._watched = self._probation = None

    def release(self) -> Generation | None:
        """Stop watching and hand out the former generation, to be put back."""
        former, self.former = self.former, None
        self._watched = self._probation = None
        self._exits.clear()
        return former

    def ended(self, generation: Generation, child: Child) -> None:
        """A worker of the generation in service has ended."""
        slot = generation.crew.slots.get(child.slot)
        if child.dismissed or slot is None or not slot.terms.vital or slot.state is SlotState.DONE:
            return
        now, group = self._loop.time(), slot.group
        self._exits.append((now, group))
        if self._probation is None or generation is not self._watched:
            return
        slots = sum(other.group == group for other in generation.crew.slots.values())
        probation = exited(self._probation, group, slots, now)
        if slot.state is SlotState.FAILED:
            probation = failed(probation, f"{slot.name} is required and is not started again")
        self._judge(probation)

    def look(self) -> None:
        """See how it stands now."""
        if self._probation is None or self._watched is None:
            return
        now = self._loop.time()
        probation = seen(self._probation, self._watched.crew.readiness(), now)
        if passed(probation, now):
            self.end()
            self._passed()
        else:
            self._judge(probation)

    def _judge(self, probation: Probation) -> None:
        self._probation = probation
        if probation.failure:
            self._probation = None
            self._failed(probation.failure)
