"""A web worker in this process: in a loop of uvloop, on a real socket, without a platform."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, cast

import uvloop
from prometheus_client import CollectorRegistry

from skep.api.plugin import Plugin
from skep.api.worker import Worker
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine.contract import Engine
from skep.metrics.instruments import Instruments
from skep.worker.kinds.web import WebKind
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.endpoints import Tls
from skep.worker.workplace import Workplace

# HTTP asks nothing of it.
NO_ENGINE = cast(Engine, None)


@dataclass
class Answer:
    """What came back for one request."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Connection:
    """One connection to the website."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        """Send so many segments."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self, head_only: bool = False) -> Answer:
        """Read one answer, whatever its framing."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in pairs}
            body = b"" if head_only else await self.body(headers)
            return Answer(int(head[0].split(" ")[1]), headers, body)

    async def ask(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send a request and read its answer."""
        await self.send(request(path, *headers, method=method, body=body))
        return await self.answer(head_only=method == "HEAD")

    async def ended(self) -> bytes:
        """Read until the server has closed the connection; return what came."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def body(self, headers: dict[str, str]) -> bytes:
        """Read the body that belongs to these headers."""
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body


def request(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Return a request as it travels."""
    lines = [f"{method} {path} HTTP/1.1", "host: test", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Website:
    """What a test can ask and look at."""

    port: int
    listener: socket.socket
    kind: WebKind
    registry: CollectorRegistry
    _open: list[Connection] = field(default_factory=list)

    async def connect(self) -> Connection:
        """Open a connection; it is closed in the end."""
        self._open.append(Connection(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self._open[-1]

    async def ask(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Ask on a connection of its own."""
        return await (await self.connect()).ask(path, *headers, method=method, body=body)

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a metric, 0 if there is none."""
        return self.registry.get_sample_value(f"platform_{name}", labels) or 0.0

    def refused(self, reason: str) -> float:
        """Return how many clients were turned away for this reason."""
        return self.value("http_refusals_total", reason=reason)

    def close(self) -> None:
        """Close what the test has opened."""
        self.listener.close()
        for connection in self._open:
            connection.writer.close()


@asynccontextmanager
async def website(plugins: dict[str, Plugin], **options: Any) -> AsyncIterator[Website]:
    """A web worker that accepts; it drains in the end."""
    with TemporaryDirectory() as folder:
        RunDir(folder).create()
        async with _accepting(plugins, Options(data_dir=folder, **options)) as site:
            yield site


@asynccontextmanager
async def _accepting(plugins: dict[str, Plugin], options: Options) -> AsyncIterator[Website]:
    telemetry, registry = Telemetry(), CollectorRegistry()
    catalog = Catalog.collect(plugins)
    instruments, tls = Instruments(registry, "web"), Tls.load(plugins, options)
    workplace = Workplace("web.0", 1, catalog, NO_ENGINE, telemetry, options, instruments, tls)
    before = Worker._current
    Worker.become("web.0", 1)
    kind, around = WebKind(workplace), AsyncExitStack()
    await workplace.lifespans.enter(plugins, around)
    await kind.prepare()
    listener = socket.create_server(("127.0.0.1", 0))
    site = Website(listener.getsockname()[1], listener.dup(), kind, registry)
    await kind.accept({"http": listener}, {})
    try:
        yield site
    finally:
        site.close()
        kind.retire()
        await kind.drain(asyncio.get_running_loop().time() + 2)
        await kind.stop()
        await around.aclose()
        Worker._current = before


def run_website(
    plugins: Plugin | dict[str, Plugin],
    test: Callable[[Website], Awaitable[None]],
    **options: Any,
) -> None:
    """Run a test against a website."""

    async def run() -> None:
        async with website(
            {"site": plugins} if isinstance(plugins, Plugin) else plugins, **options
        ) as site:
            await test(site)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
