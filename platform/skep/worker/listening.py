"""The plugins' own listeners in one web worker."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from starlette.applications import Starlette

from skep.api.sockets import HttpListener, TcpListener, UdpListener
from skep.metrics.websocket import SocketMetrics
from skep.worker.endpoints import named
from skep.worker.tcp import TcpServer
from skep.worker.tls import listener_context
from skep.worker.udp import UdpServer

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from skep.api.plugin import Plugin
    from skep.config.options import Options
    from skep.metrics.instruments import Instruments


class Server(Protocol):
    """What serves one listener."""

    async def start(self, listener: socket.socket) -> None:
        """Take what comes in."""

    def retire(self) -> None:
        """Take nothing new."""

    async def drain(self, deadline: float) -> None:
        """Finish what there is, until the loop's time `deadline`; nothing is left then."""

    def rows(self) -> list[dict[str, Any]]:
        """Return what is to be told of the connections."""


class Listening:
    """TCP and UDP of all plugins, and the applications that have an HTTP port of their own.

    `apps` are these, by the name of their listener, with the TLS that is spoken there.
    """

    def __init__(
        self, plugins: Mapping[str, Plugin], instruments: Instruments, options: Options
    ) -> None:
        self.apps: dict[str, tuple[ASGIApp, ssl.SSLContext | None]] = {}
        self._servers: dict[str, Server] = {}
        for _, name, declared in named(plugins):
            if isinstance(declared, HttpListener):
                tls = listener_context(name, declared, options)
                self.apps[name] = _application(declared), tls
                continue
            counts = SocketMetrics(instruments, name)
            self._servers[name] = _server(name, declared, counts, options)

    async def start(self, listeners: Mapping[str, socket.socket]) -> None:
        """Take what comes in on those that are ours."""
        for name, server in self._servers.items():
            if name in listeners:
                await server.start(listeners[name])

    def retire(self) -> None:
        """Take nothing new."""
        for server in self._servers.values():
            server.retire()

    async def drain(self, deadline: float) -> None:
        """Finish what there is."""
        await asyncio.gather(*(server.drain(deadline) for server in self._servers.values()))

    def rows(self) -> list[dict[str, Any]]:
        """Return what is to be told of all connections."""
        return [row for server in self._servers.values() for row in server.rows()]


def _server(
    name: str, declared: TcpListener | UdpListener, counts: SocketMetrics, options: Options
) -> Server:
    if isinstance(declared, TcpListener):
        tls = listener_context(name, declared, options)
        return TcpServer(name, declared, counts, options.backlog, tls)
    return UdpServer(name, declared, counts)


def _application(declared: HttpListener) -> ASGIApp:
    return declared.app if callable(declared.app) else Starlette(routes=declared.app)
