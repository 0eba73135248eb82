"""Keeps the generation before until the new one has passed its probation."""

import asyncio
from collections.abc import Callable

from skep.supervisor import probation as pure
from skep.supervisor.child import Child
from skep.supervisor.generation import Generation
from skep.supervisor.probation import Probation


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

    def begin(self, watched: Generation, former: Generation | None) -> None:
        """Begin to watch; without a former generation there is none to go back to."""
        self.end()
        self.former, self._watched = former, watched
        length = watched.configuration.options.probation
        self._probation = pure.begin(self._loop.time(), length)

    def end(self) -> None:
        """Stop watching; the former generation is given up."""
        if self.former is not None:
            self.former.zygote.stop()
        self.former = self._watched = self._probation = None

    def release(self) -> Generation | None:
        """Stop watching and hand out the former generation, to be put back."""
        former, self.former = self.former, None
        self._watched = self._probation = None
        return former

    def ended(self, generation: Generation, child: Child) -> None:
        """A worker has ended."""
        if self._probation is not None and generation is self._watched and not child.dismissed:
            kind = child.slot.partition(".")[0]
            self._judge(pure.exited(self._probation, kind))

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
