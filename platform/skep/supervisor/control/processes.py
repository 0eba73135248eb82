"""Custom processes by hand: the commands `proc.ls` and `proc.restart`."""

import asyncio
from collections.abc import Mapping
from typing import Any

from skep.base.waiting import until
from skep.supervisor.control.scaling import serving
from skep.supervisor.control.server import DRAINED, CommandRefused, current_caller
from skep.supervisor.generation import Generation
from skep.supervisor.processes.slot import SlotState, group_of
from skep.supervisor.rollout.rollouts import Rollouts
from skep.wire.plan import Plan, ProcessPlan

# A slot whose worker has ended by itself for good does not become ready by waiting.
_ENDED = frozenset({SlotState.DONE, SlotState.FAILED})


class Processes:
    """Lists and restarts the custom processes of the generation in service."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._loop = asyncio.get_running_loop()

    async def ls(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a row for each slot of a custom process, and one for each class that does not run
        here."""
        generation = serving(self._rollouts)
        rows = []
        for process in (generation.plan or Plan()).processes:
            slots = [name for name in generation.crew.slots if _is_of(name, process)]
            shared = {
                "process": process.name,
                "command": process.command,
                "restart": process.restart,
                "required": process.required,
                "generation": generation.number,
            }
            if not process.enable:
                rows.append({**shared, "state": "disabled", **_EMPTY})
            elif process not in generation.processes:
                rows.append({**shared, "state": "left out", **_EMPTY})
            rows += [{**shared, **self._row(generation, name)} for name in slots]
        return rows

    async def restart(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Restart the process in one slot, or those of a class one after the other; wait until each
        is ready, or has ended well. Raises CommandRefused if one is not."""
        generation, wanted = serving(self._rollouts), str(arguments["name"])
        if self._rollouts.scaler.drained:
            raise CommandRefused(DRAINED, "drained")
        slots = _found(generation, wanted)
        for number, slot in enumerate(slots, 1):
            if (caller := current_caller()) is not None:
                caller.tell({"phase": f"restarting {slot}", "generation": generation.number})
            await self._restart(generation, slot)
            if self._rollouts.current is not generation:
                raise CommandRefused(f"A rollout came first; {number} of {len(slots)} restarted.")
        names = ", ".join(slots)
        return {"slots": slots, "sentence": f"Restarted: {names}."}

    async def _restart(self, generation: Generation, slot: str) -> None:
        crew = generation.crew
        before = crew.children.get(slot)
        crew.restart([slot])

        def is_over() -> bool:
            if (found := crew.slots.get(slot)) is None:
                return True
            if crew.children.get(slot) is before and before is not None:
                return False
            if found.state is SlotState.READY and found.since is not None:
                # One that ends at once is ready for a moment too.
                return self._loop.time() - found.since >= found.limits.served
            # The one before has put it in backoff as well, but not as a failure.
            return found.state in _ENDED or bool(found.failures)

        limits = generation.limits
        patience = limits.boot + limits.go + limits.stop + limits.kill
        patience += crew.slots[slot].drain if slot in crew.slots else 0.0
        over = await until(is_over, patience)
        if slot not in crew.slots:
            return
        state, ending = crew.slots[slot].state, crew.endings.get(slot)
        if not over:
            raise CommandRefused(f"{slot} was not ready within {patience:g} s.", "timeout")
        if state in (SlotState.FAILED, SlotState.BACKOFF) and ending is not None:
            raise CommandRefused(f"{slot} was started and {ending.how}; see `platform proc logs`.")

    def _row(self, generation: Generation, name: str) -> dict[str, Any]:
        crew = generation.crew
        slot, child, ending = crew.slots[name], crew.children.get(name), crew.endings.get(name)
        now = self._loop.time()
        waits = slot.state is SlotState.BACKOFF and slot.deadline is not None
        return {
            "slot": name,
            "state": slot.state.value,
            "pid": child.pid if child else None,
            "age": round(now - slot.began, 1) if child else None,
            "ends": ending.count if ending else 0,
            "last_end": ending.how if ending else "",
            "last_end_at": ending.at if ending else None,
            "next_start_in": max(0.0, round((slot.deadline or 0.0) - now, 1)) if waits else None,
        }


_EMPTY: Mapping[str, Any] = {
    "slot": None,
    "pid": None,
    "age": None,
    "ends": 0,
    "last_end": "",
    "last_end_at": None,
    "next_start_in": None,
}


def _is_of(slot: str, process: ProcessPlan) -> bool:
    return slot.rpartition(".")[0] == process.pool


def _found(generation: Generation, wanted: str) -> list[str]:
    """Return the slots of a class, `ticker.Echo`, or the one of that name. Raises CommandRefused if
    there are none."""
    name = f"process.{wanted.removeprefix('process.')}"
    ours = [slot.name for slot in generation.crew.slots.values() if slot.kind == "process"]
    slots = [slot for slot in ours if name in (slot, group_of(slot))]
    if slots:
        return slots
    known = [process.name for process in generation.processes]
    there = f"there are {', '.join(known)}" if known else "no plugin declares one that runs here"
    raise CommandRefused(f"There is no custom process {wanted}; {there}.", "usage")
