"""Which crons are due, and when the next one is: one heap for each of the two clocks."""

import heapq
import itertools
import math
from collections.abc import Iterator

from skep.worker.cron.runner import CronRunner
from skep.worker.cron.ticker import Instant

_Heap = list[tuple[float, int, CronRunner]]


class Agenda:
    """Crons in the order in which they are due."""

    def __init__(self) -> None:
        self._heaps: dict[bool, _Heap] = {False: [], True: []}
        self._numbers = itertools.count()

    def enter(self, runner: CronRunner) -> None:
        """Enter a cron, also again, when it is due at another moment than before."""
        if runner.due is not None and runner.entered != runner.due:
            runner.entered = runner.due
            heap = self._heaps[runner.line.wall]
            heapq.heappush(heap, (runner.due, next(self._numbers), runner))

    def take(self, now: Instant) -> Iterator[CronRunner]:
        """Yield those that are due, and forget them until they are entered again."""
        for wall, heap in self._heaps.items():
            clock = now.wall if wall else now.monotonic
            while heap and heap[0][0] <= clock:
                due, _, runner = heapq.heappop(heap)
                if runner.entered == due:
                    runner.entered = None
                    yield runner

    def wait(self, now: Instant) -> float:
        """Return how many seconds it is until the next one is due, infinity if none is."""
        return min(
            (
                heap[0][0] - (now.wall if wall else now.monotonic)
                for wall, heap in self._heaps.items()
                if heap
            ),
            default=math.inf,
        )
