"""The one parent process: signals, exits, timers and messages become facts; orders become acts.

It imports no plugin code, no web server and no HTTP client. What may crash lives elsewhere.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from skep.base.rundir import bind_unix
from skep.base.system import signals
from skep.base.system.linux import become_subreaper
from skep.base.waiting import until
from skep.config.env.secret_file import make_key
from skep.config.options import endpoints
from skep.supervisor.control.control import Control
from skep.supervisor.control.records import Operation
from skep.supervisor.control.restart import RESTART
from skep.supervisor.control.server import current_caller
from skep.supervisor.generation import about
from skep.supervisor.parts import Parts
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.events import PlatformServing, PlatformStopping, RolloutReported
from skep.supervisor.request import Report, RolloutRequest
from skep.supervisor.rollout import gate as gates
from skep.supervisor.rollout.gate import Gate
from skep.supervisor.sockets.inheritance import Inherited
from skep.supervisor.start import Start
from skep.wire.messages import Failed, NoConfiguration, Reported, RolloutAsked, Scheduled, Troubled

log = logging.getLogger("skep")

# What `platform start` exits with when the first generation does not come up, by stage.
_EXIT_CODES = {"config": 4, "check": 4, "commit": 4, "listen": 5}
_EXIT_CODES_OF_SLOTS = {"configserver.0": 4, "schedule.0": 2}
EXIT_UNEXPECTED, EXIT_NOT_BOOTED, EXIT_UNRECOVERABLE = 1, 3, 7
# A platform slot, and what is left at last, has nothing of its own that takes long.
_SHORT = 5.0


class Supervisor:
    """One platform, from its start to its end; made in a running event loop."""

    def __init__(self, start: Start) -> None:
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._run_dir = start.run_dir
        self._gate = Gate()
        self._code = 0
        self._hurried = False
        self._operation: Operation | None = None
        self._stop_task: asyncio.Task[None] | None = None
        self._parts = parts = Parts(start, self, partial(self._loop.call_soon, self._set_timer))
        self._rollouts, self._health, self._history = parts.rollouts, parts.health, parts.history
        self._ports, self._platform, self._children = parts.ports, parts.platform, parts.children
        self._events = parts.children.events
        self._control = Control(self, parts, start)
        self._children.on(Reported, self._config_reported)
        self._children.on(Troubled, self._troubled)
        self._children.on(Scheduled, self._scheduled)
        self._children.on(NoConfiguration, self._no_configuration)
        self._children.on(RolloutAsked, self._asked)
        self._children.on(Failed, self._failed)

    async def run(self) -> int:
        """Supervise until `stop` is called; return the exit code.

        Raises ListenError when a platform socket cannot be bound.
        """
        self._handle_signals()
        self._parts.observers.service.watch()
        try:
            await self._open()
            return await self._end
        finally:
            await self._close()

    def ask(self, request: RolloutRequest) -> None:
        """Accept a request for a rollout."""
        if self._children.stopping:
            self._control.stopping()
            return
        self._gate = gates.ask(self._gate, request, self._loop.time())
        self._set_timer()

    def put_back(self, request: RolloutRequest) -> None:
        """Queue a request that was begun already."""
        self._gate = gates.put_back(self._gate, request, self._loop.time())
        self._set_timer()

    def stop(self, code: int = 0, operation: Operation | None = None) -> None:
        """Stop gracefully; a second call stops at once, unless it turns a restart into a stop."""
        stopping = self._children.stopping
        if stopping and self._code != RESTART:
            self._hurried = True
            self._rollouts.generations.kill()
            self._platform.crew.kill()
            return
        if stopping:
            self._end_operation("superseded")
        caller = str(current_caller() or "signal")
        self._operation = operation or self._control.operations.begin("stop", caller)
        self._events.publish(PlatformStopping(restart=code == RESTART))
        self._code = code
        if not stopping:
            self._children.stopping = True
            self._control.stopping()
            self._stop_task = self._loop.create_task(self._stop())

    def inheritable(self) -> dict[str, Inherited]:
        """Return the sockets that the next supervisor is to inherit."""
        return self._parts.listeners.inheritable() | self._parts.inboxes.inheritable()

    # The beginning and the end.

    async def _open(self) -> None:
        listeners, platform = self._parts.listeners, self._platform
        listeners.add("store", bind_unix(self._run_dir.store_socket))
        await self._control.server.start(bind_unix(self._run_dir.control_socket))
        self._run_dir.pid_file.write_text(f"{os.getpid()}\n")
        if not platform.options.has_service and not platform.options.offline:
            wanted = [endpoints.config_server(platform.options)]
            await listeners.open(wanted, patient=self._parts.was_killed)
            url = f"http://127.0.0.1:{listeners.port('config')}"
            directory = self._run_dir.configserver_dir
            platform.options = endpoints.embedded(platform.options, url, directory)
            if not platform.options.config_server_open:
                # Made here, because the agent may ask before the server has made it.
                make_key(endpoints.access_key(directory))
            platform.fill("configserver.0", released=True)
        platform.fill("store.0", released=True)
        platform.nursery.start()
        # It listens when there is something to say: after the first configuration.
        platform.fill("agent.0", released=False)
        if platform.options.crontab and platform.options.cron:
            # Commands may ask the platform for something: they run from the first generation on.
            platform.fill("schedule.0", released=False)
        self._set_timer()

    async def _stop(self) -> None:
        """Stop the generations and the schedule, then the agent and the config server, then the
        store, because workers that drain still settle what they finish; the zygotes at last."""
        generations, crew = self._rollouts.generations, self._platform.crew
        options = generations.options
        # A load balancer sees that the platform is not ready, and sends the requests elsewhere.
        await until(lambda: self._hurried, options.stop_delay)
        patience = options.stop_timeout or generations.patience
        if not self._hurried and self._code != RESTART:  # then connections wait for the next
            await self._ports.close()
        self._rollouts.stop()
        crew.retire({"schedule.0"})
        self._set_timer()
        if not await until(self._work_is_over, patience):
            generations.kill()
            crew.kill({"schedule.0"})
            await until(self._work_is_over, _SHORT)
        if not self._hurried:
            await self._parts.observers.hooks.say_goodbye()
        for slots in ({"agent.0", "configserver.0"}, {"store.0"}):
            crew.retire(slots)
            self._set_timer()
            await until(partial(crew.children.keys().isdisjoint, slots), _SHORT)
        crew.kill()
        generations.end()
        self._platform.nursery.stop()
        await until(lambda: not self._children, _SHORT)
        self._end_operation("restarted" if self._code == RESTART else "stopped")
        self._end.set_result(self._code)

    def _work_is_over(self) -> bool:
        return (
            not self._rollouts.generations.alive
            and "schedule.0" not in self._platform.crew.children
        )

    def _end_operation(self, outcome: str) -> None:
        if self._operation is not None:
            self._control.operations.end(self._operation, outcome)

    async def _close(self) -> None:
        signals.hold()  # the loop takes its handlers along, and the default action is another code
        self._children.stopping = True
        await self._control.server.stop()
        if self._code != RESTART:
            self._parts.listeners.close()
            self._parts.inboxes.close()
        if self._timer is not None:
            self._timer.cancel()
        self._children.kill()
        await until(self._children.no_orphans, _SHORT)
        self._run_dir.leave()

    def _handle_signals(self) -> None:
        become_subreaper()
        scaling = self._control.scaling
        for number, act in (
            (signal.SIGCHLD, self._children.reap),
            (signal.SIGTERM, self.stop),
            (signal.SIGINT, self.stop),
            (signal.SIGQUIT, self._quit),
            (signal.SIGHUP, partial(self.ask, RolloutRequest("signal", "SIGHUP", forced=True))),
            (signal.SIGTTIN, partial(scaling.one_web_worker, more=True)),
            (signal.SIGTTOU, partial(scaling.one_web_worker, more=False)),
            (signal.SIGWINCH, self._window_changed),
            (signal.SIGUSR1, self._control.inspection.reopen_log),
            (signal.SIGUSR2, lambda: None),
        ):
            self._loop.add_signal_handler(number, act)
        signals.let_go()

    def _quit(self) -> None:
        self.stop()
        self.stop()

    def _window_changed(self) -> None:
        # Only a terminal sends it for that; without one an operator does, to drain.
        if not os.isatty(0) and not os.isatty(1):
            self._control.scaling.begin_drain()

    # What happens.

    def _config_reported(self, _: Child, message: Reported) -> None:
        self._health.config = message.state
        self._health.outcomes.refusals.follow(message.state)
        self._report_refusals()
        self._control.settling.look()

    def _troubled(self, child: Child, message: Troubled) -> None:
        self._health.of_slots[child.slot] = message.reasons

    def _scheduled(self, _: Child, message: Scheduled) -> None:
        self._health.schedule = message.state

    def _asked(self, _: Child, message: RolloutAsked) -> None:
        request = gates.requested(message, starting=self._rollouts.current is None)
        request = self._history.admit(request)
        self.ask(replace(request, live=self._rollouts.might_be_live(request)))

    def _no_configuration(self, _: Child, message: NoConfiguration) -> None:
        self._give_up_start(message.reason, message.code)

    def _failed(self, child: Child, message: Failed) -> None:
        """A platform slot cannot do its work. Before there is a first generation that ends it all;
        later it is started again and again while the generation serves."""
        if self._platform.crew.children.get(child.slot) is child:
            code = _EXIT_CODES_OF_SLOTS.get(child.slot, EXIT_UNEXPECTED)
            self._give_up_start(f"{child.name}: {message.problem}", code)

    def _give_up_start(self, reason: str, code: int) -> None:
        if self._rollouts.current is None and not self._children.stopping:
            log.error("%s", reason)
            self.stop(code)

    def give_up(self, why: str) -> None:
        """The generation in service cannot be kept up any more."""
        if not self._children.stopping:
            log.critical("giving up, exit code 7: %s", why)
            self.stop(EXIT_UNRECOVERABLE)

    def reported(self, request: RolloutRequest, report: Report) -> None:
        """This became of a request."""
        outcomes, fallback = self._health.outcomes, self._parts.fallback
        self._ports.close_unused()
        outcomes.take(report, fallback.refused)
        self._publish(request, report)
        current = self._rollouts.current
        if current is not None:
            options = current.configuration.options
            self._control.inspection.set_log_level(options.log_level)
            if outcomes.first is None:
                self._platform.crew.release(["schedule.0"])
                self._events.publish(PlatformServing(self._ports.urls()))
            outcomes.compare(options)
        elif report.outcome == "refused" and not fallback.refusal(request, report):
            stage = report.problems[0].stage if report.problems else "load"
            self.stop(_EXIT_CODES.get(stage, EXIT_NOT_BOOTED))
        self._report_refusals()
        self._control.settling.look()
        self._loop.call_soon(self._set_timer)

    def _report_refusals(self) -> None:
        """Report the releases that the agent has refused, as soon as no rollout is going on: until
        then every report is about that."""
        if self._rollouts.coming is not None:
            return
        for request in self._health.outcomes.refusals.take():
            current = self._rollouts.current
            report = about(request, "refused", current, request.problems, 0.0, 0.0)
            self._health.outcomes.refuse(report)
            self._publish(request, report)

    def _publish(self, request: RolloutRequest, report: Report) -> None:
        self._events.publish(RolloutReported(request, report))
        current = self._rollouts.current
        self._history.reported(request, report, current.configuration if current else None)

    # One timer for all deadlines.

    def _earliest(self) -> float | None:
        due = self._gate.due if self._may_begin() else None
        times = (due, self._platform.crew.deadline, self._rollouts.deadline)
        return min((t for t in times if t is not None), default=None)

    def _may_begin(self) -> bool:
        pending = self._gate.pending
        has_config = self._rollouts.current is not None or bool(pending and pending.snapshot)
        is_open = not self._children.stopping and not self._rollouts.scaler.drained
        return has_config and is_open and not self._rollouts.busy

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        moment = self._earliest()
        self._timer = self._loop.call_at(moment, self._ring) if moment is not None else None

    def _ring(self) -> None:
        now = self._loop.time()
        try:
            self._platform.crew.expire(now)
            self._rollouts.expire(now)
            if self._may_begin():
                self._gate, request = gates.take(self._gate, now)
                if request is not None:
                    self._rollouts.begin(request)
        finally:
            self._set_timer()


async def supervise(start: Start) -> tuple[int, Mapping[str, Inherited]]:
    """Run a platform; return the exit code, and the sockets that the next one inherits."""
    supervisor = Supervisor(start)
    return await supervisor.run(), supervisor.inheritable()
