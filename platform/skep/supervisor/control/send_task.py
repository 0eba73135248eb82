"""Tasks delivered and events fired by hand: a worker does it, because only workers know them."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from skep.supervisor.control.server import CommandRefused
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.questions import Questions
from skep.wire.messages import Deliver, Delivered

# Longer than an engine takes to say that the store is out of reach.
_PATIENCE = 15.0


class SendTask:
    """The commands `task.send` and `event.fire`; `current()` is the generation in service."""

    def __init__(self, current: Callable[[], Generation | None], questions: Questions) -> None:
        self._current = current
        self._questions = questions

    async def task(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Deliver a task; return the receipt. Raises CommandRefused when it was not delivered, or
        when that is unknown."""
        return await self._send("task", arguments)

    async def event(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Fire an event, in the same way."""
        return await self._send("event", arguments)

    async def _send(
        self, what: Literal["task", "event"], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        worker, name = self._worker(), str(arguments[what])
        values = [str(value) for value in arguments.get("values", ())]
        terms = dict(arguments.get("terms", {}))
        answers, silent = await self._questions.ask(
            [worker], lambda number: Deliver(number, what, name, values, terms), _PATIENCE
        )
        delivered = answers.get(worker)
        if not isinstance(delivered, Delivered):
            if silent:
                raise CommandRefused(_unknown(worker, "did not answer"), "timeout")
            raise CommandRefused(_unknown(worker, "has ended"), "unknown")
        if delivered.refusal:
            raise CommandRefused(delivered.refusal, delivered.code)
        return {"id": delivered.id, "duplicate": delivered.duplicate}

    def _worker(self) -> Child:
        generation = self._current()
        accepting = generation.crew.accepting() if generation is not None else []
        if not accepting:
            raise CommandRefused(
                "No worker accepts that could deliver it; see `platform status`.", "busy"
            )
        # Handlers of tasks may block their loop for a while.
        return min(accepting, key=lambda child: not child.slot.startswith("web."))


def _unknown(worker: Child, what: str) -> str:
    return (
        f"{worker.name}, which was to deliver it, {what}: whether it was delivered is not known; "
        "`platform task ls` tells."
    )
