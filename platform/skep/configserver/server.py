"""Serve the config server with uvicorn on a bound socket, in the caller's loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.applications import Starlette

from skep.base.sockets import accept_failures
from skep.base.sockets.host_check import HostCheck
from skep.configserver.protocol import ShortWay, protocol_with

# How long a stop waits for clients that neither finish their request nor read their answer.
_PATIENCE = 0.5
# Seconds. A request on an idle connection that the server is closing is lost, so clients should
# close first (httpx does after 5 s).
_KEEP_ALIVE = 75


async def serve(
    listener: socket.socket, app: Starlette, *, stop: asyncio.Event, names: Sequence[str] = ()
) -> None:
    """Serve the app on a listening socket until `stop` is set; `names` are host names that requests
    may use beside loopback's and the address.

    Then held polls are answered at once (304), other requests within half a second, and the
    listener is closed. The caller handles signals and chooses the loop.
    """
    accept_failures.watch(asyncio.get_running_loop())
    # Connections inherit it. Otherwise the second of two small writes waits up to 40 ms for the
    # client's acknowledgement: asyncio sets it on none whose socket names no protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host = HostCheck(app, names)
    short_way = ShortWay(host, app.state.clients, app.state.metrics)
    config = uvicorn.Config(
        host,
        http=protocol_with(short_way),
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        workers=1,
    )
    server = _Server(config, app)
    stopping = asyncio.create_task(_stop(server, stop))
    try:
        await server.serve(sockets=[listener])
    finally:
        stopping.cancel()


class _Server(uvicorn.Server):
    """uvicorn's server without signal handlers, and with a quick end."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._watchers = app.state.watchers

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the held polls, end everything else soon."""
        # Their handlers run after uvicorn has marked each connection to be closed with its answer,
        # so no client sends its next poll.
        self._watchers.close()
        cutting = asyncio.get_running_loop().call_later(_PATIENCE, self._cut_off)
        await super().shutdown(sockets)
        cutting.cancel()

    def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


async def _stop(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
