"""Custom processes in a lab: their `run`, with a real inbox, in the process of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from skep.api.processes.process import Process
from skep.config.options.table import Options
from skep.mailbox.address import InboxAddress
from skep.worker.kinds.process import ProcessKind
from skep.worker.workplace import Workplace

# Seconds that a process may take to end.
_PATIENCE = 10.0


class LabProcesses:
    """The processes that run in a lab; those of one class share an inbox in `data_dir`.

    `workplace(slot, options)` makes that of a process.
    """

    def __init__(self, data_dir: Path, workplace: Callable[[str, Options], Workplace]) -> None:
        self._options = Options.from_json({"data_dir": str(data_dir)})
        self._workplace = workplace
        self._inboxes: dict[str, socket.socket] = {}
        self._running: dict[str, int] = {}

    @asynccontextmanager
    async def run(self, cls: type[Process]) -> AsyncIterator[None]:
        """Run a process of this class in this block, and have it end.

        Raises AssertionError if it fails or does not end by itself.
        """
        name = cls.registered_name()
        index = self._running.get(name, 0)
        work = self._workplace(f"process.{name}.{index}", self._options)
        if name not in self._inboxes:
            self._inboxes[name] = InboxAddress(work.inboxes, name).bind()
        kind = ProcessKind(work)
        await kind.prepare()
        self._running[name] = index + 1
        running = await kind.accept({name: self._inboxes[name].dup()}, {})
        try:
            yield
        finally:
            self._running[name] -= 1
            kind.retire()
            await kind.drain(asyncio.get_running_loop().time() + _PATIENCE)
            is_late = not running.done()
            await kind.stop()
        assert not is_late, f"{work.slot} has not ended within {_PATIENCE:g} s of ctx.stopping"
        if not running.cancelled() and (status := running.result()):
            raise AssertionError(
                f"{work.slot} ended with exit status {status}; the log has its traceback."
            )

    def close(self) -> None:
        for sock in self._inboxes.values():
            sock.close()
