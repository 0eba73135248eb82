"""What the embedded engine can do on this machine: `python -m tests.benchmarks.tasks`."""

import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import uvloop

from skep.engine.embedded import Embedded
from tests.process.chores import Noop
from tests.process.store_child import StoreChild
from tests.process.worker_child import WorkerChild

WORKERS = 2
TASKS = 40_000


async def _puts(engine: Embedded, total: int, batch: int, at_once: int) -> float:
    """Return the durable puts per second of `at_once` clients' worth of pipelining."""
    rounds = iter(range(total // batch))

    async def client() -> None:
        for _ in rounds:
            await engine.put([Noop(n=1).envelope() for _ in range(batch)])

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return total / (time.perf_counter() - start)


async def _confirms(engine: Embedded, number: int) -> tuple[float, float]:
    """Return p50 and p99 of one put after the other, in milliseconds."""
    seconds = []
    for n in range(number):
        envelope = Noop(n=n).envelope()
        start = time.perf_counter()
        await engine.put([envelope])
        seconds.append(time.perf_counter() - start)
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


async def _drained(engine: Embedded) -> None:
    while await engine.stats():
        await asyncio.sleep(0.02)


async def _store_alone(socket: Path) -> None:
    engine = Embedded(socket, "bench")
    await engine.open()
    p50, p99 = await _confirms(engine, 2000)
    print(f"deliver confirm, one at a time      p50 {p50:.2f} ms  p99 {p99:.2f} ms")
    for batch, at_once, total in (
        (1, 1, 3000),
        (1, 100, 40_000),
        (100, 1, 60_000),
        (100, 4, 60_000),
    ):
        rate = await _puts(engine, total, batch, at_once)
        print(f"durable puts, batch {batch:>3}, {at_once:>3} at once  {rate:>9,.0f} /s")
    await engine.close()


async def _end_to_end(socket: Path, waiting: bool) -> None:
    engine = Embedded(socket, "bench")
    await engine.open()
    with ExitStack() as stack:
        if waiting:
            start = time.perf_counter()
            await _puts(engine, TASKS, 100, 4)
            print(f"  ({TASKS:,} delivered in {time.perf_counter() - start:.2f} s)")
        workers = [stack.enter_context(WorkerChild(socket, f"task.{n}")) for n in range(WORKERS)]
        await asyncio.sleep(1.5 if not waiting else 0)
        start = time.perf_counter()
        if not waiting:
            await _puts(engine, TASKS, 100, 4)
            await _drained(engine)
            seconds = time.perf_counter() - start
            print(
                f"end to end, {len(workers)} workers, delivered meanwhile  {TASKS / seconds:>9,.0f} tasks/s"
            )
        else:
            while (await engine.stats())["default"].ready > TASKS - 1000:
                await asyncio.sleep(0.005)
            begin = (await engine.stats())["default"].ready
            start = time.perf_counter()
            await _drained(engine)
            seconds = time.perf_counter() - start
            print(
                f"end to end, {len(workers)} workers, delivered before     {begin / seconds:>9,.0f} tasks/s"
            )
    await engine.close()


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        with StoreChild(Path(directory, "a")) as store:
            uvloop.run(_store_alone(store.path))
        with StoreChild(Path(directory, "b")) as store:
            uvloop.run(_end_to_end(store.path, waiting=True))
        with StoreChild(Path(directory, "c")) as store:
            uvloop.run(_end_to_end(store.path, waiting=False))


if __name__ == "__main__":
    main()
