"""How long `deliver()` takes while the same process makes wrong calls: `python -m tests.benchmarks
neighbours`."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import uvloop

from skep.base.telemetry import Telemetry
from skep.engine import binding
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id
from tests.benchmarks.figures import Figure, percentile, spread
from tests.process.bad_calls import CALLS, DOCUMENTED, EDGES, Happened, Work
from tests.process.store_child import StoreChild

# In the working tree, because /tmp is often no disk; git does not look into it.
DISK = Path(".platform")
# Milliseconds: before, it was the 10 s after which a client gives a store up.
BAR = 50.0


def measure() -> Iterator[Figure]:
    """Measure a neighbour's deliveries beside every wrong call there is."""
    DISK.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=DISK) as directory,
        StoreChild(Path(directory)) as store,
    ):
        alone, times = uvloop.run(_deliver_beside_wrong_calls(store))
    # What the disk and the other work of the machine cost just now.
    yield Figure("deliver() alone, p99", percentile(alone, 0.99), "ms", None, spread(alone))
    yield Figure(
        "deliver() beside a wrong call, p99", percentile(times, 0.99), "ms", BAR, spread(times)
    )


async def _deliver_beside_wrong_calls(store: StoreChild) -> tuple[list[float], list[float]]:
    """Return the milliseconds of deliveries alone and of those beside a wrong call, in turns."""
    client = Embedded(store.path, "web.0@1:1")
    await client.open()
    await client.stats()
    binding.bind(client, Telemetry(), {Happened.registered_name(): ("a", "b")})
    alone, times = [], []
    for call in CALLS.values():
        for value in EDGES:
            alone.append(await _timed_delivery())
            beside = asyncio.create_task(_timed_delivery())
            with suppress(*DOCUMENTED):
                await call(value, value)
            times.append(await beside)
    binding.unbind()
    await client.close()
    return alone, times


async def _timed_delivery() -> float:
    began = time.perf_counter()
    await Work(name="neighbour").deliver(key=new_id())
    return (time.perf_counter() - began) * 1000
