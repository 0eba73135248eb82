"""New task workers for the old ones within a generation: `platform reload --task-only`.

Each successor comes up first, as for a worker that retires by itself. One that does not come up
ends the whole: the workers that have no successor yet go on.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from skep.base.waiting import until
from skep.supervisor.control.records import Operation, Operations
from skep.supervisor.control.scaling import serving
from skep.supervisor.control.server import DRAINED, Caller, CommandRefused, current_caller
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.events import Events, WorkerEnded
from skep.supervisor.processes.exit_reason import ended, named
from skep.supervisor.processes.slot import Slot, SlotState
from skep.supervisor.rollout.rollouts import Rollouts
from skep.wire.messages import Retire
from skep.wire.plan import Problem

_WHY = Retire("reload", "platform reload --task-only")


@dataclass
class _Round:
    """One replacement of all task workers; `problem` is why it has failed, if it has."""

    generation: Generation
    old: Sequence[Child]
    caller: Caller | None
    began: float = field(default_factory=time.monotonic)
    problem: str = ""

    @property
    def left(self) -> list[Child]:
        """The old workers that still have their places."""
        crew = self.generation.crew
        return [
            child
            for child in self.old
            if crew.children.get(child.slot) is child and not crew.slots[child.slot].leaving
        ]

    @property
    def staying(self) -> list[Slot]:
        """The slots of task workers that are to be filled."""
        slots = self.generation.crew.slots.values()
        return [slot for slot in slots if slot.kind == "task" and not slot.leaving]

    @property
    def to_come(self) -> int:
        """How many places there are that no new worker has taken."""
        return len(self.left) + sum(slot.state is not SlotState.READY for slot in self.staying)

    def has_moved(self, left: int) -> bool:
        """Whether something has happened since `left` were to come."""
        return self.to_come != left or bool(self.problem)


class ReloadTasks:
    """The command `reload_tasks`."""

    def __init__(self, rollouts: Rollouts, operations: Operations, events: Events) -> None:
        self._rollouts = rollouts
        self._operations = operations
        self._round: _Round | None = None
        self._going: asyncio.Task[None] | None = None
        events.subscribe(WorkerEnded, self._ended)

    async def reload_tasks(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Replace every task worker by a new one of the same generation; wait, unless `wait` is
        false. Raises CommandRefused when a successor does not come up."""
        begun = self._begin()
        if begun is None:
            return {"outcome": "unchanged", "sentence": "There are no task workers to replace."}
        if not arguments.get("wait", True):
            sentence = "New task workers were asked for; `platform history` shows how it went."
            return {"sentence": sentence}
        assert self._going is not None
        await self._going
        if begun.problem:
            raise CommandRefused(begun.problem)
        number, seconds = begun.generation.number, time.monotonic() - begun.began
        count = f"{len(begun.old)} task worker{'s' if len(begun.old) > 1 else ''}"
        return {
            "outcome": "replaced",
            "generation": number,
            "workers": [child.slot for child in begun.old],
            "seconds": round(seconds, 3),
            "sentence": f"{count} of generation {number} replaced after {seconds:.2f} s.",
        }

    def _begin(self) -> _Round | None:
        generation = serving(self._rollouts)
        if self._rollouts.scaler.drained:
            raise CommandRefused(DRAINED, "drained")
        if self._round is not None:
            raise CommandRefused("The task workers are being replaced already.", "busy")
        crew = generation.crew
        old = [
            child
            for name, child in crew.children.items()
            if name in crew.slots and crew.slots[name].kind == "task"
            if not crew.slots[name].leaving
        ]
        if not old:
            return None
        caller = current_caller()
        begun = self._round = _Round(generation, old, caller)
        operation = self._operations.begin("reload", str(caller), _WHY.detail)
        operation.generation = generation.number
        operation.enter("replacing", operation.began)
        self._going = asyncio.create_task(self._carry_out(begun, operation))
        return begun

    async def _carry_out(self, begun: _Round, operation: Operation) -> None:
        scaler, crew = self._rollouts.scaler, begun.generation.crew
        scaler.replace(crew, begun.old, _WHY)
        try:
            await self._follow(begun)
        finally:
            self._round = None
        if begun.problem:
            left = [child.slot for child in begun.left]
            scaler.call_off(crew, left)
            if left:
                begun.problem += f" {', '.join(left)} of the old ones go on."
            operation.problems = [begun.problem]
        self._operations.end(operation, "refused" if begun.problem else "replaced")

    async def _follow(self, begun: _Round) -> None:
        limits = begun.generation.limits
        patience = limits.boot + limits.go + limits.kill
        while (left := begun.to_come) and not begun.problem:
            if begun.caller is not None:
                begun.caller.tell({"phase": "replacing", "generation": begun.generation.number})
            if not await until(partial(begun.has_moved, left), patience):
                begun.problem = f"No new task worker came up within {patience:g} s."
        if not begun.staying and self._rollouts.current is begun.generation:
            begun.problem = "All workers were ordered to end before that."

    def _ended(self, event: WorkerEnded) -> None:
        """If it was to be the successor of another, it has not come up."""
        child, begun = event.child, self._round
        if begun is None or begun.problem or not child.pid or child.dismissed:
            return
        if child.kind == "task" and self._rollouts.scaler.is_successor(child):
            how = child.problem or Problem("prepare", f"{child.name} {ended(child)}.")
            begun.problem = f"A new task worker did not come up: {named(child, how)}"
