"""The web worker: HTTP and WebSockets of all plugins by uvicorn inside our own loop, and the
listeners of the plugins' own.

uvicorn's own shutdown resets connections that were accepted a moment ago and kept-alive ones whose
next request is on the way. So the worker drains first, in four beats (unlisten, settle, wait,
stop), and uvicorn's shutdown finds nothing left to do. `tests/process` holds this against new
versions.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import uvicorn
import uvicorn.lifespan.off  # uvicorn would load it by name, in every worker after the fork
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from skep.base.rundir import RunDir
from skep.base.sockets import BACKLOG
from skep.metrics.web import HttpMetrics
from skep.metrics.websocket import WebSocketMetrics
from skep.worker.app import build
from skep.worker.edge import Edge
from skep.worker.hub import Hub
from skep.worker.kind import Workplace
from skep.worker.listening import Listening
from skep.worker.switchboard import Switchboard
from skep.worker.tls import server_context
from skep.worker.websocket import Limits, WebSocketProtocol

# Between taking the listener out of the loop and closing it: what `accept` has returned already
# becomes a connection in this time (CPython issue 109564).
_UNLISTEN = 0.02
_LOOK = 0.02
_WEBSOCKET_SPREAD = 2.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: they are the worker's."""
        yield


class WebKind:
    """Serves the plugins' routes on the listeners `http`…, and the plugins' own listeners."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._edge: Edge
        self._edges: list[Edge] = []
        self._tls: ssl.SSLContext | None = None
        self._server: _Server
        self._serving: asyncio.Task[None]
        self._hub: Hub
        self._metrics: HttpMetrics
        self._listening: Listening
        self._switchboard: Switchboard

    async def prepare(self) -> None:
        """Build the application and start uvicorn without a listener."""
        work = self._workplace
        assert work.instruments is not None
        plugins = dict(work.catalog.plugins)
        self._tls = server_context(work.options.tls_cert, work.options.tls_key)
        self._hub = Hub(WebSocketMetrics(work.instruments))
        self._metrics = HttpMetrics(work.instruments, self._connections)
        self._listening = Listening(plugins, work.instruments)
        self._switchboard = Switchboard(
            RunDir(work.options.data_dir).mesh_dir,
            f"{work.slot}@{work.generation}",
            self._hub,
            self._rows,
        )
        self._edge = self._outermost(build(plugins))
        self._server = _Server(self._config("http", self._edge))
        self._serving = asyncio.create_task(self._server.serve(sockets=[]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.001)

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Attach the protocols to the inherited listeners."""
        await self._switchboard.start()
        apps = self._listening.apps
        for name, listener in listeners.items():
            if "." not in name:
                await self._attach(name, listener, self._edge, self._tls)
            elif name in apps:
                await self._attach(name, listener, self._outermost(apps[name]), None)
        await self._listening.start(listeners)
        return self._serving

    def retire(self) -> Mapping[str, Any]:
        """Stop accepting; from now on every response is the last of its connection."""
        for edge in self._edges:
            edge.draining = True
        self._listening.retire()
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            for server in self._server.servers:
                for listener in server.sockets:
                    loop.remove_reader(listener.fileno())
        return {}

    async def drain(self, deadline: float) -> None:
        """Close the listeners, then wait until no connection is left."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(_UNLISTEN)
        for server in self._server.servers:
            server.close()
        left = max(0.0, deadline - loop.time())
        self._hub.dismiss(spread=min(_WEBSOCKET_SPREAD, left / 2))
        await asyncio.gather(self._listening.drain(deadline), self._drain_http(deadline))

    async def stop(self) -> None:
        """Let uvicorn shut down; what is still running is cancelled."""
        self._switchboard.stop()
        self._server.should_exit = True
        await self._serving

    def _outermost(self, app: ASGIApp) -> Edge:
        edge = Edge(app, self._metrics, self._workplace.served)
        self._edges.append(edge)
        return edge

    def _config(self, name: str, app: Edge) -> uvicorn.Config:
        """Return what uvicorn serves an application with on one listener."""
        options = self._workplace.options
        ping = options.websocket_ping or None
        limits = Limits(options.websocket_idle_timeout, options.websocket_send_limit)
        protocol: Any = partial(WebSocketProtocol, hub=self._hub, limits=limits, listener=name)
        config = uvicorn.Config(
            app,
            http=AutoHTTPProtocol,
            ws=protocol,
            ws_max_size=options.websocket_message_limit,
            ws_ping_interval=ping,
            ws_ping_timeout=ping,
            # The windows of a compressed connection take more memory than all the rest of it.
            ws_per_message_deflate=False,
            lifespan="off",  # plugins' lifespans are entered for every kind of worker, by the boot
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=1,
        )
        config.load()
        return config

    async def _attach(
        self,
        name: str,
        listener: socket.socket,
        app: Edge,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Serve an application on a listener."""
        loop = asyncio.get_running_loop()
        made = self._protocols(name, self._config(name, app))
        self._server.servers.append(
            await loop.create_server(made, sock=listener, backlog=BACKLOG, ssl=tls)
        )

    def _protocols(self, name: str, config: uvicorn.Config) -> Callable[[], asyncio.Protocol]:
        server = self._server

        def protocol() -> asyncio.Protocol:
            made: Any = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=server.server_state, app_state=server.lifespan.state
            )
            made.listener = name
            return made  # type: ignore[no-any-return]

        return protocol

    async def _drain_http(self, deadline: float) -> None:
        loop, state = asyncio.get_running_loop(), self._server.server_state
        while (state.connections or state.tasks) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)

    def _connections(self) -> int:
        return len(self._server.server_state.connections)

    def _rows(self) -> list[dict[str, Any]]:
        """Return what is to be told of every connection."""
        rows = self._listening.rows()
        for protocol in list(self._server.server_state.connections):
            if isinstance(protocol, WebSocketProtocol):
                rows.append(protocol.connection.row())
            else:
                client = getattr(protocol, "client", None)
                peer = f"{client[0]}:{client[1]}" if client else ""
                rows.append({"listener": getattr(protocol, "listener", "http"), "client": peer})
        return rows
