"""The web worker: HTTP and WebSockets of all plugins, by uvicorn inside our own loop.

uvicorn's own shutdown resets connections that were accepted a moment ago and kept-alive ones whose
next request is on the way. So the worker drains first, in four beats (unlisten, settle, wait,
stop), and uvicorn's shutdown finds nothing left to do. `tests/process` holds this against new
versions.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import uvicorn
import uvicorn.lifespan.off  # uvicorn would load it by name, in every worker after the fork
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from skep.base.sockets import BACKLOG
from skep.metrics.web import HttpMetrics
from skep.worker.app import build
from skep.worker.edge import Edge
from skep.worker.kind import Workplace

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
    """Serves the plugins' routes on the listener `http`."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._edge: Edge
        self._server: _Server
        self._serving: asyncio.Task[None]

    async def prepare(self) -> None:
        """Build the application and start uvicorn without a listener."""
        app = build(dict(self._workplace.catalog.plugins))
        assert self._workplace.instruments is not None
        metrics = HttpMetrics(self._workplace.instruments, self._connections)
        self._edge = Edge(app, metrics, self._workplace.served)
        config = uvicorn.Config(
            self._edge,
            http=AutoHTTPProtocol,
            ws=WebSocketsSansIOProtocol,
            lifespan="off",  # plugins' lifespans are entered for every kind of worker, by the boot
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.001)

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Attach uvicorn's protocol to the inherited listeners."""
        server, config = self._server, self._server.config
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=server.server_state, app_state=server.lifespan.state
            )
            return made

        for listener in listeners.values():
            server.servers.append(
                await loop.create_server(protocol, sock=listener, backlog=BACKLOG)
            )
        return self._serving

    def retire(self) -> Mapping[str, Any]:
        """Stop accepting; from now on every response is the last of its connection."""
        self._edge.draining = True
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            for server in self._server.servers:
                for listener in server.sockets:
                    loop.remove_reader(listener.fileno())
        return {}

    async def drain(self, deadline: float) -> None:
        """Close the listener, then wait until no connection is left."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(_UNLISTEN)
        for server in self._server.servers:
            server.close()
        left = max(0.0, deadline - loop.time())
        self._edge.close_websockets(spread=min(_WEBSOCKET_SPREAD, left / 2))
        state = self._server.server_state
        while (state.connections or state.tasks) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)

    async def stop(self) -> None:
        """Let uvicorn shut down; what is still running is cancelled."""
        self._server.should_exit = True
        await self._serving

    def _connections(self) -> int:
        return len(self._server.server_state.connections)
