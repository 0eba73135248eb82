"""The web worker: HTTP and WebSockets of all plugins by uvicorn inside our own loop, and the
listeners of the plugins' own.

uvicorn's own shutdown resets connections that were accepted a moment ago and kept-alive ones whose
next request is on the way. So the worker drains first, in four beats (unlisten, settle, wait,
stop), and uvicorn's shutdown finds nothing left to do. `tests/process` holds this against new
versions.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import uvicorn
import uvicorn.lifespan.off  # uvicorn would load it by name, in every worker after the fork
from starlette.types import ASGIApp

from skep.api.sockets.listeners import TcpListener, UdpListener
from skep.base.sockets import accept_failures
from skep.metrics.web import HttpMetrics
from skep.metrics.websocket import SocketMetrics, WebSocketMetrics
from skep.worker.http.access_log import AccessLog
from skep.worker.http.app import Application
from skep.worker.http.forwarded import Forwarded
from skep.worker.http.h11_protocol import H11Protocol
from skep.worker.http.httptools_protocol import HttptoolsProtocol
from skep.worker.http.leaks import LeakWatch
from skep.worker.http.limits import Guard, shutdown_timeout
from skep.worker.http.middleware import Edge, route_of
from skep.worker.http.protocol import HttpProtocol
from skep.worker.loading.endpoints import named
from skep.worker.sockets.tcp import Handshakes, TcpServer
from skep.worker.sockets.udp import UdpServer
from skep.worker.websocket.connection import WebSocketProtocol
from skep.worker.websocket.mesh_server import MeshServer
from skep.worker.websocket.registry import Registry
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

# Between taking the listener out of the loop and closing it: what `accept` has returned already
# becomes a connection in this time (CPython issue 109564).
_UNLISTEN = 0.02
_LOOK = 0.02
_WEBSOCKET_SPREAD = 2.0
_PROTOCOLS: dict[str, type[HttpProtocol]] = {"httptools": HttptoolsProtocol, "h11": H11Protocol}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: they are the worker's."""
        yield


class WebKind:
    """Serves the plugins' routes on the listeners `http`…, and the plugins' own listeners."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._around = contextlib.AsyncExitStack()
        self._edges: dict[str, Edge] = {}  # by plugins' own listener; the others' is called ""
        self._access_log: AccessLog | None = None

    async def prepare(self) -> None:
        """Build the application and start uvicorn without a listener."""
        work = self._workplace
        assert work.instruments is not None
        self._instruments = work.instruments
        self._registry = Registry(WebSocketMetrics(work.instruments))
        self._metrics = HttpMetrics(work.instruments, self._connections)
        self._sockets = dict(self._socket_servers())
        self._mesh_server = MeshServer(
            work.options.data_dir,
            f"{work.slot}@{work.generation}",
            self._registry,
            self._rows,
        )
        work.trouble = lambda: self._mesh_server.trouble
        if work.options.access_log:
            self._access_log = AccessLog()
            await self._around.enter_async_context(self._access_log.running())
        application = Application(work.catalog.plugins, work.options, work.lifespans.app.state)
        for mounted in application.mounted:
            await self._around.enter_async_context(mounted.lifespan())
        apps = {"": application.app, **application.ports}
        self._edges = {name: self._outermost(app) for name, app in apps.items()}
        for path in application.websocket_paths:
            self._registry.counts.route(path)
        self._guard = Guard(work.options, work.instruments)
        self._handshakes = Handshakes(work.options.header_timeout, self._guard.counts.tls_error)
        self._server = _Server(self._config("http", self._edges[""]))
        self._serving = asyncio.create_task(self._server.serve(sockets=[]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.001)
        # uvicorn copies this into the state of every request.
        self._server.lifespan.state.update(work.lifespans.state)

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Attach the protocols to the inherited listeners."""
        accept_failures.watch(asyncio.get_running_loop())
        await self._mesh_server.start()
        tls = self._workplace.tls
        for name, listener in listeners.items():
            if "." not in name:
                await self._attach(name, listener, self._edges[""], tls.platform)
            elif name in self._edges:
                await self._attach(name, listener, self._edges[name], tls.listeners.get(name))
        for name, server in self._sockets.items():
            if name in listeners:
                await server.start(listeners[name])
        connections = self._server.server_state.connections
        self._watching = asyncio.create_task(self._guard.watch(connections))
        self._around.callback(self._watching.cancel)
        return self._serving

    def retire(self) -> Mapping[str, Any]:
        """Stop accepting; from now on every response is the last of its connection."""
        for edge in self._edges.values():
            edge.draining = True
        for own in self._sockets.values():
            own.retire()
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
        self._registry.dismiss(spread=min(_WEBSOCKET_SPREAD, left / 2))
        own = (server.drain(deadline) for server in self._sockets.values())
        await asyncio.gather(*own, self._drain_http(deadline))

    async def stop(self) -> None:
        """Shut uvicorn down; it cancels what is still running."""
        self._mesh_server.stop()
        self._server.should_exit = True
        await self._serving
        await self._around.aclose()

    def _socket_servers(self) -> Iterator[tuple[str, TcpServer | UdpServer]]:
        work = self._workplace
        for _, name, declared in named(work.catalog.plugins):
            counts = partial(SocketMetrics, self._instruments, name)
            if isinstance(declared, TcpListener):
                tls, backlog = work.tls.listeners.get(name), work.options.backlog
                yield name, TcpServer(name, declared, counts(), backlog, tls)
            elif isinstance(declared, UdpListener):
                yield name, UdpServer(name, declared, counts())

    def _outermost(self, app: ASGIApp) -> Edge:
        work = self._workplace
        if work.options.watch or work.options.leak_check:
            app = LeakWatch(app)
        return Edge(app, self._metrics, work.served, work.options, self._access_log)

    def _config(self, name: str, app: Edge) -> uvicorn.Config:
        options = self._workplace.options
        ping = options.websocket_ping or None
        protocol: Any = partial(
            WebSocketProtocol, registry=self._registry, options=options, listener=name
        )
        spans = self._workplace.spans
        served: ASGIApp = app if spans is None else spans.requests(app, route_of)
        config = uvicorn.Config(
            Forwarded(served, self._guard.proxies) if options.trusted_proxies else served,
            interface="asgi3",
            http=_PROTOCOLS[options.http],
            ws=protocol,
            ws_max_size=options.websocket_message_limit,
            ws_ping_interval=ping,
            ws_ping_timeout=ping,
            # The windows of a compressed connection take more memory than all the rest of it.
            ws_per_message_deflate=False,
            lifespan="off",  # plugins' lifespans are entered for every kind of worker, before it
            log_config=None,
            access_log=False,
            proxy_headers=False,
            root_path="" if "." in name else options.root_path,  # plugins' own ports have no prefix
            server_header=False,
            headers=[("server", options.server_header)] if options.server_header else [],
            backlog=options.backlog,
            timeout_graceful_shutdown=1,
            reset_contextvars=True,  # what a request sets is not there in the next one's context
        )
        config.load()
        return config

    async def _attach(
        self, name: str, listener: socket.socket, app: Edge, tls: ssl.SSLContext | None
    ) -> None:
        loop, options, server = asyncio.get_running_loop(), self._workplace.options, self._server
        config, chosen = self._config(name, app), _PROTOCOLS[options.http]

        def protocol() -> asyncio.Protocol:
            made: Any = chosen(
                config, server.server_state, server.lifespan.state, guard=self._guard
            )
            made.listener = name
            if tls is not None:
                self._handshakes.expect(made)
            return made  # type: ignore[no-any-return]

        server.servers.append(
            await loop.create_server(
                protocol,
                sock=listener,
                backlog=options.backlog,
                ssl=tls,
                ssl_handshake_timeout=options.header_timeout if tls else None,
                ssl_shutdown_timeout=shutdown_timeout(loop) if tls else None,
            )
        )

    async def _drain_http(self, deadline: float) -> None:
        loop, state = asyncio.get_running_loop(), self._server.server_state
        await self._handshakes.settle(deadline)
        while (state.connections or state.tasks) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        if state.tasks:
            log.warning("%d requests did not end in time and are cut off", len(state.tasks))

    def _connections(self) -> int:
        if not hasattr(self, "_server"):  # it may never be made: a plugin's middleware may fail
            return 0
        return len(self._server.server_state.connections)

    def _rows(self) -> list[dict[str, Any]]:
        tcp = [server for server in self._sockets.values() if isinstance(server, TcpServer)]
        rows = [connection.row() for server in tcp for connection in server.connections]
        for protocol in list(self._server.server_state.connections):
            if isinstance(protocol, WebSocketProtocol):
                rows.append(protocol.connection.row())
            else:
                client = getattr(protocol, "client", None)
                peer = f"{client[0]}:{client[1]}" if client else ""
                rows.append({"listener": getattr(protocol, "listener", "http"), "client": peer})
        return rows
