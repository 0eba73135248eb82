"""The task worker: it leases what is ready, and runs as much at once as it may."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from skep.base.errors import EngineError
from skep.engine.base import Lease, QueueStats
from skep.worker.kind import Workplace
from skep.worker.run import Runner
from skep.worker.settle import Settler

log = logging.getLogger(__name__)

# No queue named means every queue: also one that no task of this generation uses any more.
_EVERY_QUEUE: tuple[str, ...] = ()
# How long what was cut off may take to give its lease back.
_FAREWELL = 1.0
_PAUSE = 1.0
_MEASURE = 1.0


class TaskKind:
    """Runs up to `task_concurrency` tasks and listeners at once in one worker.

    Handlers that are plain functions run in threads, of which there are as many.
    """

    def __init__(self, workplace: Workplace) -> None:
        self._engine = workplace.engine
        self._telemetry = workplace.telemetry
        self._concurrency = workplace.options.task_concurrency
        self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="task")
        self._settler = Settler(workplace.engine)
        self._runner = Runner(workplace, self._threads, self._settler)
        self._running: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._leasing: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._queues: set[str] = set()

    async def prepare(self) -> None:
        """Nothing can fail here: the engine is open, and the catalog is checked."""

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Start leasing."""
        self._settler.start()
        self._measuring = asyncio.create_task(self._measure_for_ever())
        self._leasing = asyncio.create_task(self._lease_for_ever())
        return self._leasing

    def retire(self) -> Mapping[str, Any]:
        """Lease nothing new."""
        for task in (self._leasing, self._measuring):
            if task is not None:
                task.cancel()
        return {}

    async def drain(self, deadline: float) -> None:
        """Wait for what runs."""
        if self._leasing is not None:
            await asyncio.wait([self._leasing])
        await self._finish(deadline - asyncio.get_running_loop().time())

    async def stop(self) -> None:
        """Cut off what still runs; another worker will run it again, and no try is counted."""
        self._runner.cut_off()
        await self._finish(_FAREWELL)
        for task in self._running:
            task.cancel()
        await self._settler.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _finish(self, seconds: float) -> None:
        """Wait until nothing runs and everything is settled, but no longer than so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running:
                    await asyncio.wait(self._running)
                await self._settler.wait_until_idle()

    async def _lease_for_ever(self) -> None:
        while True:
            free = self._concurrency - len(self._running)
            if free == 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            try:
                leases = await self._engine.lease(_EVERY_QUEUE, free)
            except EngineError:
                log.exception("Nothing can be leased; trying again in %g s", _PAUSE)
                await asyncio.sleep(_PAUSE)
                continue
            for lease in leases:
                self._start(lease)

    async def _measure_for_ever(self) -> None:
        """Tell how full the queues are; of one that has become empty once more, too."""
        while True:
            await asyncio.sleep(_MEASURE)
            with suppress(EngineError):
                stats = await self._engine.stats()
                for queue in self._queues | stats.keys():
                    found = stats.get(queue, QueueStats())
                    self._telemetry.point(
                        "queue.measured",
                        queue=queue,
                        ready=found.ready,
                        scheduled=found.scheduled,
                        dead=found.dead,
                        oldest=found.oldest / 1000,
                    )
                self._queues = set(stats)

    def _start(self, lease: Lease) -> None:
        task = asyncio.create_task(self._runner.run(lease))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._freed.set()
        if not task.cancelled() and task.exception() is not None:
            log.critical(
                "A lease was not settled: this is a fault of the platform",
                exc_info=task.exception(),
            )
