"""The control socket with all its commands."""

import time

from skep.supervisor.control.commands import Commands, ControlOwner
from skep.supervisor.control.inspection import Inspection
from skep.supervisor.control.processes import Processes
from skep.supervisor.control.records import Audit, Operations
from skep.supervisor.control.reload_tasks import ReloadTasks
from skep.supervisor.control.restart import Restart
from skep.supervisor.control.scaling import Scaling
from skep.supervisor.control.send_task import SendTask
from skep.supervisor.control.server import Command, ControlServer
from skep.supervisor.control.settling import Facts, ReleaseSettling
from skep.supervisor.control.timer import Timer
from skep.supervisor.parts import Parts
from skep.supervisor.start import Start


class Control:
    """What operators control the platform with."""

    def __init__(self, owner: ControlOwner, parts: Parts, start: Start) -> None:
        self._parts = parts
        rollouts = parts.rollouts
        events = parts.children.events
        self.operations = Operations(start.run_dir.operations_file, time.time, events)
        self.scaling = scaling = Scaling(rollouts, parts.children.changed)
        self._commands = commands = Commands(owner, parts)
        self.settling = settling = ReleaseSettling(self._facts)
        tasks = ReloadTasks(rollouts, self.operations, events)
        send = SendTask(lambda: rollouts.current, parts.platform.questions)
        timer = Timer(lambda: rollouts.current, parts.platform.questions)
        processes = Processes(rollouts)
        restart = Restart(owner, parts, self.operations, start.service.environment)
        self.inspection = inspection = Inspection(parts, self.operations, start.options.log_file)
        table: dict[str, Command] = {
            "status": commands.status,
            "ready": commands.ready,
            "reload": commands.reload,
            "stop": commands.stop,
            "metrics": parts.scrape.families,
            "mem": commands.mem,
            "config.plan": commands.config_plan,
            "config.apply": commands.config_apply,
            "config.explain": commands.config_explain,
            "config.history": commands.config_history,
            "config.rollback": commands.config_rollback,
            "config.unpin": commands.config_unpin,
            "config.settled": settling.wait,
            "proc.ls": processes.ls,
            "proc.restart": processes.restart,
            "scale": scaling.scale,
            "drain": scaling.drain,
            "undrain": scaling.undrain,
            "reload_tasks": tasks.reload_tasks,
            "check": restart.check,
            "restart": restart.restart,
            "ps": inspection.ps,
            "info": inspection.info,
            "history": inspection.history,
            "dump": inspection.dump,
            "log_level": inspection.log_level,
            "task.send": send.task,
            "event.fire": send.event,
            "cron.run": timer.run,
            "cron.stop": timer.stop,
            "cron.start": timer.start,
        }
        audit = Audit(start.run_dir.audit_file)
        self.server = ControlServer(table, audit, self.operations)

    def stopping(self) -> None:
        """Answer the commands that wait for a rollout: the platform stops."""
        self._commands.stopping()
        self.settling.look(stopping=True)

    def _facts(self) -> Facts:
        parts, current = self._parts, self._parts.rollouts.current
        health = parts.health
        refused = health.outcomes.refusals.by_namespace
        return Facts(
            in_force=current.configuration.release_keys if current else {},
            offered=health.config.get("release_keys") or {},
            withheld=parts.history.withheld_keys,
            refused={**parts.history.refused, **refused},
            generation=current.number if current else 0,
            pinned=parts.history.state.pinned,
            drained=parts.rollouts.scaler.drained,
        )
