"""A real task worker in a process of its own, with a few tasks that write down what they do."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine import binding
from skep.engine.embedded import Embedded
from skep.worker import fork_guard
from skep.worker.kinds.tasks import TaskKind
from skep.worker.loading.catalog import Catalog
from skep.worker.workplace import Workplace
from tests.process.chores import PLUGIN
from tests.process.store_child import start_python


class WorkerChild:
    """A task worker on a store's socket; a context manager that starts it and kills it."""

    def __init__(
        self, socket: Path, slot: str = "task.0", concurrency: int = 16, grace: float = 5.0
    ) -> None:
        self._arguments = [str(socket), slot, str(concurrency), str(grace)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def start(self) -> None:
        self._process = start_python("-m", "tests.process.worker_child", *self._arguments)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def drain(self) -> int:
        """Ask it to drain; return its exit status."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        assert self._process is not None
        return self._process.wait()

    def _end(self, sig: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(sig)
        status = self._process.wait()
        self._process = None
        return status


async def main(socket: Path, slot: str, concurrency: int, grace: float) -> None:
    fork_guard.watch()
    fork_guard.guard(asyncio.get_running_loop())
    telemetry = Telemetry()
    catalog = Catalog.collect({"chores": PLUGIN})
    engine = Embedded(socket, f"{slot}@1:{os.getpid()}")
    await engine.open()
    binding.bind(engine, telemetry, catalog.listener_names())
    options = Options(task_concurrency=concurrency)
    workplace = Workplace(slot, 1, catalog, engine, telemetry, options)
    kind = TaskKind(workplace)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await kind.prepare()
    await kind.accept({}, {})
    await stop.wait()
    kind.retire()
    await kind.drain(asyncio.get_running_loop().time() + grace)
    await kind.stop()
    await engine.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
