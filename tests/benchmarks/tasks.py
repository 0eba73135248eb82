"""What the embedded engine does on this machine: `python -m tests.benchmarks.tasks`.

Everything is durable: a put counts when it is confirmed, after its fsync. The disk is that of the
working tree. End to end means: from the first `put` (or, for a queue that is full already,
from the first lease) until the store is empty, with two worker processes that run a task which does
nothing.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvloop

from skep.engine.base import Engine
from skep.engine.embedded import Embedded
from tests.process.chores import Noop
from tests.process.store_child import StoreChild
from tests.process.worker_child import WorkerChild

# In the working tree, because /tmp is often no disk; git does not look into it.
DISK = Path(".platform")
TASKS = 40_000
WORKERS = 2


def main() -> None:
    """Measure, and print a table."""
    DISK.mkdir(exist_ok=True)
    for measure in (_confirm, _puts, _full_queue, _delivered_in_batches, _delivered_one_by_one):
        with (
            tempfile.TemporaryDirectory(dir=DISK) as directory,
            StoreChild(Path(directory)) as store,
        ):
            uvloop.run(_with_engine(store.path, measure))


async def _with_engine(
    socket: Path, measure: Callable[[Engine, Path], Coroutine[Any, Any, None]]
) -> None:
    engine = Embedded(socket, "bench")
    await engine.open()
    await engine.stats()  # so that the store is up
    await measure(engine, socket)
    await engine.close()


async def _confirm(engine: Engine, _: Path) -> None:
    seconds = []
    for n in range(3000):
        envelope = Noop(n=n).envelope()
        start = time.perf_counter()
        await engine.put([envelope])
        seconds.append(time.perf_counter() - start)
    cuts = statistics.quantiles(seconds, n=100)
    print(f"deliver confirm, one after the other: p50 {cuts[49] * 1e3:.2f} ms, ", end="")
    print(f"p99 {cuts[98] * 1e3:.2f} ms")


async def _puts(engine: Engine, _: Path) -> None:
    for total, batch, at_once in ((3000, 1, 1), (TASKS, 1, 100), (TASKS, 100, 1)):
        start = time.perf_counter()
        await _put(engine, total, batch, at_once)
        _print(f"durable puts of {batch}, {at_once} at once", total, start)


async def _full_queue(engine: Engine, socket: Path) -> None:
    await _put(engine, TASKS, 100, 4)
    with _workers(socket):
        while await _left(engine) == TASKS:
            await asyncio.sleep(0.002)
        start, total = time.perf_counter(), await _left(engine)
        await _empty(engine)
        _print(f"end to end, {WORKERS} workers, queue full already", total, start)


async def _delivered_in_batches(engine: Engine, socket: Path) -> None:
    await _end_to_end(engine, socket, 100, 4)


async def _delivered_one_by_one(engine: Engine, socket: Path) -> None:
    await _end_to_end(engine, socket, 1, 100)


async def _end_to_end(engine: Engine, socket: Path, batch: int, at_once: int) -> None:
    with _workers(socket):
        await _put(engine, 1000, 100, 1)  # so that the workers are up
        await _empty(engine)
        start = time.perf_counter()
        await _put(engine, TASKS, batch, at_once)
        await _empty(engine)
        _print(f"end to end, {WORKERS} workers, puts of {batch}, {at_once} at once", TASKS, start)


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
def _workers(socket: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for n in range(WORKERS):
            stack.enter_context(WorkerChild(socket, f"task.{n}"))
        yield


def _print(what: str, number: int, start: float) -> None:
    print(f"{what:<50} {number / (time.perf_counter() - start):>8,.0f} /s")


if __name__ == "__main__":
    main()
