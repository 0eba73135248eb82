"""How many workers there are, by hand: the commands scale, drain and undrain, and the signals."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from skep.base.waiting import until
from skep.supervisor.control.server import Command, Refusal
from skep.supervisor.processes.slot import State

if TYPE_CHECKING:
    from skep.supervisor.generation import Generation
    from skep.supervisor.rollout.rollouts import Succession

# These are one of a kind, whatever anybody says.
_SCALABLE = ("web", "task")
_MOST = 1024


class Strength:
    """Changes the number of workers of the generation in service; `changed()` is told after."""

    def __init__(self, succession: "Succession", changed: Callable[[], None]) -> None:
        self._succession = succession
        self._upkeep = succession.upkeep
        self._changed = changed

    @property
    def drained(self) -> bool:
        """Whether nothing is to be taken."""
        return self._upkeep.drained

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {"scale": self.scale, "drain": self.drain, "undrain": self.undrain}

    async def scale(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Have `count` workers of a `kind`; wait until they are ready, and the others are told."""
        kind, count = str(arguments.get("kind")), arguments.get("count")
        generation = self._serving()
        if kind not in _SCALABLE or generation.plan is None or kind not in generation.plan.kinds:
            raise Refusal(f"There are no {kind} workers that could be scaled.", "usage")
        if kind in generation.left_out:
            text = f"This machine runs no {kind} workers: PLATFORM_KINDS leaves them out."
            raise Refusal(text, "usage")
        if not isinstance(count, int) or not 1 <= count <= _MOST:
            raise Refusal(f"The number of {kind} workers can be 1 to {_MOST}.", "usage")
        self._upkeep.scale(kind, count)
        self._changed()
        limit = generation.limits.boot
        if not self.drained and not await until(lambda: self._count(kind) == count, limit):
            raise Refusal(f"Not all {kind} workers were ready within {limit:g} s.", "timeout")
        return {"kind": kind, "count": count, "sentence": f"There are {count} {kind} workers."}

    async def drain(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Let every worker finish what it has; wait until they are gone."""
        generation = self._serving()
        self.begin_drain()
        limits = generation.limits
        patience = max(limits.drain, limits.task_drain) + limits.stop + limits.kill + 1.0
        if self._succession.coming is not None:  # it ends before its workers drain
            patience += limits.boot + limits.go
        if not await until(self._has_drained, patience):
            raise Refusal("Not all workers have ended.", "timeout")
        return {"sentence": "Drained: connections wait, tasks and crons rest."}

    async def undrain(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Fill the places again; wait until all are ready."""
        generation = self._serving()
        self._upkeep.undrain()
        self._changed()
        if not await until(lambda: not generation.crew.not_ready(), generation.limits.boot):
            raise Refusal(f"Not ready: {', '.join(generation.crew.not_ready())}.", "timeout")
        return {"sentence": "In service again."}

    def begin_drain(self) -> None:
        """Take nothing any more."""
        self._succession.drain()
        self._changed()

    def one_web_worker(self, *, more: bool) -> None:
        """Have one web worker more, or one fewer, but never none."""
        generation = self._succession.current
        if generation is None or generation.plan is None:
            return
        counts = self._upkeep.counts(generation.configuration.options, generation.plan)
        if "web" not in counts:
            return
        self._upkeep.scale("web", min(_MOST, max(1, counts["web"] + (1 if more else -1))))
        self._changed()

    def _has_drained(self) -> bool:
        current, coming = self._succession.current, self._succession.coming
        return coming is None and (current is None or not current.crew.children)

    def _serving(self) -> "Generation":
        if (generation := self._succession.current) is None:
            raise Refusal("No generation is in service yet.", "starting")
        if self._upkeep.ended:
            raise Refusal("The platform is stopping.", "stopping")
        return generation

    def _count(self, kind: str) -> int:
        """How many workers of a kind are ready; -1 while others of it are still coming."""
        generation = self._serving()
        states = [s.state for s in generation.crew.slots.values() if s.kind == kind]
        coming = [s for s in states if s not in (State.READY, State.DRAINING, State.CUT)]
        return -1 if coming else states.count(State.READY)
