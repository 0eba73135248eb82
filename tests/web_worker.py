"""A web worker in this loop, on real sockets: the whole way of a connection, without processes."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from skep.api.plugin import Plugin
from skep.base.telemetry import Telemetry
from skep.config.options.endpoints import served
from skep.config.options.table import Options
from skep.metrics.instruments import Instruments
from skep.supervisor.sockets.listeners import Listeners
from skep.worker.kinds.web import WebKind
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.endpoints import Tls, endpoints
from skep.worker.workplace import Workplace


@dataclass
class WebWorker:
    """What a test can look at."""

    kind: WebKind
    listeners: Listeners
    registry: CollectorRegistry

    def port(self, name: str = "http") -> int:
        """Return the port of a listener."""
        return self.listeners.port(name, 7)

    def url(self, path: str) -> str:
        """Return the address of a WebSocket."""
        return f"ws://127.0.0.1:{self.port()}{path}"

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one of the platform's metrics."""
        return self.registry.get_sample_value(f"platform_{name}", labels) or 0.0

    async def end(self, seconds: float = 5.0) -> None:
        """Drain and stop, as when its generation is replaced."""
        self.kind.retire()
        await self.kind.drain(asyncio.get_running_loop().time() + seconds)
        await self.kind.stop()


@asynccontextmanager
async def web_worker(
    directory: Path, plugin: Plugin, *, slot: str = "web.0", **options: Any
) -> AsyncIterator[WebWorker]:
    """A worker that accepts."""
    chosen = Options(**{"data_dir": str(directory), "port": 0, **options})
    registry, catalog = CollectorRegistry(), Catalog.collect({"shop": plugin})
    instruments, no_engine = Instruments(registry, "web"), None
    tls = Tls.load(catalog.plugins, chosen)
    place = Workplace(slot, 7, catalog, no_engine, Telemetry(), chosen, instruments, tls)  # type: ignore[arg-type]
    worker = WebWorker(WebKind(place), Listeners(), registry)
    await worker.listeners.open([*served(chosen), *endpoints({"shop": plugin})], 7)
    names = worker.listeners.names(7)
    copies = [os.dup(fd) for fd in worker.listeners.descriptors(names, 7)]
    try:
        await worker.kind.prepare()
        await worker.kind.accept(
            dict(zip(names, [socket(fileno=fd) for fd in copies], strict=True)), {}
        )
        yield worker
        await worker.end()
    finally:
        worker.listeners.close()


def run_with_worker(
    directory: Path, plugin: Plugin, test: Callable[[WebWorker], Awaitable[None]], **options: Any
) -> None:
    """Run a test with a worker; whatever it asks of the mesh reaches this one."""

    async def run() -> None:
        async with web_worker(directory, plugin, **options) as worker:
            await test(worker)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLATFORM_DATA_DIR", str(directory))
        asyncio.run(run())
