"""The processes that are children of ours: their messages, waiting for their ends, and orphans.

As a subreaper the supervisor is the parent of every descendant whose own parent has ended. Until it
has waited for such a process its pid is not used again, so it can be signalled safely.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from skep.base.system.linux import ended_children
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.events import Events, WorkerEnded
from skep.supervisor.processes.procfs import read_children, read_oom_kills
from skep.wire.messages import Exited, Hello, Message

M = TypeVar("M")

# Seconds between SIGTERM and SIGKILL.
_GRACE = 5.0


class Children:
    """The children that live. `changed()` is called after every message, end and exit status.

    `stopping` says that the platform stops, so that an end is nothing unusual.
    """

    def __init__(self, events: Events, changed: Callable[[], object]) -> None:
        self.stopping = False
        self._by_pid: dict[int, Child] = {}
        self._receivers: dict[type, list[Callable[[Child, Any], None]]] = {}
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self.events = events
        self.changed = changed
        self._orphans: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._oom_kills = read_oom_kills()

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_pid.values()))

    def __bool__(self) -> bool:
        return bool(self._by_pid)

    def on(self, kind: type[M], receiver: Callable[[Child, M], None]) -> None:
        """Call `receiver` with every message of this type, before its child's own one."""
        self._receivers.setdefault(kind, []).append(receiver)

    def take(self, child: Child, message: Message) -> None:
        """A child has sent a message."""
        match message:
            case Hello():
                self.born(child)
            case Exited(pid, status):  # its zygote has waited for it
                self.reaped(pid, status)
        for receiver in self._receivers.get(type(message), ()):
            receiver(child, message)
        self.changed()

    def born(self, child: Child) -> None:
        """A child's process id is known."""
        self._by_pid[child.pid] = child

    def ended(self, child: Child) -> None:
        """A child is gone; end its orphans and publish that."""
        self.drop(child)
        self.events.publish(WorkerEnded(child, self.stopping))
        self.changed()

    def drop(self, child: Child) -> None:
        """A child is gone; end its orphans."""
        if child.pid and child.killed_by_another:
            kills = read_oom_kills()
            child.oom, self._oom_kills = kills > self._oom_kills, kills
        if self._by_pid.get(child.pid) is child:
            del self._by_pid[child.pid]
            self._end_orphans_of(child.pid)

    def reap(self) -> None:
        """Wait for every child that has ended, also those that were orphaned to us."""
        for pid, status in ended_children():
            self.reaped(pid, status)

    async def exit_status(self, pid: int) -> int:
        """Return the wait status of a process without a channel, when it has ended."""
        self._awaited[pid] = self._loop.create_future()
        try:
            return await self._awaited[pid]
        finally:
            del self._awaited[pid]

    def reaped(self, pid: int, status: int) -> None:
        """We, or its zygote, have waited for this process."""
        self._orphans.discard(pid)
        if (child := self._by_pid.get(pid)) is not None:
            child.reaped(status)
        if (awaited := self._awaited.get(pid)) is not None and not awaited.done():
            awaited.set_result(status)
        self.changed()

    def kill(self) -> None:
        """Kill what is left."""
        for child in self:
            child.kill()
        self.no_orphans()

    def no_orphans(self) -> bool:
        """Kill what was orphaned to us; return whether there was nothing. What a killed process had
        started is orphaned to us in turn, so call it again."""
        found = {pid for pid, _ in self._strangers()}
        _signal(found, signal.SIGKILL)
        return not found

    def _end_orphans_of(self, worker: int) -> None:
        """End what a worker that is gone has started and left behind: it is in its session."""
        found = {pid for pid, session in self._strangers() if session == worker} - self._orphans
        self._orphans |= found
        _signal(found, signal.SIGTERM)
        if found:
            self._loop.call_later(_GRACE, self._kill_orphans, found)

    def _kill_orphans(self, found: set[int]) -> None:
        _signal(found & self._orphans, signal.SIGKILL)

    def _strangers(self) -> list[tuple[int, int]]:
        return [row for row in read_children(os.getpid()) if row[0] not in self._by_pid]


def _signal(pids: set[int], sig: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, sig)
