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

from skep.base.rundir import RunDir, bind_unix
from skep.base.system import signals
from skep.base.telemetry import Telemetry
from skep.config.options import endpoints
from skep.config.options.table import Options
from skep.config.snapshots.archive import Archive
from skep.supervisor import status
from skep.supervisor.alarm import Alarm
from skep.supervisor.condition import Condition
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.config.history import Chronicle
from skep.supervisor.control.audit import Audit
from skep.supervisor.control.caller import current_caller
from skep.supervisor.control.commands import Commands
from skep.supervisor.control.inspection import Inspection
from skep.supervisor.control.logs import Logs
from skep.supervisor.control.records import Operation, Operations
from skep.supervisor.control.reload_tasks import Replacement
from skep.supervisor.control.restart import RESTART, Restart
from skep.supervisor.control.scaling import Strength
from skep.supervisor.control.send_task import Delivering
from skep.supervisor.control.server import Command, Control
from skep.supervisor.control.settling import Facts, Settling
from skep.supervisor.generation import Generation
from skep.supervisor.metrics.gauges import Gauges
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.metrics.memory import Memory
from skep.supervisor.metrics.scrape import Scrape
from skep.supervisor.observers.certificates import Certificates
from skep.supervisor.observers.hooks import HookCalls
from skep.supervisor.observers.log_and_count import Journal
from skep.supervisor.observers.platform_events import News
from skep.supervisor.observers.service_manager import ServiceManager
from skep.supervisor.outcomes import Outcomes
from skep.supervisor.processes.census import Census
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.report import Report, about
from skep.supervisor.rollout import gate as gates
from skep.supervisor.rollout.changes import Effect
from skep.supervisor.rollout.fallback import Fallback
from skep.supervisor.rollout.gate import Gate, Request
from skep.supervisor.rollout.rollouts import Succession
from skep.supervisor.rollout.surroundings import Surroundings
from skep.supervisor.signals import Signals
from skep.supervisor.sockets.inheritance import Inherited
from skep.supervisor.sockets.listeners import Listeners
from skep.supervisor.sockets.ports import Ports
from skep.supervisor.stop import Stop
from skep.wire.messages import Go, Hello, Message, NoConfiguration, Reported, RolloutAsked, Troubled

# What `platform start` exits with when the first generation does not come up, by stage.
_EXIT_CODES = {"config": 4, "check": 4, "commit": 4, "listen": 5}
EXIT_UNEXPECTED, EXIT_NOT_BOOTED, EXIT_UNCONFIGURED, EXIT_UNRECOVERABLE = 1, 3, 4, 7


class Supervisor:
    """One platform, from its start to its end."""

    def __init__(
        self,
        options: Options,
        flags: Mapping[str, Any],
        base: Mapping[str, str],
        run_dir: RunDir,
        inherited: Mapping[str, Inherited] | None = None,
        service: ServiceManager | None = None,
    ) -> None:
        self.run_id = uuid.uuid4().hex
        self._options = options
        self._base = base
        self._flags = flags
        self._run_dir = run_dir
        self._started = time.time()
        self._listeners = Listeners(inherited)
        self._service = service or ServiceManager({})
        self._telemetry = Telemetry()
        self._ledger = Ledger()
        self._gate = Gate()
        self._config: dict[str, Any] = {"source": "none"}
        self._outcomes = Outcomes()
        self._code = 0
        self._operation: Operation
        self._was_killed = run_dir.pid() is not None

    async def run(self) -> int:
        """Supervise until somebody says stop; return the exit code.

        Raises ListenError when a platform socket cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = self._loop.create_future()
        self.children = Children(self._reaped)
        self._commands = Commands(self)
        self.operations = Operations(self._run_dir.operations_file, time.time)
        self._scrape = Scrape(self._ledger)
        self.memory = Memory(self.children, self._telemetry)
        self._gauges = Gauges(self._ledger)
        self._news = News(lambda: self._succession.current)
        self._delivering = Delivering(lambda: self._succession.current)
        certificates = Certificates(lambda: self._succession.current, self.ask)
        told = (self._commands, self.operations, self._service, self._news, self._delivering)
        for listener in (Journal(self._ledger), certificates, *told):
            listener.subscribe(self._telemetry)
        self._make_crews()
        self._alarm = Alarm(self._earliest, self._ring)
        self.strength = Strength(self._succession, self._alarm.set)
        self.logs = Logs(self.children, self._platform.crew, self._options.log_file)
        self.condition = Condition(self._succession, self._platform.crew, self.strength)
        hooks = HookCalls(lambda: self._succession.current, self.children)
        hooks.subscribe(self._telemetry)
        self._end_of_all = Stop(
            self._succession, self._platform, hooks, lambda: bool(self.children)
        )
        restart = Restart(self, self._service.environment)
        looking = Inspection(
            self.children, self._succession, self._platform.crew, self._ports.urls, self.operations
        )
        replacing = Replacement(self._succession, self.operations, self._telemetry)
        table: dict[str, Command] = {}
        self._settling = Settling(self._facts)
        offering = (
            *(self._commands, self.strength, replacing, restart, looking),
            *(self._delivering, self._settling),
        )
        for commands in offering:
            table |= commands.table()
        self._control = Control(table, Audit(self._run_dir.audit_file), self.operations)
        Signals(self).handle()
        self._service.watch()
        try:
            await self._open()
            return await self._end
        finally:
            await self._close()

    def ask(self, request: Request) -> None:
        """Let a request for a rollout in."""
        if self.condition.stopping:
            self._commands.stopping()
            return
        self._gate = gates.ask(self._gate, request, self._loop.time())
        self._alarm.set()

    def _put_back(self, request: Request) -> None:
        """Let a request wait that was begun already."""
        self._gate = gates.put_back(self._gate, request, self._loop.time())
        self._alarm.set()

    def stop(self, code: int = 0, operation: Operation | None = None) -> None:
        """Stop gracefully; a second call stops at once, unless it turns a restart into a stop."""
        if self.condition.stopping and self._code != RESTART:
            self._end_of_all.at_once()
            return
        if self.condition.stopping:
            self.operations.end(self._operation, "superseded")
        caller = str(current_caller() or "signal")
        self._operation = operation or self.operations.begin("stop", caller)
        self._telemetry.point("platform.stopping", restart=code == RESTART)
        self._code = code
        if not self.condition.stopping:
            self.condition.stopping = True
            self._commands.stopping()
            self._settling.look(stopping=True)
            self._stop_task = self._loop.create_task(self._stop())

    def legacy(self) -> dict[str, Inherited]:
        """Return the listeners that the next supervisor inherits."""
        return self._listeners.legacy()

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        return status.document(
            state=self.condition.state,
            reasons=self.condition.reasons(),
            pid=os.getpid(),
            run_id=self.run_id,
            started=self._started,
            urls=self._ports.urls(),
            platform=self._platform.crew,
            succession=self._succession,
            config=self._config,
            outcomes=self._outcomes,
            chronicle=self.chronicle,
            env_file=self.configurations.env_file,
        )

    def plan(self, snapshot: str) -> list[Effect]:
        """Return what a staged snapshot would change, and how. Raises PlatformError."""
        return self._succession.plan(snapshot)

    async def scrape(self) -> Any:
        """Ask every child for its latest metrics and return the families of the ledger."""
        current = self._succession.current
        wanted = [self._platform.crew, *([current.crew] if current else [])]
        self._gauges.process()
        self._gauges.state(self.condition.state, self._outcomes)
        self._gauges.readiness(wanted)
        in_place = self.configurations.in_place
        self._gauges.config(current.configuration if current else None, self._config, in_place)
        leaving = [g.crew for g in self._succession.generations.all if g is not current]
        return await self._scrape.families(list(self.children), wanted, leaving)

    # The beginning and the end.

    def _make_crews(self) -> None:
        archive = Archive.of(self._options, self._run_dir.config_dir)
        self.chronicle = Chronicle(archive)
        self._fallback = Fallback(self.chronicle, self.ask)
        self.configurations = Configurations(
            self._base,
            self._flags,
            self._options.env_path,
            self._run_dir.path,
            archive,
        )
        census = Census(self.children.born, self.children.reaped, self._ended)
        self._platform = PlatformSlots(
            self.run_id,
            self._base,
            lambda: self._options,
            census,
            self._told,
            self._go,
            self._failed,
            self._telemetry,
        )
        around = Surroundings(
            run_id=self.run_id,
            nursery=self._platform.nursery,
            census=census,
            put_back=self._put_back,
            told=self._told,
            bind=self._bind,
            go=self._go,
            part=lambda former, then: self._ports.part(former, then),
            reported=self._reported,
            held=self.chronicle.held,
            unheld=self._fallback.unheld,
            hopeless=self._give_up,
        )
        self._succession = Succession(self.configurations, around, self._telemetry)
        self._ports = Ports(self._listeners, self._succession, patient=self._was_killed)

    async def _open(self) -> None:
        """Open what does not depend on the configuration, and start the platform slots."""
        self._listeners.add("store", bind_unix(self._run_dir.store_socket))
        await self._control.start(bind_unix(self._run_dir.control_socket))
        self._run_dir.pid_file.write_text(f"{os.getpid()}\n")
        if not self._options.has_service and not self._options.offline:
            wanted = [endpoints.config_server(self._options)]
            await self._listeners.open(wanted, patient=self._was_killed)
            url = f"http://127.0.0.1:{self._listeners.port('config')}"
            self._options = replace(self._options, config_server=(url,))
            self._platform.fill("configserver.0", released=True)
        self._platform.fill("store.0", released=True)
        self._platform.nursery.start()
        # It listens when there is something to say: after the first configuration.
        self._platform.fill("agent.0", released=False)
        self._alarm.set()

    async def _bind(self, generation: Generation) -> None:
        await self._ports.bind(generation)
        self._platform.crew.release(["agent.0"])

    async def _stop(self) -> None:
        await self._end_of_all.carry_out(self._shut, self._alarm.set)
        self.operations.end(self._operation, "restarted" if self._code == RESTART else "stopped")
        self._end.set_result(self._code)

    async def _shut(self) -> None:
        if self._code != RESTART:  # then they wait for the next
            await self._ports.close()

    async def _close(self) -> None:
        signals.hold()  # the loop takes its handlers along, and the default action is another code
        self.condition.stopping = True
        await self._control.stop()
        if self._code != RESTART:
            self._listeners.close()
        self._alarm.cancel()
        self.children.kill()
        self._run_dir.leave()

    # What happens.

    def _reaped(self, pid: int, status: int) -> None:
        self._succession.checks.reaped(pid, status)
        self._alarm.set()

    def _told(self, child: Child, message: Message, descriptors: list[int]) -> None:
        self._ports.heard(message)
        self._scrape.told(child, message)
        self.memory.told(child, message)
        match message:
            case Hello():
                self.children.born(child)
            case Reported(state):
                self._config = self.condition.config = state
                self._outcomes.refusals.follow(state)
                self._report_refusals()
                self._settling.look()
            case Troubled(reasons):
                self.condition.store = reasons
            case NoConfiguration(reason, code):
                self._unconfigured(reason, code)
            case RolloutAsked():
                self._asked(message)
        self._news.told(message)
        self._delivering.told(message)
        self._alarm.set_soon()

    def _asked(self, asked: RolloutAsked) -> None:
        request = gates.requested(asked, starting=self._succession.current is None)
        request = self.chronicle.admit(request)
        self.ask(replace(request, live=self._succession.might_be_live(request)))

    def _unconfigured(self, reason: str, code: int) -> None:
        if self._succession.current is None and not self.condition.stopping:
            self._telemetry.point("config.absent", reason=reason)
            self.stop(code)

    def _failed(self, child: Child) -> None:
        """A platform slot cannot do its work. Before there is a first generation that ends it all;
        later it is started again and again while the generation serves."""
        if self._succession.current is None and not self.condition.stopping:
            problem = child.problem
            self._telemetry.point("config.absent", reason=f"{child.name}: {problem}")
            self.stop(EXIT_UNCONFIGURED if child.slot == "configserver.0" else EXIT_UNEXPECTED)

    def _give_up(self, why: str) -> None:
        if not self.condition.stopping:
            self._telemetry.point("platform.hopeless", why=why)
            self.stop(EXIT_UNRECOVERABLE)

    def _ended(self, child: Child) -> None:
        self.children.ended(child)
        self._ledger.forget(child.name)
        self._scrape.gone(child)
        self._telemetry.point("worker.ended", child=child, stopping=self.condition.stopping)
        self._alarm.set_soon()

    def _go(self, crew: Crew, child: Child) -> None:
        """Give a prepared child its listeners."""
        names, descriptors = self._ports.of(child)
        handover = self._succession.handover(child)
        child.send(Go(names, handover, len(descriptors)), descriptors)

    def _reported(self, request: Request, report: Report) -> None:
        self._ports.close_unused()
        self._outcomes.take(report, self._fallback.refused)
        self._telemetry.point("rollout.reported", report=report, request=request)
        self._commands.reported(request, report)
        current = self._succession.current
        self.chronicle.reported(request, report, current.configuration if current else None)
        if current is not None:
            options = current.configuration.options
            self.logs.set_level(options.log_level)
            if not self._outcomes.serving:
                self._telemetry.point("platform.serving", urls=self._ports.urls())
            self._outcomes.compare(options)
        elif report.outcome == "refused" and not self._fallback.refusal(request, report):
            stage = report.problems[0].stage if report.problems else "load"
            self.stop(_EXIT_CODES.get(stage, EXIT_NOT_BOOTED))
        self._report_refusals()
        self._settling.look()

    def _facts(self) -> Facts:
        """Return what is known of the releases of each namespace."""
        current, chronicle = self._succession.current, self.chronicle
        return Facts(
            in_force=current.configuration.release_keys if current else {},
            offered=self._config.get("release_keys") or {},
            withheld=chronicle.withheld_keys,
            refused={**chronicle.refused, **self._outcomes.refusals.by_namespace},
            generation=current.number if current else 0,
            pinned=chronicle.state.pinned,
            drained=self.strength.drained,
        )

    def _report_refusals(self) -> None:
        """Report the releases that the agent has refused, as soon as no rollout is going on: until
        then every report is about that."""
        if self._succession.coming is not None:
            return
        current = self._succession.current
        for refusal in self._outcomes.refusals.take():
            request = refusal.request
            report = about(request, "refused", current, request.problems, 0.0, 0.0)
            self._outcomes.refuse(report)
            self._telemetry.point("rollout.reported", report=report, request=request)
            self.chronicle.reported(request, report, current.configuration if current else None)

    # Timers.

    def _earliest(self) -> float | None:
        due = self._gate.due if self._may_begin() else None
        times = (due, self._platform.crew.deadline, self._succession.deadline)
        return min((t for t in times if t is not None), default=None)

    def _may_begin(self) -> bool:
        pending = self._gate.pending
        has_config = self._succession.current is not None or bool(pending and pending.snapshot)
        is_open = not self.condition.stopping and not self.strength.drained
        return has_config and is_open and not self._succession.busy

    def _ring(self) -> None:
        now = self._loop.time()
        self._platform.crew.expire(now)
        self._succession.expire(now)
        if self._may_begin():
            self._gate, request = gates.take(self._gate, now)
            if request is not None:
                self._succession.begin(request)
