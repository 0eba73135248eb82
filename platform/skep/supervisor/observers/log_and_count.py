"""Logs and counts what happens: the subscriber of the supervisor's telemetry.

The points, and their fields:

    worker.started     child, again        an order to start it was given
    worker.unstarted   crew, slot, error   the machine gives no process for it
    worker.ended       child, stopping     it is gone
    worker.stuck       child, order        it is late, and is ended by force
    worker.retires     child, retire       it wants to be replaced
    kind.spent         crew, kind, budget  too many of its workers crash
    slot.changed       crew, slot, state
    rollout.began      generation, request
    generation.planned generation, plan, left_out
    generation.bereft  generation          both zygotes are gone and the code is another
    rollout.phase      request, generation, phase
    rollout.reported   report, request
    live.objected      objection           a change has to be a rollout after all
    probation.failed   generation, reason  the one before is put back
    config.absent      reason              nothing to start from
    platform.hopeless  why                 it ends, because its workers do not hold
    platform.serving   urls                the first generation is in service
    platform.stopping  restart             somebody has said stop, or restart
"""

import logging
import platform
import time
from importlib.metadata import version
from typing import Any

from skep.base.telemetry import Telemetry
from skep.supervisor.config.history import propagation
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.exit_reason import ended, reason
from skep.supervisor.processes.slot import SlotOrder, SlotState
from skep.supervisor.request import Report

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


class LogAndCount:
    """Writes the supervisor's log lines and keeps its counters in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._starting: dict[str, float] = {}

    def subscribe(self, telemetry: Telemetry) -> None:
        """Listen to every point of the supervisor."""
        for name, heard in (
            ("worker.started", self._started),
            ("worker.unstarted", self._unstarted),
            ("worker.ended", self._ended),
            ("worker.stuck", self._stuck),
            ("worker.retires", self._retires),
            ("kind.spent", self._spent),
            ("slot.changed", self._changed),
            ("rollout.began", self._began),
            ("generation.planned", self._planned),
            ("generation.bereft", self._bereft),
            ("rollout.reported", self._reported),
            ("live.objected", self._objected),
            ("probation.failed", self._failed_probation),
            ("config.absent", self._absent),
            ("platform.hopeless", self._hopeless),
            ("platform.serving", self._serving),
        ):
            telemetry.subscribe(name, heard)
        self._ledger.set("supervisor_start_time_seconds", time.time())
        self._ledger.set(
            "build_info",
            1,
            version=version("skep"),
            python=platform.python_version(),
            implementation=platform.python_implementation(),
        )

    def _started(self, fields: dict[str, Any]) -> None:
        child: Child = fields["child"]
        pool = child.slot.partition(".")[0]
        self._ledger.expect(pool=pool)
        why = fields["why"] or ("reload" if child.generation > 1 else "boot")
        why = "crash" if fields["again"] else why
        self._ledger.add("worker_starts_total", pool=pool, reason=why)
        self._starting[child.name] = time.monotonic()

    def _unstarted(self, fields: dict[str, Any]) -> None:
        why = fields["error"].strerror
        log.error("%s cannot be started (%s); it is tried again", fields["slot"], why)

    def _ended(self, fields: dict[str, Any]) -> None:
        child: Child = fields["child"]
        self._starting.pop(child.name, None)
        if not child.pid:
            return  # it was ordered from a zygote that died, and never born
        pool = child.slot.partition(".")[0]
        self._ledger.add("worker_exits_total", pool=pool, reason=reason(child))
        if child.stacks:
            log.error("%s (pid %d) was at\n%s", child.name, child.pid, child.stacks)
        if child.dismissed or fields["stopping"]:
            log.debug("%s %s", child.name, ended(child))
            return
        why = f": {child.problem}" if child.problem else ""
        log.error(
            "%s (pid %d) %s after %.1f s%s",
            child.name,
            child.pid,
            ended(child),
            child.age,
            why,
        )

    def _stuck(self, fields: dict[str, Any]) -> None:
        child: Child = fields["child"]
        what = {"drain": "has not drained in time", "hang": "does not answer"}[child.stuck]
        log.error("%s (pid %d) %s: %s", child.name, child.pid, what, fields["order"].value)
        if fields["order"] is SlotOrder.TERMINATE:
            self._ledger.add("reload_forced_kills_total", pool=child.slot.partition(".")[0])

    def _retires(self, fields: dict[str, Any]) -> None:
        child, retire = fields["child"], fields["retire"]
        detail = f": {retire.detail}" if retire.detail else ""
        log.info("%s retires (%s%s)", child.name, retire.reason, detail)

    def _spent(self, fields: dict[str, Any]) -> None:
        log.error(
            "%s workers keep crashing as soon as they are started (last: %s); restarting with "
            "growing delays",
            fields["kind"],
            fields["budget"].last,
        )

    def _changed(self, fields: dict[str, Any]) -> None:
        crew, slot = fields["crew"], fields["slot"]
        name = f"{slot}@{crew.number}" if crew.number else slot
        log.debug("%s is %s", name, fields["state"].value)
        if fields["state"] is SlotState.READY and (since := self._starting.pop(name, None)):
            pool = slot.partition(".")[0]
            self._ledger.observe(
                "worker_boot_duration_seconds", time.monotonic() - since, pool=pool
            )

    def _began(self, fields: dict[str, Any]) -> None:
        request = fields["request"]
        why = f": {request.reason}" if request.reason else ""
        log.info("rolling out generation %d (%s%s)", fields["generation"], request.cause, why)
        self._ledger.set("reload_in_progress", 1)

    def _planned(self, fields: dict[str, Any]) -> None:
        plan = fields["plan"]
        log.debug("generation %d has loaded in %.2f s", fields["generation"], plan.seconds)
        if left_out := fields["left_out"]:
            log.info("not run on this machine (PLATFORM_KINDS): %s", ", ".join(left_out))
        if plan.unforkable:
            log.warning("workers load one by one, at the price of memory: %s", plan.unforkable)

    def _bereft(self, fields: dict[str, Any]) -> None:
        log.error(
            "both zygotes of generation %d are gone and the code on disk is not what it serves: "
            "its workers go on, but one that ends is not replaced before the next rollout",
            fields["generation"],
        )

    def _reported(self, fields: dict[str, Any]) -> None:
        report: Report = fields["report"]
        self._count(report)
        for stage, seconds in propagation(fields["request"], report).items():
            self._ledger.observe("config_propagation_seconds", seconds, stage=stage)
        if report.outcome == "refused":
            for problem in report.problems:
                log.error("refused: %s%s", problem, f"\n{problem.trace}" if problem.trace else "")
            if report.generation:
                log.warning("generation %d goes on serving", report.generation)
        elif report.outcome in ("committed", "live", "rolled back"):
            log.info("%s", report.sentence)

    def _count(self, report: Report) -> None:
        cause = {"start": "config", "rollback": "config"}.get(report.cause, report.cause)
        if cause == "config" and (applied := _APPLIED.get(report.outcome)):
            self._ledger.add("config_applies_total", outcome=applied)
        if report.outcome in ("committed", "live", "rolled back"):
            self._ledger.set("config_last_applied_timestamp_seconds", report.at)
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

    def _serving(self, fields: dict[str, Any]) -> None:
        urls = fields["urls"]
        log.info("serving on %s, admin port on %s", urls.get("http", "no port"), urls["admin"])

    def _hopeless(self, fields: dict[str, Any]) -> None:
        log.critical("giving up, exit code 7: %s", fields["why"])

    def _objected(self, fields: dict[str, Any]) -> None:
        log.info("not without new workers: %s", fields["objection"])

    def _failed_probation(self, fields: dict[str, Any]) -> None:
        log.error("generation %d is rolled back: %s", fields["generation"], fields["reason"])

    def _absent(self, fields: dict[str, Any]) -> None:
        log.error("%s", fields["reason"])
