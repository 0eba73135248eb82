"""The one parent process: signals, exits, timers and messages become facts; orders become acts.

It imports no plugin code, no web server and no HTTP client. What may crash lives elsewhere.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skep.base.rundir import bind_unix
from skep.base.system import signals
from skep.config.options import endpoints
from skep.supervisor.alarm import Alarm
from skep.supervisor.control.control import Control
from skep.supervisor.control.records import Operation
from skep.supervisor.control.restart import RESTART
from skep.supervisor.control.server import current_caller
from skep.supervisor.generation import about
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.metrics.scrape import MetricsScrape
from skep.supervisor.observers.observers import Observers
from skep.supervisor.parts import Parts, Start
from skep.supervisor.processes.child import Child
from skep.supervisor.request import Report, RolloutRequest
from skep.supervisor.rollout import gate as gates
from skep.supervisor.rollout.gate import Gate
from skep.supervisor.signals import Signals
from skep.supervisor.sockets.inheritance import Inherited
from skep.supervisor.stop import Stop
from skep.wire.messages import Hello, Message, NoConfiguration, Reported, RolloutAsked, Troubled

# What `platform start` exits with when the first generation does not come up, by stage.
_EXIT_CODES = {"config": 4, "check": 4, "commit": 4, "listen": 5}
EXIT_UNEXPECTED, EXIT_NOT_BOOTED, EXIT_UNCONFIGURED, EXIT_UNRECOVERABLE = 1, 3, 4, 7


class Supervisor:
    """One platform, from its start to its end; made in a running event loop."""

    def __init__(self, start: Start) -> None:
        self.run_id = uuid.uuid4().hex
        self._started = time.time()
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = self._loop.create_future()
        self._run_dir = start.run_dir
        self._gate = Gate()
        self._code = 0
        self._operation: Operation | None = None
        self._stop_task: asyncio.Task[None] | None = None
        self._parts = parts = Parts(self.run_id, start, self)
        self._rollouts, self._health, self._history = parts.rollouts, parts.health, parts.history
        self._telemetry, self._ports, self._platform = parts.telemetry, parts.ports, parts.platform
        self._alarm = Alarm(self._earliest, self._ring)
        ledger = Ledger()
        self._scrape = MetricsScrape(
            ledger,
            self._platform,
            self._rollouts,
            self._health,
            parts.configurations,
            self._telemetry,
        )
        self._observers = Observers(
            self._telemetry,
            ledger,
            parts.children,
            lambda: self._rollouts.current,
            self.ask,
            start.service,
        )
        self._control = Control(
            self,
            self._rollouts,
            parts.configurations,
            self._history,
            self._health,
            self._scrape,
            self._platform,
            self._telemetry,
            start.run_dir,
            urls=self._ports.urls,
            changed=self._alarm.set,
            log_file=start.options.log_file,
            environment=start.service.environment,
        )
        self._end_of_all = Stop(self._rollouts, self._platform, self._observers.hooks)

    async def run(self) -> int:
        """Supervise until `stop` is called; return the exit code.

        Raises ListenError when a platform socket cannot be bound.
        """
        Signals(self, self._parts.children, self._control).handle()
        self._observers.service.watch()
        try:
            await self._open()
            return await self._end
        finally:
            await self._close()

    def ask(self, request: RolloutRequest) -> None:
        """Accept a request for a rollout."""
        if self._health.stopping:
            self._control.stopping()
            return
        self._gate = gates.ask(self._gate, request, self._loop.time())
        self._alarm.set()

    def put_back(self, request: RolloutRequest) -> None:
        """Queue a request that was begun already."""
        self._gate = gates.put_back(self._gate, request, self._loop.time())
        self._alarm.set()

    def stop(self, code: int = 0, operation: Operation | None = None) -> None:
        """Stop gracefully; a second call stops at once, unless it turns a restart into a stop."""
        if self._health.stopping and self._code != RESTART:
            self._end_of_all.at_once()
            return
        if self._health.stopping:
            self._end_operation("superseded")
        caller = str(current_caller() or "signal")
        self._operation = operation or self._control.operations.begin("stop", caller)
        self._telemetry.point("platform.stopping", restart=code == RESTART)
        self._code = code
        if not self._health.stopping:
            self._health.stopping = True
            self._control.stopping()
            self._stop_task = self._loop.create_task(self._stop())

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        env_file = str(self._parts.configurations.env_file.absolute())
        return self._health.document(self.run_id, self._started, self._ports.urls(), env_file)

    # The beginning and the end.

    async def _open(self) -> None:
        listeners, platform = self._parts.listeners, self._platform
        listeners.add("store", bind_unix(self._run_dir.store_socket))
        await self._control.start()
        self._run_dir.pid_file.write_text(f"{os.getpid()}\n")
        if not platform.options.has_service and not platform.options.offline:
            wanted = [endpoints.config_server(platform.options)]
            await listeners.open(wanted, patient=self._parts.was_killed)
            url = f"http://127.0.0.1:{listeners.port('config')}"
            platform.options = replace(platform.options, config_server=(url,))
            platform.fill("configserver.0", released=True)
        platform.fill("store.0", released=True)
        platform.nursery.start()
        # It listens when there is something to say: after the first configuration.
        platform.fill("agent.0", released=False)
        self._alarm.set()

    async def _stop(self) -> None:
        await self._end_of_all.carry_out(self._shut, self._alarm.set)
        self._end_operation("restarted" if self._code == RESTART else "stopped")
        self._end.set_result(self._code)

    def _end_operation(self, outcome: str) -> None:
        if self._operation is not None:
            self._control.operations.end(self._operation, outcome)

    async def _shut(self) -> None:
        if self._code != RESTART:  # then they wait for the next
            await self._ports.close()

    async def _close(self) -> None:
        signals.hold()  # the loop takes its handlers along, and the default action is another code
        self._health.stopping = True
        await self._control.stop()
        if self._code != RESTART:
            self._parts.listeners.close()
        self._alarm.cancel()
        self._parts.children.kill()
        self._run_dir.leave()

    # What happens.

    def reaped(self, pid: int, status: int) -> None:
        """A process has ended, perhaps that of a config check."""
        self._rollouts.checks.reaped(pid, status)
        self._alarm.set()

    def told(self, child: Child, message: Message, descriptors: list[int]) -> None:
        """A child has sent a message."""
        self._ports.heard(message)
        self._scrape.told(child, message)
        self._parts.questions.told(child, message)
        match message:
            case Hello():
                self._parts.children.born(child)
            case Reported(state):
                self._health.config = state
                self._health.outcomes.refusals.follow(state)
                self._report_refusals()
                self._control.look()
            case Troubled(reasons):
                self._health.store = reasons
            case NoConfiguration(reason, code):
                self._unconfigured(reason, code)
            case RolloutAsked():
                self._asked(message)
        self._observers.events.told(message)
        self._alarm.set_soon()

    def _asked(self, asked: RolloutAsked) -> None:
        request = gates.requested(asked, starting=self._rollouts.current is None)
        request = self._history.admit(request)
        self.ask(replace(request, live=self._rollouts.might_be_live(request)))

    def _unconfigured(self, reason: str, code: int) -> None:
        if self._rollouts.current is None and not self._health.stopping:
            self._telemetry.point("config.absent", reason=reason)
            self.stop(code)

    def failed(self, child: Child) -> None:
        """A platform slot cannot do its work. Before there is a first generation that ends it all;
        later it is started again and again while the generation serves."""
        code = EXIT_UNCONFIGURED if child.slot == "configserver.0" else EXIT_UNEXPECTED
        self._unconfigured(f"{child.name}: {child.problem}", code)

    def give_up(self, why: str) -> None:
        """The generation in service cannot be kept up any more."""
        if not self._health.stopping:
            self._telemetry.point("platform.hopeless", why=why)
            self.stop(EXIT_UNRECOVERABLE)

    def ended(self, child: Child) -> None:
        """A child is gone."""
        self._telemetry.point("worker.ended", child=child, stopping=self._health.stopping)
        self._alarm.set_soon()

    def reported(self, request: RolloutRequest, report: Report) -> None:
        """This became of a request."""
        outcomes, fallback = self._health.outcomes, self._parts.fallback
        self._ports.close_unused()
        outcomes.take(report, fallback.refused)
        self._publish(request, report)
        current = self._rollouts.current
        if current is not None:
            options = current.configuration.options
            self._control.logs.set_level(options.log_level)
            if not outcomes.serving:
                self._telemetry.point("platform.serving", urls=self._ports.urls())
            outcomes.compare(options)
        elif report.outcome == "refused" and not fallback.refusal(request, report):
            stage = report.problems[0].stage if report.problems else "load"
            self.stop(_EXIT_CODES.get(stage, EXIT_NOT_BOOTED))
        self._report_refusals()
        self._control.look()
        self._alarm.set_soon()

    def _report_refusals(self) -> None:
        """Report the releases that the agent has refused, as soon as no rollout is going on: until
        then every report is about that."""
        if self._rollouts.coming is not None:
            return
        for refusal in self._health.outcomes.refusals.take():
            request, current = refusal.request, self._rollouts.current
            report = about(request, "refused", current, request.problems, 0.0, 0.0)
            self._health.outcomes.refuse(report)
            self._publish(request, report)

    def _publish(self, request: RolloutRequest, report: Report) -> None:
        self._telemetry.point("rollout.reported", report=report, request=request)
        current = self._rollouts.current
        self._history.reported(request, report, current.configuration if current else None)

    # Timers.

    def _earliest(self) -> float | None:
        due = self._gate.due if self._may_begin() else None
        times = (due, self._platform.crew.deadline, self._rollouts.deadline)
        return min((t for t in times if t is not None), default=None)

    def _may_begin(self) -> bool:
        pending = self._gate.pending
        has_config = self._rollouts.current is not None or bool(pending and pending.snapshot)
        is_open = not self._health.stopping and not self._rollouts.scaler.drained
        return has_config and is_open and not self._rollouts.busy

    def _ring(self) -> None:
        now = self._loop.time()
        self._platform.crew.expire(now)
        self._rollouts.expire(now)
        if self._may_begin():
            self._gate, request = gates.take(self._gate, now)
            if request is not None:
                self._rollouts.begin(request)


async def supervise(start: Start) -> tuple[int, Mapping[str, Inherited]]:
    """Run a platform; return the exit code, and the listeners that the next one inherits."""
    return await Supervisor(start).run(), start.listeners.legacy()
