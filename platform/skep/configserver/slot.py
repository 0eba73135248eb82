"""The embedded config server as a platform slot."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skep.base.rundir import RunDir
from skep.config.options import Options
from skep.configserver.app import create_app
from skep.configserver.credentials import read_or_make_token
from skep.configserver.seed import seed
from skep.configserver.server import serve
from skep.configserver.store import Store
from skep.wire.messages import Boot
from skep.wire.platform_slot import Send


class ConfigServerSlot:
    """Serves on the listener `config` what lies in the data directory."""

    def __init__(self, boot: Boot, send: Send) -> None:
        self._options = Options.from_json(boot.options)
        self._directory = RunDir(self._options.data_dir).configserver_dir
        self._store = Store(self._directory / "config.db")
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Open the database; fill it at the first start."""
        options = self._options
        self._token = read_or_make_token(self._directory / "token")
        self._store.open()
        where = (options.app_id, options.cluster, options.namespace)
        seed(self._store, Path(options.config_samples), *where)

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Serve."""
        app = create_app(self._store, self._token)
        self._serving = asyncio.create_task(serve(listeners["config"], app, stop=self._stop))
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
        self._store.close()
