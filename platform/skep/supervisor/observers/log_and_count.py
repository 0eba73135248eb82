"""Logs and counts what happens; what is only logged, is logged where it happens."""

import logging
import platform
import time
from importlib.metadata import version

from skep.supervisor.config.history import propagation
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.events import (
    Events,
    PlatformServing,
    RolloutBegan,
    RolloutReported,
    SlotChanged,
    WorkerEnded,
    WorkerStarted,
    WorkerStuck,
)
from skep.supervisor.processes.exit_reason import ended, reason
from skep.supervisor.processes.slot import SlotOrder, SlotState, group_of
from skep.supervisor.request import KeyChange, Report

log = logging.getLogger("skep")

_OUTCOMES = {
    "committed": "success",
    "rolled back": "rolled_back",
    "refused": "failed",
    "superseded": "superseded",
    "unchanged": "noop",
}
_APPLIED = {
    "committed": "applied",
    "live": "live",
    "refused": "rejected",
    "rolled back": "rolled_back",
    "unchanged": "noop",
}
# What the configuration in force has changed with.
_IN_FORCE = ("committed", "live", "rolled back")


class LogAndCount:
    """Writes the supervisor's log lines and keeps its counters in the ledger."""

    def __init__(self, ledger: Ledger, events: Events) -> None:
        self._ledger = ledger
        self._starting: dict[str, float] = {}
        events.subscribe(WorkerStarted, self._started)
        events.subscribe(WorkerEnded, self._ended)
        events.subscribe(WorkerStuck, self._stuck)
        events.subscribe(SlotChanged, self._changed)
        events.subscribe(RolloutBegan, self._began)
        events.subscribe(RolloutReported, self._reported)
        events.subscribe(PlatformServing, self._serving)
        self._ledger.set("supervisor_start_time_seconds", time.time())
        self._ledger.set(
            "build_info",
            1,
            version=version("skep"),
            python=platform.python_version(),
            implementation=platform.python_implementation(),
        )

    def _started(self, event: WorkerStarted) -> None:
        child = event.child
        self._ledger.expect(pool=child.kind)
        why = event.why or ("reload" if child.generation > 1 else "boot")
        why = "crash" if event.again else why
        self._ledger.add("worker_starts_total", pool=child.kind, reason=why)
        if process := _process(child):
            self._ledger.expect(process=process)
            if event.again or why == "restart":
                self._ledger.add("process_restarts_total", process=process)
        self._starting[child.name] = time.monotonic()

    def _ended(self, event: WorkerEnded) -> None:
        child = event.child
        self._starting.pop(child.name, None)
        if not child.pid:
            return  # it was ordered from a zygote that died, and never born
        self._ledger.add("worker_exits_total", pool=child.kind, reason=reason(child))
        if process := _process(child):
            self._ledger.add("process_exits_total", process=process, reason=reason(child))
        if child.stacks:
            log.error("%s (pid %d) was at\n%s", child.name, child.pid, child.stacks)
        if child.dismissed or event.stopping:
            log.debug("%s %s", child.name, ended(child))
            return
        why = f": {child.problem}" if child.problem else ""
        how, name = ended(child), child.name
        if child.kind == "process" and child.status == 0:
            log.info("%s (pid %d) has ended after %.1f s", name, child.pid, child.age)
            return
        log.error("%s (pid %d) %s after %.1f s%s", name, child.pid, how, child.age, why)

    def _stuck(self, event: WorkerStuck) -> None:
        child = event.child
        what = {"drain": "has not drained in time", "hang": "does not answer"}[child.stuck]
        log.error("%s (pid %d) %s: %s", child.name, child.pid, what, event.order.value)
        if event.order is SlotOrder.TERMINATE:
            self._ledger.add("reload_forced_kills_total", pool=child.kind)

    def _changed(self, event: SlotChanged) -> None:
        log.debug("%s is %s", event.name, event.state.value)
        if event.state is SlotState.READY and (since := self._starting.pop(event.name, None)):
            seconds, pool = time.monotonic() - since, event.name.partition(".")[0]
            self._ledger.observe("worker_boot_duration_seconds", seconds, pool=pool)

    def _began(self, event: RolloutBegan) -> None:
        request = event.request
        why = f": {request.reason}" if request.reason else ""
        log.info("rolling out generation %d (%s%s)", event.generation, request.cause, why)
        self._ledger.set("reload_in_progress", 1)

    def _reported(self, event: RolloutReported) -> None:
        report = event.report
        self._count(report)
        if report.outcome in _IN_FORCE:
            for change in event.request.changes:
                self._ledger.add("config_keys_changed_total", kind=_kind(change))
        for stage, seconds in propagation(event.request, report).items():
            self._ledger.observe("config_propagation_seconds", seconds, stage=stage)
        if report.outcome == "refused":
            for problem in report.problems:
                log.error("refused: %s%s", problem, f"\n{problem.trace}" if problem.trace else "")
            if report.generation:
                log.warning("generation %d goes on serving", report.generation)
        elif report.outcome in _IN_FORCE:
            log.info("%s", report.sentence)

    def _count(self, report: Report) -> None:
        cause = {"start": "config", "rollback": "config"}.get(report.cause, report.cause)
        if cause == "config" and (applied := _APPLIED.get(report.outcome)):
            self._ledger.add("config_applies_total", outcome=applied)
        if report.outcome in _IN_FORCE:
            self._ledger.set("config_last_applied_timestamp_seconds", report.at)
        if report.problems and report.problems[0].stage == "commit":
            self._ledger.add("config_env_write_errors_total")
        if report.outcome not in _OUTCOMES:
            return
        self._ledger.add("reloads_total", reason=cause, outcome=_OUTCOMES[report.outcome])
        if report.outcome in ("unchanged", "superseded"):
            return
        committed = report.outcome == "committed"
        self._ledger.set("reload_in_progress", 0)
        self._ledger.set("last_reload_timestamp_seconds", report.at)
        self._ledger.set("last_reload_success", float(committed))
        self._ledger.set("generation", report.generation)
        self._ledger.observe("reload_duration_seconds", report.seconds, reason=cause)
        if report.problems and (rule := report.problems[0].rule):
            self._ledger.add("config_validation_failures_total", kind=rule)

    def _serving(self, event: PlatformServing) -> None:
        urls = event.urls
        log.info("serving on %s, admin port on %s", urls.get("http", "no port"), urls["admin"])


def _process(child: Child) -> str:
    """Return the name of a custom process, `ticker.Echo`; empty if it is another worker."""
    return group_of(child.slot).partition(".")[2] if child.kind == "process" else ""


def _kind(change: KeyChange) -> str:
    if change.old is None:
        return "added"
    return "removed" if change.new is None else "modified"
