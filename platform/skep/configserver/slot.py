"""The embedded config server as a platform slot."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from skep.base.rundir import RunDir
from skep.config.options.table import Options
from skep.configserver.app import Place, opened
from skep.configserver.server import serve
from skep.wire.messages import Boot
from skep.wire.platform_slot import Send


class ConfigServerSlot:
    """Serves the data directory on the listener `config`."""

    def __init__(self, boot: Boot, send: Send) -> None:
        options = Options.from_json(boot.options)
        self._place = Place(
            directory=RunDir(options.data_dir).configserver_dir,
            samples=Path(options.config_samples),
            app_id=options.app_id,
            cluster=options.cluster,
            namespaces=options.namespace,
        )
        self._names = options.allowed_hosts
        self._open = AsyncExitStack()
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Open the database; fill it at the first start."""
        self._app = await self._open.enter_async_context(opened(self._place))

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Serve."""
        served = serve(listeners["config"], self._app, stop=self._stop, names=self._names)
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
