"""When a worker is replaced: after so many requests or tasks, at an age, above a size of memory;
and which lines of source make it grow."""

import asyncio
import os
import random
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from skep.config.options.table import Options
from skep.wire.messages import Trace, Traced

# So far the limits of one worker may lie from those that are set, so that not all go at once.
_JITTER = 0.1
# A peak is not a leak: this many looks in a row, one a second, have to find too much memory.
_LOOKS = 3
_MIB = 1024 * 1024

# What the trace itself allocates.
_NOISE = (
    tracemalloc.Filter(False, tracemalloc.__file__),
    tracemalloc.Filter(False, __file__),
    tracemalloc.Filter(False, "<frozen importlib._bootstrap*>"),
)


class Retirement:
    """Counts what a worker does and calls `retire(reason, detail)` at a limit; `draw` returns
    numbers in [0, 1)."""

    def __init__(
        self, options: Options, now: float, draw: Callable[[], float] = random.random
    ) -> None:
        def limit(value: float) -> float:
            return value * (1 - _JITTER + 2 * _JITTER * draw()) if value else float("inf")

        self._most = max(1.0, limit(options.max_requests))
        self._until = now + limit(options.max_age)
        self._largest = limit(options.max_rss) * _MIB
        self._born = now
        self._count = 0
        self._too_large = 0
        self.retire: Callable[[str, str], None] = lambda reason, detail: None

    def served(self) -> None:
        self._count += 1
        if self._count >= self._most:
            self.retire("max_requests", f"{self._count} served")

    def look(self, now: float, held: int) -> None:
        """Check age and held memory (bytes); called once a second."""
        if now >= self._until:
            self.retire("max_age", f"{now - self._born:.0f} s old")
        self._too_large = self._too_large + 1 if held > self._largest else 0
        if self._too_large >= _LOOKS:
            self.retire("max_memory", f"{held / _MIB:.0f} MiB")


def resident_memory() -> int:
    """Return the resident memory of this process in bytes; 0 where the kernel reports none."""
    return _memory()[0]


def held_memory() -> int:
    """Return the resident memory of this process without the pages of files and of memory that it
    shares: those of shared tables are the same for all processes, and what was read of a file can
    be read again."""
    resident, shared = _memory()
    return resident - shared


def _memory() -> tuple[int, int]:
    """Return how many bytes are resident, and how many of these are of files or shared."""
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        _, resident, shared, *_ = map(int, file.read().split())
        page = os.sysconf("SC_PAGE_SIZE")
        return resident * page, shared * page
    return 0, 0


async def trace(order: Trace) -> Traced:
    """Record allocations for the given time; return those that stayed. The worker has about half
    its speed. Two traces at a time end together."""
    before = resident_memory()
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        first = await asyncio.to_thread(tracemalloc.take_snapshot)
        await asyncio.sleep(order.seconds)
        second = await asyncio.to_thread(tracemalloc.take_snapshot)
    finally:
        if started:
            tracemalloc.stop()
    growth = await asyncio.to_thread(_growth, first, second, order.top)
    return Traced(order.number, growth, [before, resident_memory()])


def _growth(
    first: tracemalloc.Snapshot, second: tracemalloc.Snapshot, top: int
) -> list[dict[str, Any]]:
    differences = second.filter_traces(_NOISE).compare_to(first.filter_traces(_NOISE), "lineno")
    return [
        {
            "file": difference.traceback[0].filename,
            "line": difference.traceback[0].lineno,
            "bytes": difference.size_diff,
            "blocks": difference.count_diff,
        }
        for difference in differences[:top]
        if difference.size_diff > 0
    ]
