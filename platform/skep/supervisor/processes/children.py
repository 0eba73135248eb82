"""The processes that are children of ours: who lives, waiting for those that end, and orphans.

As a subreaper the supervisor is the parent of every descendant whose own parent has ended. Until it
has waited for such a process its pid is not used again, so it can be signalled safely.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Iterator

from skep.base.system.linux import ended_children
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.procfs import read_children, read_oom_kills

# Seconds between SIGTERM and SIGKILL.
_GRACE = 5.0


class Orphans:
    """Ends what workers have started and left behind. `known()` returns the pids of our own
    children, which are not orphans."""

    def __init__(self, known: Callable[[], Collection[int]]) -> None:
        self._known = known
        self._asked: set[int] = set()
        self._loop = asyncio.get_running_loop()

    def end_those_of(self, worker: int) -> None:
        """End what runs in the session of a worker that is gone."""
        found = {pid for pid, session in self._found() if session == worker} - self._asked
        for pid in found:
            _signal(pid, signal.SIGTERM)
        if found:
            self._asked |= found
            self._loop.call_later(_GRACE, self._kill, found)

    def reaped(self, pid: int) -> None:
        """This process was waited for."""
        self._asked.discard(pid)

    def kill(self) -> None:
        """Kill all that are left."""
        for pid, _ in self._found():
            _signal(pid, signal.SIGKILL)

    def _kill(self, asked: set[int]) -> None:
        for pid in asked & self._asked:
            _signal(pid, signal.SIGKILL)

    def _found(self) -> list[tuple[int, int]]:
        known = self._known()
        return [row for row in read_children(os.getpid()) if row[0] not in known]


def _signal(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except (ProcessLookupError, PermissionError):
        return


class Children:
    """The children that live. `on_reaped(pid, status)` is called after each process that was waited
    for, also one that has no channel or was orphaned to us; `on_ended(child)` after a child that
    was not dropped is gone."""

    def __init__(
        self, on_reaped: Callable[[int, int], None], on_ended: Callable[[Child], None]
    ) -> None:
        self._by_pid: dict[int, Child] = {}
        self._on_reaped = on_reaped
        self._on_ended = on_ended
        self._orphans = Orphans(self._by_pid.keys)
        self._oom_kills = read_oom_kills()

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_pid.values()))

    def __bool__(self) -> bool:
        return bool(self._by_pid)

    def born(self, child: Child) -> None:
        """A child's process id is known."""
        self._by_pid[child.pid] = child

    def ended(self, child: Child) -> None:
        """A child is gone; end its orphans and call `on_ended`."""
        self.drop(child)
        self._on_ended(child)

    def drop(self, child: Child) -> None:
        """A child is gone; end its orphans."""
        if child.pid and child.killed_by_another:
            kills = read_oom_kills()
            child.oom, self._oom_kills = kills > self._oom_kills, kills
        if self._by_pid.get(child.pid) is child:
            del self._by_pid[child.pid]
            self._orphans.end_those_of(child.pid)

    def reap(self) -> None:
        """Wait for every child that has ended, also those that were orphaned to us."""
        for pid, status in ended_children():
            self.reaped(pid, status)

    def reaped(self, pid: int, status: int) -> None:
        """We, or its zygote, have waited for this process."""
        self._orphans.reaped(pid)
        if (child := self._by_pid.get(pid)) is not None:
            child.reaped(status)
        self._on_reaped(pid, status)

    def kill(self) -> None:
        """Kill what is left."""
        for child in self:
            child.kill()
        self._orphans.kill()
