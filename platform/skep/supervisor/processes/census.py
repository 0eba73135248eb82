"""Who is told when a process of ours is born, waited for and gone."""

from collections.abc import Callable
from dataclasses import dataclass

from skep.supervisor.processes.child import Child


@dataclass(frozen=True)
class Census:
    """`born` is called for a child whose process id is known, `reaped(pid, status)` when a forker
    has waited for a process, `ended` when a child is gone."""

    born: Callable[[Child], None]
    reaped: Callable[[int, int], None]
    ended: Callable[[Child], None]
