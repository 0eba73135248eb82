"""Find the lines of source whose allocations make this worker grow."""

import asyncio
import tracemalloc
from typing import Any

from skep.wire.messages import Trace, Traced
from skep.worker.upkeep.retirement import resident_memory

_FRAMES = 1
_NOISE = (
    tracemalloc.Filter(False, tracemalloc.__file__),
    tracemalloc.Filter(False, __file__),
    tracemalloc.Filter(False, "<frozen importlib._bootstrap*>"),
)


async def trace(order: Trace) -> Traced:
    """Record allocations for the given time; return those that stayed.

    The worker runs at about half its speed. Two traces at a time end together.
    """
    before = resident_memory()
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start(_FRAMES)
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
