"""Every process that is a child of ours, by its id, and the waiting for those that end."""

import os
from collections.abc import Callable, Iterator

from skep.supervisor.child import Child


class Children:
    """The children that live. `on_reaped(pid, status)` is called after each process that was waited
    for, also one that has no channel or was orphaned to us."""

    def __init__(self, on_reaped: Callable[[int, int], None]) -> None:
        self._by_pid: dict[int, Child] = {}
        self._on_reaped = on_reaped

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_pid.values()))

    def __bool__(self) -> bool:
        return bool(self._by_pid)

    def born(self, child: Child) -> None:
        """A child's process id is known."""
        self._by_pid[child.pid] = child

    def ended(self, child: Child) -> None:
        """A child is gone."""
        if self._by_pid.get(child.pid) is child:
            del self._by_pid[child.pid]

    def reap(self) -> None:
        """Wait for every child that has ended, also those that were orphaned to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.reaped(pid, status)

    def reaped(self, pid: int, status: int) -> None:
        """Somebody has waited for this process: we or its zygote."""
        if (child := self._by_pid.get(pid)) is not None:
            child.reaped(status)
        self._on_reaped(pid, status)

    def kill(self) -> None:
        """Kill what is left."""
        for child in self:
            child.kill()
