"""Crons run, stopped and started by hand: the timer does it."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from skep.supervisor.control.server import CommandRefused
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.questions import Questions
from skep.wire.messages import CronAnswer, CronOrder

# Seconds; the timer answers at once, unless something blocks it.
_PATIENCE = 10.0


class Timer:
    """The commands `cron.run`, `cron.stop` and `cron.start`; `current()` is the generation in
    service."""

    def __init__(self, current: Callable[[], Generation | None], questions: Questions) -> None:
        self._current = current
        self._questions = questions

    async def run(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Run a cron now. Raises CommandRefused when the timer does not."""
        return await self._order("run", arguments)

    async def stop(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Let a cron be due no more, in the same way."""
        return await self._order("stop", arguments)

    async def start(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Let it be due again, in the same way."""
        return await self._order("start", arguments)

    async def _order(
        self, verb: Literal["run", "stop", "start"], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        timer, name = self._timer(), str(arguments["cron"])
        answers, _ = await self._questions.ask(
            [timer], lambda number: CronOrder(number, verb, name), _PATIENCE
        )
        answer = answers.get(timer)
        if not isinstance(answer, CronAnswer):
            raise CommandRefused(
                f"{timer.name} did not answer: whether it was done is not known; "
                "`platform cron ls` tells.",
                "timeout",
            )
        if answer.refusal:
            raise CommandRefused(answer.refusal, answer.code)
        return {"sentence": answer.sentence}

    def _timer(self) -> Child:
        generation = self._current()
        for child in generation.crew.accepting() if generation is not None else []:
            if child.kind == "cron":
                return child
        if generation is not None and not any(
            slot.kind == "cron" for slot in generation.crew.slots.values()
        ):
            raise CommandRefused(
                "This platform runs no crons: no plugin has any, or PLATFORM_KINDS or "
                "PLATFORM_CRON leaves them out.",
                "usage",
            )
        raise CommandRefused("The timer does not accept orders now; try again.", "busy")
