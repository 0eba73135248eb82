"""`python -P -m skep.configserver`: the slot of the embedded config server."""

import asyncio
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from skep.config.options.table import Options
from skep.configserver.directory import opened
from skep.configserver.server import serve
from skep.wire.messages import Boot
from skep.wire.platform_slot import Send, run


class ConfigServerSlot:
    """Serves the data directory on the listener `config`."""

    def __init__(self, boot: Boot, send: Send) -> None:
        self._options = Options.from_json(boot.options)
        self._open = AsyncExitStack()
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Open the database; fill it at the first start."""
        self._app = await self._open.enter_async_context(opened(self._options))

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Serve."""
        names = self._options.allowed_hosts
        served = serve(listeners["config"], self._app, stop=self._stop, names=names)
        self._serving = asyncio.create_task(served)
        return self._serving

    def retire(self) -> Mapping[str, Any]:
        """Answer the polls that are held."""
        self._stop.set()
        return {}

    async def drain(self, deadline: float) -> None:
        """Wait until every answer is out."""
        if self._serving is not None:
            await asyncio.wait({self._serving}, timeout=2.0)

    async def stop(self) -> None:
        """Close the database."""
        await self._open.aclose()


if __name__ == "__main__":
    sys.exit(run(ConfigServerSlot))
