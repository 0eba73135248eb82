"""`python -P -m skep.store`: the store slot."""

import asyncio
import socket
import sys
from collections.abc import Mapping
from typing import Any

from skep.base.rundir import RunDir
from skep.store.server import serve
from skep.wire.messages import Boot
from skep.wire.platform_slot import Send, run


class StoreSlot:
    """The store as a slot: it serves the socket the supervisor has bound."""

    def __init__(self, boot: Boot, send: Send) -> None:
        self._run_id = boot.run_id
        self._path = RunDir(boot.options["data_dir"]).queue_file
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Nothing: the file is opened when there is nobody before us who has it open."""

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> None:
        """Open the database and serve."""
        self._serving = asyncio.create_task(
            serve(listeners["store"], self._path, run_id=self._run_id, stop=self._stop)
        )

    def retire(self) -> Mapping[str, Any]:
        """Go on: whoever still has something to settle is about to."""
        return {}

    async def drain(self, deadline: float) -> None:
        """Close the database after the transaction that is running."""
        self._stop.set()
        if self._serving is not None:
            await asyncio.wait({self._serving}, timeout=2.0)

    async def stop(self) -> None:
        """Nothing is left to do."""


if __name__ == "__main__":
    sys.exit(run(StoreSlot))
