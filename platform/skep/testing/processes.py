"""Custom processes in a lab: their `run`, with a real inbox, in the process of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from skep.api.processes.process import Process
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine.contract import Engine
from skep.messaging.address import InboxAddress
from skep.messaging.binding import PostOffice, bind
from skep.worker.kinds.process import ProcessKind
from skep.worker.loading.catalog import Catalog
from skep.worker.workplace import Workplace

# Seconds that a process may take to end.
_PATIENCE = 10.0
_ADVICE = "open `async with lab.process(TheClass):` around it, in the test"


class LabProcesses:
    """The processes that run in a lab; those of one class share an inbox in `data_dir`. From now on
    messages of this process go there, until `close`."""

    def __init__(
        self, data_dir: Path, catalog: Catalog, engine: Engine, telemetry: Telemetry
    ) -> None:
        self._options = Options.from_json({"data_dir": str(data_dir)})
        self._of_the_lab = (catalog, engine, telemetry, self._options)
        self._inboxes: dict[str, socket.socket] = {}
        self._running: dict[str, int] = {}
        declared = frozenset(catalog.processes.values())
        folder = self._workplace("task.0").inboxes
        self._before = bind(PostOffice(folder, telemetry, declared, _ADVICE))

    @asynccontextmanager
    async def run(self, cls: type[Process]) -> AsyncIterator[None]:
        """Run a process of this class in this block, and have it end.

        Raises AssertionError if it fails or does not end by itself.
        """
        name = cls.registered_name()
        index = self._running.get(name, 0)
        work = self._workplace(f"process.{name}.{index}")
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
        """Close the inboxes; messages go where they went before."""
        office = bind(self._before)
        if office is not None:
            office.outbox.close()
        for sock in self._inboxes.values():
            sock.close()

    def _workplace(self, slot: str) -> Workplace:
        return Workplace(slot, 1, *self._of_the_lab)
