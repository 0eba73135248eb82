"""The control socket with all its commands."""

import time
from collections.abc import Callable, Mapping

from skep.base.rundir import RunDir, bind_unix
from skep.base.telemetry import Telemetry
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.control.commands import Commands, ControlOwner
from skep.supervisor.control.inspection import Inspection, Logs
from skep.supervisor.control.records import Audit, Operations
from skep.supervisor.control.reload_tasks import ReloadTasks
from skep.supervisor.control.restart import Restart
from skep.supervisor.control.scaling import Scaling
from skep.supervisor.control.send_task import SendTask
from skep.supervisor.control.server import Command, ControlServer
from skep.supervisor.control.settling import Facts, ReleaseSettling
from skep.supervisor.health import Health
from skep.supervisor.metrics.scrape import MetricsScrape
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.rollout.rollouts import Rollouts


class Control:
    """What operators control the platform with.

    `urls` returns the addresses of the listeners, `changed` is called when the number of workers
    was changed, `environment` is that of the start, for a restart.
    """

    def __init__(
        self,
        owner: ControlOwner,
        rollouts: Rollouts,
        configurations: Configurations,
        history: ConfigHistory,
        health: Health,
        scrape: MetricsScrape,
        platform: PlatformSlots,
        telemetry: Telemetry,
        run_dir: RunDir,
        *,
        urls: Callable[[], dict[str, str]],
        changed: Callable[[], None],
        log_file: str,
        environment: Mapping[str, str],
    ) -> None:
        self._rollouts, self._history, self._health = rollouts, history, health
        self._run_dir = run_dir
        children = platform.children
        self.operations = Operations(run_dir.operations_file, time.time)
        self.logs = Logs(children, platform.crew, log_file)
        self.scaling = Scaling(rollouts, changed)
        self._commands = Commands(
            owner, rollouts, configurations, history, health, scrape, platform
        )
        self._settling = ReleaseSettling(self._facts)
        self._commands.subscribe(telemetry)
        self.operations.subscribe(telemetry)
        table: dict[str, Command] = {}
        for offered in (
            self._commands,
            self.scaling,
            ReloadTasks(rollouts, self.operations, telemetry),
            Restart(owner, self.operations, environment),
            Inspection(children, rollouts, platform.crew, urls, self.operations),
            SendTask(lambda: rollouts.current, platform.questions),
            self._settling,
        ):
            table |= offered.table()
        self._server = ControlServer(table, Audit(run_dir.audit_file), self.operations)

    async def start(self) -> None:
        """Listen on the control socket."""
        await self._server.start(bind_unix(self._run_dir.control_socket))

    async def stop(self) -> None:
        """Answer what is being asked, for a moment, and close."""
        await self._server.stop()

    def stopping(self) -> None:
        """Answer the commands that wait for a rollout: the platform stops."""
        self._commands.stopping()
        self._settling.look(stopping=True)

    def look(self) -> None:
        """Have the commands that wait for a release look again."""
        self._settling.look()

    def _facts(self) -> Facts:
        current, health = self._rollouts.current, self._health
        refused = health.outcomes.refusals.by_namespace
        return Facts(
            in_force=current.configuration.release_keys if current else {},
            offered=health.config.get("release_keys") or {},
            withheld=self._history.withheld_keys,
            refused={**self._history.refused, **refused},
            generation=current.number if current else 0,
            pinned=self._history.state.pinned,
            drained=self._rollouts.scaler.drained,
        )
