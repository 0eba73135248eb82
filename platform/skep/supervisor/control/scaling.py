"""How many workers there are, by hand: the commands scale, drain and undrain, and the signals."""

from collections.abc import Callable, Mapping
from typing import Any

from skep.base.waiting import until
from skep.supervisor.control.server import CommandRefused
from skep.supervisor.generation import Generation
from skep.supervisor.processes.slot import SlotState
from skep.supervisor.rollout.rollouts import Rollouts

# These are one of a kind, whatever anybody says.
_SCALABLE = ("web", "task")
_MOST = 1024


def serving(rollouts: Rollouts) -> Generation:
    """Return the generation in service. Raises CommandRefused when there is none, or soon none."""
    if (generation := rollouts.current) is None:
        raise CommandRefused("No generation is in service yet.", "starting")
    if rollouts.scaler.ended:
        raise CommandRefused("The platform is stopping.", "stopping")
    return generation


class Scaling:
    """Changes the number of workers of the generation in service, and then calls `changed()`."""

    def __init__(self, rollouts: Rollouts, changed: Callable[[], object]) -> None:
        self._rollouts = rollouts
        self._scaler = rollouts.scaler
        self._changed = changed

    async def scale(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Have `count` workers of a `kind`; wait until they are ready and the others drain."""
        kind, count = str(arguments.get("kind")), arguments.get("count")
        generation = serving(self._rollouts)
        if kind not in _SCALABLE or generation.plan is None or kind not in generation.plan.kinds:
            raise CommandRefused(f"There are no {kind} workers that could be scaled.", "usage")
        if kind in generation.left_out:
            text = f"This machine runs no {kind} workers: PLATFORM_KINDS leaves them out."
            raise CommandRefused(text, "usage")
        if not isinstance(count, int) or not 1 <= count <= _MOST:
            raise CommandRefused(f"The number of {kind} workers can be 1 to {_MOST}.", "usage")
        self._scaler.scale(kind, count)
        self._changed()
        limit = generation.limits.boot
        if not self._scaler.drained and not await until(lambda: self._count(kind) == count, limit):
            raise CommandRefused(
                f"Not all {kind} workers were ready within {limit:g} s.", "timeout"
            )
        return {"kind": kind, "count": count, "sentence": f"There are {count} {kind} workers."}

    async def drain(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Let every worker finish what it has; wait until they are gone."""
        generation = serving(self._rollouts)
        self.begin_drain()
        limits = generation.limits
        longest = [slot.drain for slot in generation.crew.slots.values()]
        patience = max(limits.drain, limits.task_drain, *longest)
        patience += limits.stop + limits.kill + 1.0
        if self._rollouts.coming is not None:  # it ends before its workers drain
            patience += limits.boot + limits.go
        if not await until(self._has_drained, patience):
            raise CommandRefused("Not all workers have ended.", "timeout")
        return {"sentence": "Drained: connections wait, tasks and crons rest."}

    async def undrain(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Fill the places again; wait until all are ready."""
        generation = serving(self._rollouts)
        self._scaler.undrain()
        self._changed()
        if not await until(lambda: not generation.crew.not_ready(), generation.limits.boot):
            raise CommandRefused(f"Not ready: {', '.join(generation.crew.not_ready())}.", "timeout")
        return {"sentence": "In service again."}

    def begin_drain(self) -> None:
        """Stop accepting work."""
        self._rollouts.drain()
        self._changed()

    def one_web_worker(self, *, more: bool) -> None:
        """Have one web worker more, or one fewer, but never none."""
        generation = self._rollouts.current
        if generation is None or generation.plan is None:
            return
        counts = self._scaler.counts(generation)
        if "web" not in counts:
            return
        self._scaler.scale("web", min(_MOST, max(1, counts["web"] + (1 if more else -1))))
        self._changed()

    def _has_drained(self) -> bool:
        current, coming = self._rollouts.current, self._rollouts.coming
        return coming is None and (current is None or not current.crew.children)

    def _count(self, kind: str) -> int:
        """How many workers of a kind are ready; -1 while others of it are still coming."""
        generation = serving(self._rollouts)
        states = [s.state for s in generation.crew.slots.values() if s.kind == kind]
        coming = [
            s for s in states if s not in (SlotState.READY, SlotState.DRAINING, SlotState.CUT)
        ]
        return -1 if coming else states.count(SlotState.READY)
