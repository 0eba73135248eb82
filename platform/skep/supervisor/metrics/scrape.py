"""What a scrape and `platform mem` return: the metrics of the children, the gauges that the
supervisor measures itself, and what makes the workers grow."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from skep.base.errors import PlatformError
from skep.base.system.certificate import expiry
from skep.metrics.counter_page import read
from skep.metrics.names import PROCESS_STATES
from skep.supervisor.config.configuration import Configuration, Configurations
from skep.supervisor.generation import Generation
from skep.supervisor.health import Health, Outcomes
from skep.supervisor.metrics.ledger import Absorbed, Ledger
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import WorkerEnded
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.processes.procfs import read_boot_time, read_process, read_system
from skep.supervisor.processes.questions import Questions
from skep.supervisor.processes.slot import SlotState
from skep.supervisor.rollout.rollouts import Rollouts
from skep.wire.messages import Beat, Flush, MetricFrame, Trace, Traced

# A child whose loop is blocked does not keep Prometheus waiting: its last frame stands for it.
_PATIENCE = 0.15
_BEAT = 1.0
_STATES = {
    SlotState.STARTING: "starting",
    SlotState.PREPARED: "starting",
    SlotState.GOING: "starting",
    SlotState.READY: "ready",
    SlotState.DRAINING: "draining",
}
# Those of custom processes, in the words of their metric.
_PROCESS_STATES = {
    SlotState.STARTING: "starting",
    SlotState.PREPARED: "starting",
    SlotState.GOING: "starting",
    SlotState.READY: "running",
    SlotState.DRAINING: "stopping",
    SlotState.CUT: "stopping",
    SlotState.HUNG: "hung",
    SlotState.BACKOFF: "backoff",
    SlotState.DONE: "done",
    SlotState.FAILED: "failed",
}
_PLATFORM_STATES = ("starting", "running", "reloading", "draining", "stopping")
_SOURCES = ("remote", "cache", "file", "none")


class Gauges:
    """Sets gauges in a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._boot = read_boot_time()
        self._cpu = 0.0

    def process(self) -> None:
        """Set the standard metrics of this process."""
        if (use := read_process(os.getpid(), self._boot)) is None:
            return
        self._ledger.add("process_cpu_seconds_total", use.cpu - self._cpu)
        self._cpu = use.cpu
        self._ledger.set("process_resident_memory_bytes", use.resident)
        self._ledger.set("process_virtual_memory_bytes", use.virtual)
        self._ledger.set("process_start_time_seconds", use.started)
        self._ledger.set("process_open_fds", use.fds)

    def state(self, state: str, outcomes: Outcomes) -> None:
        """Set what `platform status` calls the state; degraded is a way of running."""
        present = {"degraded": "running", "drained": "draining"}.get(state, state)
        for name in _PLATFORM_STATES:
            self._ledger.set("supervisor_state", float(name == present), state=name)
        self._ledger.set("supervisor_restart_required", float(bool(outcomes.restart_required)))
        self._ledger.set("config_quarantined", float(outcomes.refused is not None))

    def readiness(self, crews: Iterable[Crew]) -> None:
        """Set the share of each kind's slots whose worker accepts."""
        wanted: Counter[str] = Counter()
        ready: Counter[str] = Counter()
        for crew in crews:
            for slot in crew.slots.values():
                wanted[slot.kind] += slot.state is not SlotState.DONE
                ready[slot.kind] += slot.state is SlotState.READY
        for pool, count in wanted.items():
            share = ready[pool] / count if count else 1.0
            self._ledger.set("supervisor_up_workers_ratio", share, pool=pool)

    def processes(self, current: Generation) -> None:
        """Set how many slots of each custom process are in which state."""
        counts: Counter[tuple[str, str]] = Counter()
        for slot in current.crew.slots.values():
            counts[slot.group, _PROCESS_STATES.get(slot.state, "")] += 1
        self._ledger.clear("process_state")
        for process in current.processes:
            for state in PROCESS_STATES:
                number = counts[process.pool, state]
                self._ledger.set("process_state", number, process=process.name, state=state)

    def config(
        self, configuration: Configuration | None, reported: Mapping[str, Any], in_place: bool
    ) -> None:
        """Set what is known of the configuration in force, where it came from, and whether `.env`
        was written in place."""
        self._ledger.set("config_written_in_place", float(in_place))
        source = reported.get("source", "none") if configuration else "none"
        for name in _SOURCES:
            self._ledger.set("config_source", float(name == source), source=name)
        self._ledger.clear("config_namespace_held")
        for one in reported.get("following", ()):
            held = float(bool(one["trouble"]))
            self._ledger.set("config_namespace_held", held, namespace=one["namespace"])
        self._ledger.clear("config_info")
        if configuration is None:
            return
        for layer, count in configuration.keys_by_layer.items():
            self._ledger.set("config_keys", count, layer=layer)
        options = configuration.options
        for namespace, release in configuration.release_keys.items():
            self._ledger.set(
                "config_info",
                1,
                app=options.app_id,
                cluster=options.cluster,
                namespace=namespace,
                release=release,
            )

    def since(self, applied: Mapping[str, float]) -> None:
        """Set since when the release of each namespace is in force."""
        self._ledger.clear("config_namespace_applied_timestamp_seconds")
        for namespace, at in applied.items():
            self._ledger.set("config_namespace_applied_timestamp_seconds", at, namespace=namespace)


class MetricsScrape:
    """Scrapes of one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        platform: PlatformSlots,
        rollouts: Rollouts,
        health: Health,
        configurations: Configurations,
    ) -> None:
        self._ledger = ledger
        self._platform = platform
        self._rollouts = rollouts
        self._health = health
        self._configurations = configurations
        self._gauges = Gauges(ledger)
        self._boot = read_boot_time()
        self._cpu: dict[int, float] = {}
        self._framed: dict[Child, float] = {}
        # The time of each child's last beat, and how late its event loop was.
        self._beats: dict[Child, tuple[float, float]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._measure_lag(self._loop.time())
        platform.children.events.subscribe(WorkerEnded, lambda event: self._gone(event.child))
        platform.children.on(Beat, self._beat)
        platform.children.on(MetricFrame, self._take)

    def _beat(self, child: Child, beat: Beat) -> None:
        self._beats[child] = time.time(), beat.lag

    def _take(self, child: Child, message: MetricFrame) -> None:
        self._ledger.absorb(child.name, message.frame)
        self._framed[child] = time.time()

    def _measure_lag(self, due: float) -> None:
        """Measure each second how late this process's own event loop is."""
        now = self._loop.time()
        self._ledger.set("supervisor_loop_lag_seconds", max(0.0, now - due))
        self._loop.call_later(_BEAT, self._measure_lag, now + _BEAT)

    def _gone(self, child: Child) -> None:
        absorbed = self._ledger.forget(child.name)
        ended_well = child.dismissed and child.status == 0
        if not ended_well and (counters := child.take_counters()) is not None:
            task = self._loop.create_task(self._settle(absorbed, counters))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)
        self._cpu.pop(child.pid, None)
        self._framed.pop(child, None)
        self._beats.pop(child, None)

    async def _settle(self, absorbed: Absorbed, counters: int) -> None:
        """Count what a child counted after its last frame."""
        try:
            # In a thread: a page can have a hundred thousand numbers.
            page = await asyncio.to_thread(read, counters)
        except ValueError:
            self._ledger.add("metrics_frames_total", outcome="bad")
        else:
            self._ledger.settle(absorbed, page)
        finally:
            os.close(counters)

    async def families(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Answer the command `metrics`: ask every child for its latest metrics and return the
        families of the ledger."""
        if self._settling:
            await asyncio.wait(self._settling)
        current, wanted = self._rollouts.current, self._health.crews
        self._gauges.process()
        self._gauges.state(self._health.state, self._health.outcomes)
        self._gauges.readiness(wanted)
        in_place = self._configurations.in_place
        in_service = current.configuration if current else None
        self._gauges.config(in_service, self._health.config, in_place)
        self._gauges.since(self._health.applied_since)
        leaving = [g.crew for g in self._rollouts.generations.all if g is not current]
        start = time.perf_counter()
        children = [child for child in self._platform.children if not child.is_forker]
        answers, late = await self._platform.questions.ask(children, Flush, _PATIENCE)
        # A child for which nothing has changed sends no frame.
        self._framed |= {child: time.time() for child in answers if not child.ended}
        if late:
            self._ledger.add("metrics_frames_total", len(late), outcome="late")
        self._measure_system()
        if current is not None:
            await self._measure_disk(current)
            self._gauges.processes(current)
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

    async def _measure_disk(self, current: Generation) -> None:
        options = current.configuration.options
        disk = os.statvfs(options.data_dir)
        self._ledger.set("data_disk_free_bytes", disk.f_bavail * disk.f_frsize)
        self._ledger.set("data_disk_size_bytes", disk.f_blocks * disk.f_frsize)
        served = current.plan.certificates if current.plan else {}
        files = {*served, *filter(None, (options.admin_tls_cert,))}
        # In a thread: the certificates may be on a disk that is slow.
        ends = await asyncio.to_thread(lambda: {file: expiry(file) for file in files})
        self._ledger.clear("tls_certificate_expiry_timestamp_seconds")
        for file, end in ends.items():
            if end is not None:
                self._ledger.set("tls_certificate_expiry_timestamp_seconds", end, certificate=file)

    def _measure_slots(self, wanted: list[Crew], leaving: list[Crew]) -> None:
        states: Counter[tuple[str, str]] = Counter()
        # Of two processes in one slot the one that stays is measured last, and shown.
        for crew in (*leaving, *wanted):
            for name, slot in crew.slots.items():
                child = crew.children.get(name)
                is_stuck = child is not None and child.stuck
                state = "stuck" if is_stuck else _STATES.get(slot.state, "none")
                states[slot.kind, state] += 1
                if child is not None:
                    self._measure_child(child, slot.kind)
        there_should_be = Counter(
            slot.kind
            for crew in wanted
            for slot in crew.slots.values()
            if slot.state is not SlotState.DONE
        )
        for pool in {pool for pool, _ in states}:
            self._ledger.set("worker_processes_wanted", there_should_be[pool], pool=pool)
            for state in ("starting", "ready", "draining", "stuck"):
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
        if (framed := self._framed.get(child)) is not None:
            age = time.time() - framed
            self._ledger.set("worker_metrics_age_seconds", age, **labels)
        if (beat := self._beats.get(child)) is not None:
            at, lag = beat
            self._ledger.set("worker_last_heartbeat_timestamp_seconds", at, **labels)
            self._ledger.set("worker_event_loop_lag_seconds", lag, **labels)
        self._ledger.add(
            "worker_cpu_seconds_total", use.cpu - self._cpu.get(child.pid, 0.0), **labels
        )
        self._cpu[child.pid] = use.cpu


LONGEST = 3600.0
_WORKERS = ("web", "task", "cron", "process")
# Comparing the snapshots of a large worker takes its time.
_TRACE_PATIENCE = 20.0


async def trace_memory(
    children: Iterable[Child], questions: Questions, seconds: float, top: int
) -> list[dict[str, Any]]:
    """Return, per worker, its memory and the lines of source behind its growth.

    A worker that ends before it answers, or whose loop is blocked, is not in the list. Raises
    PlatformError when `seconds` is out of range.
    """
    if not 0 < seconds <= LONGEST:
        raise PlatformError(f"--seconds must be above 0 and at most {LONGEST:g}, not {seconds:g}.")
    workers = [child for child in children if child.slot.partition(".")[0] in _WORKERS]
    answers, _ = await questions.ask(
        workers, lambda number: Trace(number, seconds, top), seconds + _TRACE_PATIENCE
    )
    rows = [
        {
            "worker": child.name,
            "pid": child.pid,
            "resident": answer.resident,
            "growth": answer.growth,
        }
        for child, answer in answers.items()
        if isinstance(answer, Traced)
    ]
    return sorted(rows, key=lambda row: str(row["worker"]))
