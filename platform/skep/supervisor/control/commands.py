"""The commands of the control socket."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from skep.base.telemetry import Telemetry
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.control.records import Operation
from skep.supervisor.control.server import DRAINED, Caller, Command, CommandRefused, current_caller
from skep.supervisor.health import Health
from skep.supervisor.metrics.scrape import MetricsScrape, trace_memory
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.request import Report, RolloutRequest
from skep.supervisor.rollout.rollouts import Rollouts


class ControlOwner(Protocol):
    """What commands and signals need of the supervisor."""

    run_id: str

    def ask(self, request: RolloutRequest) -> None:
        """Accept a request for a rollout."""

    def stop(self, code: int = 0, operation: Operation | None = None) -> None:
        """Stop gracefully; a second call stops at once."""

    def status(self) -> dict[str, Any]:
        """Return the status document."""


class Commands:
    """What clients may ask of the supervisor; each method is one command."""

    def __init__(
        self,
        owner: ControlOwner,
        rollouts: Rollouts,
        configurations: Configurations,
        history: ConfigHistory,
        health: Health,
        scrape: MetricsScrape,
        platform: PlatformSlots,
    ) -> None:
        self._owner = owner
        self._rollouts = rollouts
        self._configurations = configurations
        self._history = history
        self._health = health
        self._scrape = scrape
        self._platform = platform
        self._waiting: dict[int, tuple[asyncio.Future[Report], Caller | None]] = {}
        self._number = 0

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {
            "status": self.status,
            "ready": self.ready,
            "reload": self.reload,
            "stop": self.stop,
            "metrics": self.metrics,
            "mem": self.mem,
            "config.plan": self.config_plan,
            "config.apply": self.config_apply,
            "config.explain": self.config_explain,
            "config.history": self.config_history,
            "config.rollback": self.config_rollback,
            "config.unpin": self.config_unpin,
        }

    async def status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole status document."""
        return self._owner.status()

    async def ready(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return whether every required slot accepts, and which do not."""
        missing = self._health.not_ready()
        return {"ready": not missing, "missing": missing}

    def subscribe(self, telemetry: Telemetry) -> None:
        """Tell those who wait how their rollout goes."""
        telemetry.subscribe("rollout.began", self._began)
        telemetry.subscribe("rollout.phase", self._phase)
        telemetry.subscribe("rollout.reported", self._reported)

    async def reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Roll out a new generation with the configuration and the code as they are now; wait,
        unless `wait` is false."""
        request = RolloutRequest(
            "cli", "platform reload", forced=True, requester=str(current_caller())
        )
        if arguments.get("wait", True):
            return await self._outcome(request)
        self._owner.ask(request)
        return {"sentence": "A rollout was asked for; `platform history` tells what becomes of it."}

    async def stop(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to stop; the answer comes at once, with the process id to wait for."""
        self._owner.stop()
        return {"pid": os.getpid()}

    async def config_plan(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what a staged snapshot would change, with masked values."""
        plan = self._rollouts.plan(str(arguments["snapshot"]))
        return [change.to_json() for change in plan]

    async def config_apply(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a staged snapshot, unless another is pinned; wait for the outcome."""
        snapshot = str(arguments["snapshot"])
        if arguments.get("allow_empty"):
            self._configurations.allowed = snapshot
        request = RolloutRequest("cli", "platform config pull", snapshot)
        return await self._outcome(self._history.admit(request))

    async def config_explain(self, arguments: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return every place that sets a key, the winner first, with masked values."""
        places = self._configurations.explain(str(arguments["key"]))
        return [place.to_json() for place in places]

    async def config_history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return which snapshots there are and what became of the changes that were tried."""
        return {**asdict(self._history.state), "entries": self._history.audit()}

    async def config_rollback(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Go back to an applied snapshot and pin it."""
        number, path = self._history.pin(int(arguments.get("number", 0)))
        outcome = await self._outcome(RolloutRequest("cli", f"rollback to snapshot {number}", path))
        return {**outcome, "number": number}

    async def config_unpin(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Follow what is published again; apply what was withheld."""
        withheld = self._history.unpin()
        if not withheld:
            return {"sentence": "No snapshot was pinned."}
        return await self._outcome(RolloutRequest("cli", "platform config unpin", withheld))

    async def metrics(self, arguments: Mapping[str, Any]) -> Any:
        """Return the ledger's families after every child has been asked for its latest."""
        return await self._scrape.families()

    async def mem(self, arguments: Mapping[str, Any]) -> Any:
        """Return what grew in every worker within so many seconds, by line of source."""
        seconds, top = float(arguments.get("seconds", 10)), int(arguments.get("top", 10))
        return await trace_memory(self._platform.children, self._platform.questions, seconds, top)

    async def _outcome(self, request: RolloutRequest) -> dict[str, Any]:
        """Wait for the outcome of a request. Raises CommandRefused when it is refused."""
        if self._rollouts.scaler.drained:
            raise CommandRefused(DRAINED, "drained")
        self._number += 1
        outcome = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = (outcome, current_caller())
        self._owner.ask(replace(request, waiters=(self._number,)))
        report: Report = await outcome
        if report.outcome in ("refused", "rolled back"):
            raise CommandRefused(report.sentence + report.details)
        return report.to_json() | {"sentence": report.sentence}

    def _reported(self, fields: Mapping[str, Any]) -> None:
        for waiter in fields["request"].waiters:
            outcome, _ = self._waiting.pop(waiter, (None, None))
            if outcome is not None and not outcome.done():
                outcome.set_result(fields["report"])

    def _began(self, fields: Mapping[str, Any]) -> None:
        self._tell(fields["request"], {"phase": "planning", "generation": fields["generation"]})

    def _phase(self, fields: Mapping[str, Any]) -> None:
        news = {"phase": fields["phase"], "generation": fields["generation"]}
        self._tell(fields["request"], news)

    def _tell(self, request: RolloutRequest, news: Mapping[str, Any]) -> None:
        for waiter in request.waiters:
            _, caller = self._waiting.get(waiter, (None, None))
            if caller is not None:
                caller.tell(news)

    def stopping(self) -> None:
        """Tell everybody who waits that nothing will come of it."""
        for outcome, _ in self._waiting.values():
            if not outcome.done():
                outcome.set_exception(CommandRefused("The platform is stopping.", "stopping"))
        self._waiting.clear()
