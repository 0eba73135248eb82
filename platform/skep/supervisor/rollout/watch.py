"""Keeps the generation before until the new one has passed its probation."""

import asyncio
from collections import deque
from collections.abc import Callable, Set

from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.rollout import probation as pure
from skep.supervisor.rollout.probation import Before, Probation

# How many exits of the generation in service are remembered, for the judgement on the next one.
_REMEMBERED = 1000


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
        self._probation = pure.begin(now, length, before)

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
        if child.dismissed:
            return
        now, kind = self._loop.time(), child.slot.partition(".")[0]
        self._exits.append((now, kind))
        if self._probation is not None and generation is self._watched:
            slots = sum(slot.kind == kind for slot in generation.crew.slots.values())
            self._judge(pure.exited(self._probation, kind, slots, now))

    def look(self) -> None:
        """See how it stands now."""
        if self._probation is None or self._watched is None:
            return
        now = self._loop.time()
        probation = pure.seen(self._probation, self._watched.crew.readiness(), now)
        if pure.passed(probation, now):
            self.end()
            self._passed()
        else:
            self._judge(probation)

    def _judge(self, probation: Probation) -> None:
        self._probation = probation
        if probation.failure:
            self._probation = None
            self._failed(probation.failure)
