"""Tasks delivered and events fired by hand: a worker does it, because only workers know them."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from skep.base.telemetry import Telemetry
from skep.supervisor.control.server import Command, Refusal
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.wire.messages import Deliver, Delivered, Message

# Longer than an engine takes to say that the store is out of reach.
_PATIENCE = 15.0


class Delivering:
    """The commands `task.send` and `event.fire`; `current()` is the generation in service."""

    def __init__(self, current: Callable[[], Generation | None]) -> None:
        self._current = current
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Child, asyncio.Future[Delivered]]] = {}

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {"task.send": partial(self.send, "task"), "event.fire": partial(self.send, "event")}

    def subscribe(self, telemetry: Telemetry) -> None:
        """Hear of workers that end before they answer."""
        telemetry.subscribe("worker.ended", lambda fields: self._gone(fields["child"]))

    async def send(
        self, what: Literal["task", "event"], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Deliver a task or fire an event; return the receipt.

        Raises Refusal when it was not delivered, or when it is not known whether it was.
        """
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        worker = self._worker()
        values = [str(value) for value in arguments.get("values", ())]
        terms = dict(arguments.get("terms", {}))
        self._asked[number] = worker, answer
        worker.send(Deliver(number, what, str(arguments[what]), values, terms))
        try:
            async with asyncio.timeout(_PATIENCE):
                delivered: Delivered = await answer
        except TimeoutError:
            raise Refusal(_unknown(worker, "did not answer"), "timeout") from None
        finally:
            del self._asked[number]
        if delivered.refusal:
            raise Refusal(delivered.refusal, delivered.code)
        return {"id": delivered.id, "duplicate": delivered.duplicate}

    def told(self, message: Message) -> None:
        """A worker has said something: perhaps what became of a delivery."""
        if isinstance(message, Delivered) and message.number in self._asked:
            _, answer = self._asked[message.number]
            if not answer.done():
                answer.set_result(message)

    def _worker(self) -> Child:
        generation = self._current()
        accepting = generation.crew.accepting() if generation is not None else []
        if not accepting:
            raise Refusal("No worker accepts that could deliver it; see `platform status`.", "busy")
        # Handlers of tasks may block their loop for a while.
        return min(accepting, key=lambda child: not child.slot.startswith("web."))

    def _gone(self, child: Child) -> None:
        for worker, answer in self._asked.values():
            if worker is child and not answer.done():
                answer.set_exception(Refusal(_unknown(child, "has ended"), "unknown"))


def _unknown(worker: Child, what: str) -> str:
    return (
        f"{worker.name}, which was to deliver it, {what}: whether it was delivered is not known; "
        "`platform task ls` tells."
    )
