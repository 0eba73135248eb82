"""Labs without a store process: deliveries wait in memory, and the test sets the clock."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from skep.engine.ids import now_ms
from skep.testing.inline_engine import Inline, MemoryStore
from skep.testing.lab import Lab, Plugins
from skep.worker.tasks.queues import limits
from skep.worker.tasks.runner import Runner
from skep.worker.workplace import Workplace

_OWNER = "task.0@1"
# A task that delivers itself again and again would otherwise keep a test busy for ever.
_MOST = 10_000


class ManualLab(Lab):
    """Nothing runs before `drain` or `advance`, and the clock stands still in between."""

    def __init__(self, plugins: Plugins, queues: tuple[str, ...] = ()) -> None:
        self._now = now_ms()
        self._store = MemoryStore(clock=lambda: self._now)
        self._inline = Inline(self._store, _OWNER)
        super().__init__(plugins, self._inline)
        self._limits = limits(queues)
        self._draining = False
        self._runner: Runner

    async def drain(self) -> None:
        """Run all that is due, and what follows from it, until nothing is.

        Deliveries start in their order, each when the one before has ended or waits for another.
        What is to be tried again after a backoff waits for `advance`.
        """
        if self._draining:  # by a handler that delivers: what it delivers is seen to below
            return
        self._draining = True
        try:
            await self._run_all()
        finally:
            self._draining = False

    async def advance(self, seconds: float) -> None:
        """Let time pass and run what becomes due on the way, each at its moment."""
        end = self._now + round(seconds * 1000)
        await self.drain()
        while (due := self._store.database.moves.next_due) is not None and due <= end:
            self._now = max(due, self._now)
            await self.drain()
        self._now = end
        await self.drain()

    @asynccontextmanager
    async def at_work(self, inline: bool) -> AsyncIterator[None]:
        """Run in this block; with `inline`, what is put is run at once."""
        threads = ThreadPoolExecutor(8, thread_name_prefix="task")
        workplace = Workplace(
            "task.0", 1, self.catalog, self.engine, self.telemetry, clock=lambda: self._now
        )
        self._runner = Runner(workplace, threads)
        async with self.opened(lambda: self._now, self.drain if inline else None):
            await self.engine.configure(self._limits)
            settling = asyncio.create_task(self._runner.settler.work())
            cancelling = asyncio.create_task(self._cancel_for_ever())
            try:
                yield
            finally:
                settling.cancel()
                cancelling.cancel()
                threads.shutdown(wait=False, cancel_futures=True)
        self._store.close()

    async def _run_all(self) -> None:
        running: set[asyncio.Task[None]] = set()
        begun = 0
        while True:
            leases = self._inline.connection.take_now((), 1)
            running |= {asyncio.create_task(self._runner.run(lease)) for lease in leases}
            begun += len(leases)
            if begun > _MOST:
                raise AssertionError(f"More than {_MOST} deliveries were begun: is there no end?")
            if not running:
                return
            # A handler that waits for the result of another must not keep that from running.
            changed = asyncio.create_task(self._store.changed())
            await asyncio.wait({*running, changed}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            for run in [run for run in running if run.done()]:
                run.result()
                running.discard(run)
            await self._runner.settler.wait_until_idle()

    async def _cancel_for_ever(self) -> None:
        while True:
            self._runner.cancel(await self.engine.cancelled())


@asynccontextmanager
async def manual(plugins: Plugins, queues: tuple[str, ...] = ()) -> AsyncIterator[ManualLab]:
    """A lab in which deliveries wait until `drain` or `advance`.

    `queues` are limits as in `PLATFORM_QUEUES`.
    """
    lab = ManualLab(plugins, queues)
    async with lab.at_work(inline=False):
        yield lab


@asynccontextmanager
async def inline(plugins: Plugins, queues: tuple[str, ...] = ()) -> AsyncIterator[ManualLab]:
    """A lab in which `deliver` and `fire` return when all that was due has run; what is delayed
    waits for `advance`."""
    lab = ManualLab(plugins, queues)
    async with lab.at_work(inline=True):
        yield lab
