"""The commands of the control socket."""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skep.supervisor.control import Command, Refusal
from skep.supervisor.gate import Request
from skep.supervisor.report import Report

if TYPE_CHECKING:
    from skep.supervisor.supervisor import Supervisor


class Commands:
    """What clients may ask of the supervisor; each method is one command."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._waiting: dict[int, asyncio.Future[Report]] = {}
        self._number = 0

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {
            "status": self.status,
            "ready": self.ready,
            "reload": self.reload,
            "stop": self.stop,
            "metrics": self.metrics,
        }

    async def status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole status document."""
        return self._supervisor.status()

    async def ready(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return whether every required slot accepts, and which do not."""
        missing = self._supervisor.not_ready()
        return {"ready": not missing, "missing": missing}

    async def reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Roll out a new generation with the configuration and the code as they are now; wait."""
        self._number += 1
        outcome = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = outcome
        request = Request("cli", "platform reload", waiters=(self._number,), forced=True)
        self._supervisor.ask(request)
        report: Report = await outcome
        if report.outcome != "committed":
            raise Refusal(report.sentence + "".join(f"\n{p.trace}" for p in report.problems))
        return report.to_json() | {"sentence": report.sentence}

    async def stop(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to stop; the answer comes at once, with the process id to wait for."""
        self._supervisor.stop()
        return {"pid": os.getpid()}

    async def metrics(self, arguments: Mapping[str, Any]) -> Any:
        """Return the ledger's families after every child has been asked for its latest."""
        return await self._supervisor.scrape()

    def reported(self, request: Request, report: Report) -> None:
        """Tell those who wait for this request."""
        for waiter in request.waiters:
            if (outcome := self._waiting.pop(waiter, None)) is not None and not outcome.done():
                outcome.set_result(report)

    def stopping(self) -> None:
        """Tell everybody who waits that nothing will come of it."""
        for outcome in self._waiting.values():
            if not outcome.done():
                outcome.set_exception(Refusal("The platform is stopping.", "stopping"))
        self._waiting.clear()
