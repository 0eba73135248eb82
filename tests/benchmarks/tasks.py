"""What the embedded engine does on this machine: `python -m tests.benchmarks tasks`.

Everything is durable: a put counts when it is confirmed, after its fsync. The disk is that of the
working tree. End to end means: from the first `put` (or, for a queue that is full already,
from the first lease) until the store is empty, with two worker processes that run a task which does
nothing; they run as many at a time as `PLATFORM_TASK_CONCURRENCY` has by default, and four times as
many.
"""

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvloop

from skep.base.telemetry import Telemetry
from skep.engine import binding
from skep.engine.contract import Engine
from skep.engine.embedded import Embedded
from tests.benchmarks.figures import Figure, spread
from tests.process.chores import Diary, Noop, Stamp
from tests.process.store_child import StoreChild
from tests.process.worker_child import WorkerChild

# In the working tree, because /tmp is often no disk; git does not look into it.
DISK = Path(".platform")
TASKS = 20_000
# More of them, so that the start of the workers does not count.
MANY = 60_000
WORKERS = 2
CONCURRENCIES = (16, 64)
# Microseconds a task: 20 000 a second, and 10 000.
GOAL, FLOOR = 50.0, 100.0


def measure() -> Iterator[Figure]:
    """Measure, and give each figure as soon as it is there."""
    DISK.mkdir(exist_ok=True)
    for measurement in (_confirm, _puts, _full_queue, _delivered, _latency, _recovery):
        with (
            tempfile.TemporaryDirectory(dir=DISK) as directory,
            StoreChild(Path(directory)) as store,
        ):
            yield from uvloop.run(_with_engine(store.path, measurement))


async def _with_engine(
    socket: Path, measurement: Callable[[Engine, Path], Coroutine[Any, Any, list[Figure]]]
) -> list[Figure]:
    engine = Embedded(socket, "bench")
    await engine.open()
    await engine.stats()  # so that the store is up
    binding.bind(engine, Telemetry(), {})
    try:
        return await measurement(engine, socket)
    finally:
        binding.unbind()
        await engine.close()


async def _confirm(engine: Engine, socket: Path) -> list[Figure]:
    """One put after the other, and between them what the disk alone takes."""
    confirmed, synced = [], []
    with (socket.parent / "synced").open("ab", buffering=0) as file:
        for n in range(1500):
            envelope = Noop(n=n).envelope()
            confirmed.append(await _timed(engine.put([envelope])))
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            synced.append((time.perf_counter() - start) * 1000)
    bar = _percentile(synced, 99) + 2
    note = f"the bar is the disk's own p99 and 2 ms; p50 {_percentile(confirmed, 50):.2f}"
    return [Figure("deliver confirmed, p99", _percentile(confirmed, 99), "ms", bar, note)]


async def _timed(coroutine: Coroutine[Any, Any, Any]) -> float:
    start = time.perf_counter()
    await coroutine
    return (time.perf_counter() - start) * 1000


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


async def _puts(engine: Engine, _: Path) -> list[Figure]:
    figures = []
    for total, batch, at_once in ((3000, 1, 1), (TASKS, 1, 100), (TASKS, 100, 1)):
        start = time.perf_counter()
        await _put(engine, total, batch, at_once)
        figures.append(_per_task(f"durable puts of {batch}, {at_once} at once", total, start))
    return figures


async def _full_queue(engine: Engine, socket: Path) -> list[Figure]:
    figures = []
    for concurrency in CONCURRENCIES:
        await _put(engine, MANY, 100, 4)
        with _workers(socket, concurrency):
            while await _left(engine) == MANY:
                await asyncio.sleep(0.002)
            start, total = time.perf_counter(), await _left(engine)
            await _empty(engine)
            what = f"end to end, queue full already, {concurrency} at a time"
            figures.append(_per_task(what, total, start, GOAL))
    return figures


async def _delivered(engine: Engine, socket: Path) -> list[Figure]:
    figures = []
    for batch, at_once in ((100, 4), (1, 100)):
        with _workers(socket, CONCURRENCIES[-1]):
            await _put(engine, 1000, 100, 1)  # so that the workers are up
            await _empty(engine)
            start = time.perf_counter()
            await _put(engine, MANY, batch, at_once)
            await _empty(engine)
            what = f"end to end, puts of {batch}, {at_once} at once"
            figures.append(_per_task(what, MANY, start, GOAL if batch > 1 else FLOOR))
    return figures


async def _latency(engine: Engine, socket: Path) -> list[Figure]:
    """From deliver() to the first line of handle(), fifty times a second."""
    diary = Diary(socket.parent / "diary")
    with _workers(socket, CONCURRENCIES[0]):
        await Stamp(diary=diary.path, sent=time.time()).deliver()
        while not diary.entries("stamp"):
            await asyncio.sleep(0.01)
        for _ in range(500):
            await Stamp(diary=diary.path, sent=time.time()).deliver()
            await asyncio.sleep(0.02)
        await _empty(engine)
    waited = [float(entry[0]) for entry in diary.entries("stamp")[1:]]
    note = f"p50 {_percentile(waited, 50):.2f}; the confirmation is part of it"
    return [Figure("deliver to start at 50/s, p99", _percentile(waited, 99), "ms", 10, note)]


async def _recovery(engine: Engine, socket: Path) -> list[Figure]:
    """From the kill of a worker in the middle of a task to the start of it in another."""
    diary, seconds = Diary(socket.parent / "diary"), []
    with WorkerChild(socket, "task.9") as spare:
        for n in range(5):
            with WorkerChild(socket, f"task.{n}") as worker:
                spare.kill()
                await diary.chore(f"{n}", seconds=5).deliver()
                while not diary.starts()[f"{n}"]:
                    await asyncio.sleep(0.01)
                spare.start()
                while str(spare.pid) not in [pid for _, _, pid in diary.entries("end")]:
                    await diary.chore(f"up{n}").deliver()
                    await asyncio.sleep(0.02)
                start = time.perf_counter()
                worker.kill()
                while diary.starts()[f"{n}"] < 2:
                    await asyncio.sleep(0.001)
                seconds.append((time.perf_counter() - start) * 1000)
                await _empty(engine)  # so that nothing is a suspect in the next round
    return [Figure("kill to second start, slowest", max(seconds), "ms", 500, spread(seconds))]


async def _put(engine: Engine, total: int, batch: int, at_once: int) -> None:
    rounds = iter(range(total // batch))

    async def client() -> None:
        for _ in rounds:
            await engine.put([Noop(n=1).envelope() for _ in range(batch)])

    await asyncio.gather(*itertools.starmap(client, [()] * at_once))


async def _left(engine: Engine) -> int:
    return sum(stats.ready + stats.leased for stats in (await engine.stats()).values())


async def _empty(engine: Engine) -> None:
    while await _left(engine):
        await asyncio.sleep(0.01)


@contextmanager
def _workers(socket: Path, concurrency: int) -> Iterator[None]:
    with ExitStack() as stack:
        for n in range(WORKERS):
            stack.enter_context(WorkerChild(socket, f"task.{n}", concurrency))
        yield


def _per_task(what: str, number: int, start: float, bar: float | None = None) -> Figure:
    seconds = time.perf_counter() - start
    return Figure(what, seconds / number * 1e6, "µs", bar, f"{number / seconds:,.0f} /s")
