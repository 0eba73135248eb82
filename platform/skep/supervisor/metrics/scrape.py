"""Answer a scrape: ask every child for its latest frame, measure what the supervisor can see, and
give the ledger's families."""

import time
from collections import Counter
from typing import Any

from skep.base.telemetry import Telemetry
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.health import Health
from skep.supervisor.metrics.gauges import Gauges
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.processes.procfs import read_boot_time, read_process, read_system
from skep.supervisor.processes.slot import SlotState
from skep.supervisor.rollout.rollouts import Rollouts
from skep.wire.messages import Beat, Flush, Frame, Message

# A child whose loop is blocked does not keep Prometheus waiting: its last frame stands for it.
_PATIENCE = 0.15
_STATES = {
    SlotState.STARTING: "starting",
    SlotState.PREPARED: "starting",
    SlotState.GOING: "starting",
    SlotState.READY: "ready",
    SlotState.DRAINING: "draining",
}


class MetricsScrape:
    """Scrapes of one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        platform: PlatformSlots,
        rollouts: Rollouts,
        health: Health,
        configurations: Configurations,
        telemetry: Telemetry,
    ) -> None:
        self._ledger = ledger
        self._platform = platform
        self._rollouts = rollouts
        self._health = health
        self._configurations = configurations
        self._gauges = Gauges(ledger)
        self._boot = read_boot_time()
        self._cpu: dict[int, float] = {}
        self._heard: dict[Child, float] = {}
        self._beats: dict[Child, float] = {}
        telemetry.subscribe("worker.ended", lambda fields: self._gone(fields["child"]))

    def told(self, child: Child, message: Message) -> None:
        """Take a beat of a child, or its metrics."""
        match message:
            case Beat():
                self._beats[child] = time.time()
            case Frame(frame):
                self._ledger.absorb(child.name, frame)
                self._heard[child] = time.time()

    def _gone(self, child: Child) -> None:
        self._ledger.forget(child.name)
        self._cpu.pop(child.pid, None)
        self._heard.pop(child, None)
        self._beats.pop(child, None)

    async def families(self) -> list[dict[str, Any]]:
        """Ask every child for its latest metrics and return the families of the ledger."""
        current, wanted = self._rollouts.current, self._health.crews
        self._gauges.process()
        self._gauges.state(self._health.state, self._health.outcomes)
        self._gauges.readiness(wanted)
        in_place = self._configurations.in_place
        in_service = current.configuration if current else None
        self._gauges.config(in_service, self._health.config, in_place)
        leaving = [g.crew for g in self._rollouts.generations.all if g is not current]
        start = time.perf_counter()
        children = [child for child in self._platform.children if not child.is_forker]
        _, late = await self._platform.questions.ask(children, Flush, _PATIENCE)
        if late:
            self._ledger.add("metrics_frames_total", len(late), outcome="late")
        self._measure_system()
        self._measure_slots(wanted, leaving)
        self._ledger.observe("metrics_scrape_duration_seconds", time.perf_counter() - start)
        return self._ledger.families()

    def _measure_system(self) -> None:
        if (system := read_system()) is None:
            return
        for name, value in zip(("1", "5", "15"), system.load, strict=True):
            self._ledger.set(f"system_load{name}", value)
        self._ledger.set("system_cpu_cores", system.cores)
        self._ledger.set("system_memory_available_bytes", system.available)
        self._ledger.set("system_memory_limit_bytes", system.limit)

    def _measure_slots(self, wanted: list[Crew], leaving: list[Crew]) -> None:
        states: Counter[tuple[str, str]] = Counter()
        # Of two processes in one slot the one that stays is measured last, and shown.
        for crew in (*leaving, *wanted):
            for name, slot in crew.slots.items():
                states[slot.kind, _STATES.get(slot.state, "none")] += 1
                if (child := crew.children.get(name)) is not None:
                    self._measure_child(child, slot.kind)
        there_should_be = Counter(slot.kind for crew in wanted for slot in crew.slots.values())
        for pool in {pool for pool, _ in states}:
            self._ledger.set("worker_processes_wanted", there_should_be[pool], pool=pool)
            for state in ("starting", "ready", "draining"):
                self._ledger.set("worker_processes", states[pool, state], pool=pool, state=state)

    def _measure_child(self, child: Child, pool: str) -> None:
        use = read_process(child.pid, self._boot) if child.pid else None
        if use is None:
            return
        labels = {"pool": pool, "worker": child.slot}
        self._ledger.set("worker_start_time_seconds", use.started, **labels)
        self._ledger.set("worker_resident_memory_bytes", use.resident, **labels)
        self._ledger.set("worker_open_fds", use.fds, **labels)
        self._ledger.set("worker_threads", use.threads, **labels)
        if (heard := self._heard.get(child)) is not None:
            age = time.time() - heard
            self._ledger.set("worker_metrics_age_seconds", age, **labels)
        if (beat := self._beats.get(child)) is not None:
            self._ledger.set("worker_last_heartbeat_timestamp_seconds", beat, **labels)
        self._ledger.add(
            "worker_cpu_seconds_total", use.cpu - self._cpu.get(child.pid, 0.0), **labels
        )
        self._cpu[child.pid] = use.cpu
