"""The commands of the control socket."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from skep.supervisor.control.records import Operation
from skep.supervisor.control.server import DRAINED, Caller, CommandRefused, current_caller
from skep.supervisor.metrics.scrape import trace_memory
from skep.supervisor.parts import Parts
from skep.supervisor.processes.events import PhaseEntered, RolloutBegan, RolloutReported
from skep.supervisor.request import Report, RolloutRequest


class ControlOwner(Protocol):
    """What commands need of the supervisor."""

    def ask(self, request: RolloutRequest) -> None:
        """Accept a request for a rollout."""

    def stop(self, code: int = 0, operation: Operation | None = None) -> None:
        """Stop gracefully; a second call stops at once."""


class Commands:
    """What clients may ask of the supervisor; each method is one command."""

    def __init__(self, owner: ControlOwner, parts: Parts) -> None:
        self._owner = owner
        self._parts = parts
        self._waiting: dict[int, tuple[asyncio.Future[Report], Caller | None]] = {}
        self._number = 0
        events = parts.children.events
        events.subscribe(RolloutBegan, self._began)
        events.subscribe(PhaseEntered, self._entered)
        events.subscribe(RolloutReported, self._reported)

    async def status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole status document."""
        parts = self._parts
        env_file = str(parts.configurations.env_file.absolute())
        return parts.health.document(parts.run_id, parts.started, parts.ports.urls(), env_file)

    async def ready(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return whether every required slot accepts, and which do not."""
        missing = self._parts.health.not_ready()
        return {"ready": not missing, "missing": missing}

    async def reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Roll out a new generation with the configuration and the code as they are now; wait,
        unless `wait` is false."""
        request = RolloutRequest(
            "cli", "platform reload", forced=True, requester=str(current_caller())
        )
        if arguments.get("wait", True):
            return await self._outcome(request)
        self._owner.ask(request)
        return {"sentence": "A rollout was asked for; `platform history` shows what becomes of it."}

    async def stop(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to stop; the answer comes at once, with the process id to wait for."""
        self._owner.stop()
        return {"pid": os.getpid()}

    async def config_plan(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what a staged snapshot would change, with masked values."""
        plan = self._parts.rollouts.plan(str(arguments["snapshot"]))
        return [change.to_json() for change in plan]

    async def config_apply(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a staged snapshot, unless another is pinned; wait for the outcome."""
        snapshot = str(arguments["snapshot"])
        if arguments.get("allow_empty"):
            self._parts.configurations.allowed = snapshot
        request = RolloutRequest("cli", "platform config pull", snapshot)
        return await self._outcome(self._parts.history.admit(request))

    async def config_explain(self, arguments: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return every place that sets a key, the winner first, with masked values."""
        places = self._parts.configurations.explain(str(arguments["key"]))
        return [place.to_json() for place in places]

    async def config_history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return which snapshots there are and what became of the changes that were tried."""
        return {**asdict(self._parts.history.state), "entries": self._parts.history.audit()}

    async def config_rollback(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Go back to an applied snapshot and pin it."""
        number, path = self._parts.history.pin(int(arguments.get("number", 0)))
        outcome = await self._outcome(RolloutRequest("cli", f"rollback to snapshot {number}", path))
        return {**outcome, "number": number}

    async def config_unpin(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Follow what is published again; apply what was withheld."""
        withheld = self._parts.history.unpin()
        if not withheld:
            return {"sentence": "No snapshot was pinned."}
        return await self._outcome(RolloutRequest("cli", "platform config unpin", withheld))

    async def mem(self, arguments: Mapping[str, Any]) -> Any:
        """Return what grew in every worker within so many seconds, by line of source."""
        seconds, top = float(arguments.get("seconds", 10)), int(arguments.get("top", 10))
        return await trace_memory(
            self._parts.children, self._parts.platform.questions, seconds, top
        )

    async def _outcome(self, request: RolloutRequest) -> dict[str, Any]:
        """Wait for the outcome of a request. Raises CommandRefused when it is refused."""
        if self._parts.rollouts.scaler.drained:
            raise CommandRefused(DRAINED, "drained")
        self._number += 1
        outcome = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = (outcome, current_caller())
        self._owner.ask(replace(request, waiters=(self._number,)))
        report: Report = await outcome
        if report.outcome in ("refused", "rolled back"):
            raise CommandRefused(report.sentence + report.details)
        return report.to_json() | {"sentence": report.sentence}

    def _reported(self, event: RolloutReported) -> None:
        for waiter in event.request.waiters:
            outcome, _ = self._waiting.pop(waiter, (None, None))
            if outcome is not None and not outcome.done():
                outcome.set_result(event.report)

    def _began(self, event: RolloutBegan) -> None:
        self._entered(PhaseEntered(event.generation, event.request, "planning"))

    def _entered(self, event: PhaseEntered) -> None:
        for waiter in event.request.waiters:
            _, caller = self._waiting.get(waiter, (None, None))
            if caller is not None:
                caller.tell({"phase": event.phase, "generation": event.generation})

    def stopping(self) -> None:
        """Tell everybody who waits that nothing will come of it."""
        for outcome, _ in self._waiting.values():
            if not outcome.done():
                outcome.set_exception(CommandRefused("The platform is stopping.", "stopping"))
        self._waiting.clear()
