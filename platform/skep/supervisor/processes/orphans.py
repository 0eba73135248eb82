"""What workers have started and left behind: it ends after them.

As a subreaper the supervisor is the parent of every descendant whose own parent has ended. As long
as it has not waited for such a process its id is nobody else's, so it can be signalled safely.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Collection

from skep.supervisor.processes.procfs import read_children

# Between asking and killing.
_GRACE = 5.0


class Orphans:
    """Ends the orphans of workers that are gone. `known()` are the ids of the children that are
    none."""

    def __init__(self, known: Callable[[], Collection[int]]) -> None:
        self._known = known
        self._asked: set[int] = set()
        self._loop = asyncio.get_running_loop()

    def end_those_of(self, worker: int) -> None:
        """A worker is gone: end what runs in its session."""
        found = {pid for pid, session in self._found() if session == worker} - self._asked
        for pid in found:
            _signal(pid, signal.SIGTERM)
        if found:
            self._asked |= found
            self._loop.call_later(_GRACE, self._kill, found)

    def reaped(self, pid: int) -> None:
        """Somebody has waited for this process."""
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
