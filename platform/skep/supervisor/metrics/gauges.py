"""The supervisor's own gauges: what is so now, set when somebody asks."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from skep.supervisor.config.configuration import Configuration
from skep.supervisor.health import Outcomes
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.procfs import read_boot_time, read_process
from skep.supervisor.processes.slot import SlotState

_STATES = ("starting", "running", "reloading", "draining", "stopping")
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
        for name in _STATES:
            self._ledger.set("supervisor_state", float(name == present), state=name)
        self._ledger.set("supervisor_restart_required", float(bool(outcomes.restart_required)))
        self._ledger.set("config_quarantined", float(outcomes.refused is not None))

    def readiness(self, crews: Iterable[Crew]) -> None:
        """Set the share of each kind's slots whose worker accepts."""
        wanted: Counter[str] = Counter()
        ready: Counter[str] = Counter()
        for crew in crews:
            for slot in crew.slots.values():
                wanted[slot.kind] += 1
                ready[slot.kind] += slot.state is SlotState.READY
        for pool, count in wanted.items():
            self._ledger.set("supervisor_up_workers_ratio", ready[pool] / count, pool=pool)

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
