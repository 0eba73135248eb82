"""A lab with a real store: SQLite behind its socket, and a real task worker, in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from skep.base.rundir import RunDir, bind_unix
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine.contract import QueueStats
from skep.engine.embedded import Embedded
from skep.store.server import serve
from skep.testing.lab import Lab, Plugins
from skep.worker.kinds.tasks import TaskKind
from skep.worker.workplace import Workplace

_LOOK = 0.01


class RealLab(Lab):
    """Deliveries run by themselves, as on a platform; time is that of the machine."""

    async def done(self, timeout: float = 10.0) -> None:
        """Wait until nothing waits or runs. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while any(map(_is_busy, (await self.engine.stats()).values())):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)


@asynccontextmanager
async def real(plugins: Plugins, directory: Path, **options: object) -> AsyncIterator[RealLab]:
    """A lab that keeps its deliveries in `directory`; two one after the other share them.

    `options` are the platform's own, like `task_concurrency`.
    """
    async with store(directory) as socket:
        lab = RealLab(plugins, Embedded(socket, "task.0@1:lab"))
        made = Options.from_json(options)
        workplace = Workplace("task.0", 1, lab.catalog, lab.engine, lab.telemetry, made)
        async with lab.opened(), at_work(workplace):
            yield lab


@asynccontextmanager
async def store(directory: Path, telemetry: Telemetry | None = None) -> AsyncIterator[Path]:
    """Run a store in this loop; yield the path of its socket."""
    run_dir = RunDir(directory)
    run_dir.create()
    stop = asyncio.Event()
    with bind_unix(run_dir.store_socket) as listener:
        serving = asyncio.create_task(
            serve(listener, run_dir.queue_file, run_id="lab", stop=stop, telemetry=telemetry)
        )
        try:
            yield run_dir.store_socket
        finally:
            stop.set()
            await serving
            run_dir.store_socket.unlink(missing_ok=True)


@asynccontextmanager
async def at_work(workplace: Workplace) -> AsyncIterator[TaskKind]:
    """Run a task worker in this loop, on an open engine; it drains at the end of the block."""
    kind = TaskKind(workplace)
    await kind.prepare()
    await kind.accept({}, {})
    try:
        yield kind
        deadline = asyncio.get_running_loop().time() + workplace.options.drain_timeout
        await kind.drain(deadline)
    finally:
        await kind.stop()


def _is_busy(stats: QueueStats) -> bool:
    return bool(stats.ready or stats.scheduled or stats.leased or stats.blocked)
