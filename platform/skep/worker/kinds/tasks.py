"""The task worker: it leases what is ready, and runs as much at once as it may."""

import asyncio
import logging
import socket
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from skep.base.errors import EngineError
from skep.config.options.queues import own_workers
from skep.engine.contract import Lease, Settlement
from skep.worker.tasks.queues import counted_steps, limits, served_queues
from skep.worker.tasks.runner import Runner
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

# How long what was cut off may take to give its lease back.
_FAREWELL = 1.0
# After the engine was out of reach.
_LOOK_AGAIN = 1.0
# sysexits.h: an internal software error.
_EX_SOFTWARE = 70


class TaskKind:
    """Runs up to `task_concurrency` tasks and listeners at once in one worker, plain functions in
    as many threads."""

    def __init__(self, workplace: Workplace) -> None:
        self._engine = workplace.engine
        self._concurrency = workplace.options.task_concurrency
        self._served_queues = served_queues(workplace.slot, own_workers(workplace.options.queues))
        self._limits = limits(workplace.options.queues)
        self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="task")
        self._runner = Runner(workplace, self._threads)
        self._settler = self._runner.settler
        self._running: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._leasing: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []
        self._counted_steps = counted_steps(workplace.catalog)

    async def prepare(self) -> None:
        """Nothing can fail: the engine is open, and the catalog is checked."""

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        work = (self._cancel_for_ever(), self._configure(), self._settler.work())
        self._background = [_vital(coroutine) for coroutine in work]
        self._leasing = _vital(self._lease_for_ever())
        return self._leasing

    def retire(self) -> Mapping[str, Any]:
        """Lease nothing new."""
        if self._leasing is not None:
            self._leasing.cancel()
        return {}

    async def drain(self, deadline: float) -> None:
        """Wait for what runs, for each handler as long as it may continue."""
        await _cancel(self._leasing)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._running:
            now = loop.time()
            left = min(self._runner.cut_off_overdue(now - began), deadline - now)
            if left <= 0:
                return
            await asyncio.wait(self._running, timeout=left)
        await self._finish(deadline - loop.time())

    async def stop(self) -> None:
        """Cancel what still runs; another worker runs it again, and no try is counted."""
        await _cancel(self._leasing)
        self._runner.cut_off()
        await self._finish(_FAREWELL)
        for task in self._running:
            task.cancel()
        for task in self._background:
            await _cancel(task)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _finish(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wait_until_idle()

    async def _wait_until_idle(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        await self._settler.wait_until_idle()

    # -- leasing ---------------------------------------------------------------------------------

    async def _lease_for_ever(self) -> None:
        while True:
            # A handler that was left to itself still has its thread.
            free = self._concurrency - len(self._running) - self._runner.abandoned
            if free <= 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            leases = await self._engine.lease(self._served_queues, free)
            suspect = next(filter(self._runner.is_suspect, leases), None)
            if suspect is None:
                for lease in leases:
                    self._start(lease)
            else:
                await self._run_alone(suspect, leases)

    async def _configure(self) -> None:
        """Send the limits of the queues and what is counted; all workers of a generation send the
        same."""
        while True:
            try:
                await self._engine.configure(self._limits)
                await self._engine.expect(self._counted_steps)
                return
            except EngineError:
                await asyncio.sleep(_LOOK_AGAIN)

    async def _cancel_for_ever(self) -> None:
        while True:
            try:
                self._runner.cancel(await self._engine.cancelled())
            except EngineError:
                await asyncio.sleep(_LOOK_AGAIN)

    async def _run_alone(self, suspect: Lease, leases: Sequence[Lease]) -> None:
        """Run one while this worker holds no other that could be lost with it."""
        for lease in leases:
            if lease is not suspect:
                self._settler.settle(Settlement(lease, "release"))
        try:
            await self._wait_until_idle()
        except asyncio.CancelledError:  # retired while it waited: another worker's turn
            self._settler.settle(Settlement(suspect, "release"))
            raise
        self._start(suspect)
        await self._wait_until_idle()

    def _start(self, lease: Lease) -> None:
        task = _vital(self._runner.run(lease))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._freed.set()


def _vital(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that must not fail. If it does, that is our bug, and the worker ends: it would
    hold its leases for ever, and its end passes them to others."""
    task = asyncio.create_task(coroutine)
    task.add_done_callback(_end_worker_if_failed)
    return task


def _end_worker_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("This should never happen, please report it", exc_info=error)
        raise SystemExit(_EX_SOFTWARE)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
