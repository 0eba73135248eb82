"""Answer a scrape: ask every child for its latest frame, measure what the supervisor can see, and
give the ledger's families."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.procfs import read_boot_time, read_process, read_system
from skep.supervisor.processes.slot import State
from skep.wire.messages import Beat, Flush, Flushed, Message, MetricFrame

# A child whose loop is blocked does not keep Prometheus waiting: its last frame stands for it.
_PATIENCE = 0.15
_STATES = {
    State.STARTING: "starting",
    State.PREPARED: "starting",
    State.GOING: "starting",
    State.READY: "ready",
    State.DRAINING: "draining",
}


class Scrape:
    """Scrapes of one ledger; several at a time share nothing but it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._number = 0
        self._missing: dict[int, set[Child]] = {}
        self._complete: dict[int, asyncio.Event] = {}
        self._boot = read_boot_time()
        self._cpu: dict[int, float] = {}
        self._heard: dict[Child, float] = {}
        self._beats: dict[Child, float] = {}

    def told(self, child: Child, message: Message) -> None:
        """A child has said something: that its event loop turns, some of its metrics, or that this
        was all it had."""
        match message:
            case Beat():
                self._beats[child] = time.time()
            case MetricFrame(frame):
                self._ledger.absorb(child.name, frame)
                self._heard[child] = time.time()
            case Flushed(number):
                self._drop(number, child)

    def gone(self, child: Child) -> None:
        """A child has ended: nobody waits for it, and its process id may be another's soon."""
        for number in list(self._missing):
            self._drop(number, child)
        self._cpu.pop(child.pid, None)
        self._heard.pop(child, None)
        self._beats.pop(child, None)

    async def families(
        self, children: Iterable[Child], wanted: Iterable[Crew], leaving: Iterable[Crew]
    ) -> list[dict[str, Any]]:
        """Return everything there is to tell of these children; the crews are those that are to
        have workers, and those of generations that are on their way out."""
        start = time.perf_counter()
        await self._flush([child for child in children if not child.is_forker])
        self._measure_system()
        self._measure_slots(list(wanted), list(leaving))
        self._ledger.observe("metrics_scrape_duration_seconds", time.perf_counter() - start)
        return self._ledger.families()

    async def _flush(self, children: list[Child]) -> None:
        self._number += 1
        number, complete = self._number, asyncio.Event()
        self._missing[number], self._complete[number] = set(children), complete
        for child in children:
            child.send(Flush(number))
        try:
            async with asyncio.timeout(_PATIENCE):
                await complete.wait()
        except TimeoutError:
            self._ledger.add("metrics_frames_total", len(self._missing[number]), outcome="late")
        finally:
            del self._missing[number], self._complete[number]

    def _drop(self, number: int, child: Child) -> None:
        missing = self._missing.get(number)
        if missing is not None:
            missing.discard(child)
            if not missing:
                self._complete[number].set()

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
