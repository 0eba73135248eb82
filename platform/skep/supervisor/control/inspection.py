"""What an operator looks at, and the two things one turns while looking: commands of the control
socket."""

import logging
import os
import platform
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

from skep.base.logs import logfile
from skep.supervisor.control.records import Operations
from skep.supervisor.control.server import CommandRefused
from skep.supervisor.parts import Parts
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.procfs import read_boot_time, read_process
from skep.wire.messages import Change

_LEVELS = ("debug", "info", "warning", "error")


class Inspection:
    """The commands `ps`, `info`, `history`, `dump` and `log_level`, and the log of all processes.

    `log_file` is where that goes, empty for where it went at the start.
    """

    def __init__(self, parts: Parts, operations: Operations, log_file: str) -> None:
        self._parts = parts
        self._operations = operations
        self._log_file = log_file
        self._boot = read_boot_time()

    async def ps(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return every process of the platform, and what each uses; and the slots of custom
        processes without one."""
        states = dict(self._states())
        rows = [self._row("supervisor", "supervisor", 0, os.getpid(), "running")]
        for child in self._parts.children:
            kind = child.slot.partition(".")[0]
            state = states.get(child.pid, "standing by" if child.is_forker else "ending")
            rows.append(self._row(child.slot, kind, child.generation, child.pid, state))
        return [*rows, *self._absent()]

    def _absent(self) -> Iterator[dict[str, Any]]:
        """Yield the slots of custom processes that have no process just now, or none any more."""
        current = self._parts.rollouts.current
        crew = current.crew if current else None
        for name, slot in crew.slots.items() if crew else ():
            if slot.kind == "process" and crew and name not in crew.children:
                yield self._row(name, slot.kind, crew.number, None, slot.state.value)

    async def info(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what this platform is made of: versions, listeners, what its plugins declare."""
        current = self._parts.rollouts.generations.current
        plan = asdict(current.plan) if current and current.plan else {}
        options = current.configuration.options if current else None
        return {
            "version": version("skep"),
            "python": platform.python_version(),
            "pid": os.getpid(),
            "generation": current.number if current else 0,
            "listeners": self._parts.ports.urls(),
            "plan": plan,
            "kinds": dict(Counter(s.kind for s in current.crew.slots.values())) if current else {},
            "app_id": options.app_id if options else "",
            "env_file": options.env_file if options else "",
            "watch": bool(options and options.watch),
        }

    async def history(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the last operations, the oldest first."""
        return self._operations.latest()

    async def dump(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stacks of the process in a slot, also of one that hangs."""
        child = self._find(str(arguments["slot"]))
        text = await child.dump()
        if not text:
            raise CommandRefused(f"{child.name} (pid {child.pid}) did not tell its stacks.")
        return {"name": child.name, "pid": child.pid, "stacks": text}

    async def log_level(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Log as much as this in every process, until the configuration next says otherwise."""
        level = str(arguments["level"]).lower()
        if level not in _LEVELS:
            known = ", ".join(_LEVELS)
            raise CommandRefused(f"{level!r} is not a log level; say {known}.", "usage")
        logging.getLogger().setLevel(level.upper())
        for generation in self._parts.rollouts.generations.all:
            old = generation.configuration
            # Processes that start later take the level from their generation.
            generation.configuration = replace(old, options=replace(old.options, log_level=level))
        told = [child for child in self._parts.children if not child.is_forker]
        for child in told:
            child.send(Change(0, {}, apply=True, log_level=level))
        return {"level": level, "processes": len(told) + 1}

    def set_log_level(self, level: str) -> None:
        """Log as much as this, here and in the platform slots."""
        if logging.getLevelName(logging.getLogger().level) != level.upper():
            logging.getLogger().setLevel(level.upper())
            for child in self._parts.platform.crew.children.values():
                child.send(Change(0, {}, apply=True, log_level=level))

    def reopen_log(self) -> None:
        """Have every process reopen the log file."""
        logfile.reopen(self._log_file)
        for child in self._parts.children:
            child.signal(signal.SIGUSR1)

    def _row(
        self, slot: str, kind: str, generation: int, pid: int | None, state: str
    ) -> dict[str, Any]:
        use = read_process(pid, self._boot) if pid else None
        return {
            "name": f"{slot}@{generation}" if generation else slot,
            "slot": slot,
            "kind": kind,
            "generation": generation,
            "pid": pid,
            "state": state,
            "rss": use.resident if use else None,
            "cpu": round(use.cpu, 2) if use else None,
            "age": round(max(0.0, time.time() - use.started), 1) if use else None,
            "threads": use.threads if use else None,
            "fds": use.fds if use else None,
        }

    def _crews(self) -> Iterator[Crew]:
        yield self._parts.platform.crew
        yield from (generation.crew for generation in self._parts.rollouts.generations.all)

    def _states(self) -> Iterator[tuple[int, str]]:
        for crew in self._crews():
            for name, child in crew.children.items():
                if name in crew.slots:
                    yield child.pid, crew.slots[name].state.value
        for generation in self._parts.rollouts.generations.all:
            if (zygote := generation.zygote.current) is not None:
                yield zygote.pid, "ready" if generation.plan else "loading"

    def _find(self, wanted: str) -> Child:
        """The newest process in a slot, `web.0`, or that of one generation, `web.0@3`."""
        found = [c for crew in self._crews() for c in crew.children.values() if c.pid]
        for child in reversed(found):
            if wanted in (child.slot, child.name):
                return child
        names = ", ".join(sorted(child.name for child in found))
        raise CommandRefused(f"There is no process in a slot {wanted}; there are {names}.")
