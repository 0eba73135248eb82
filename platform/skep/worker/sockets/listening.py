"""The plugins' own listeners in one web worker."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from skep.api.sockets.listeners import TcpListener, UdpListener
from skep.metrics.websocket import SocketMetrics
from skep.worker.loading.endpoints import named
from skep.worker.sockets.tcp import TcpServer
from skep.worker.sockets.udp import UdpServer

if TYPE_CHECKING:
    from skep.api.plugin import Plugin
    from skep.config.options.table import Options
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
    """TCP and UDP of all plugins; `tls` are the contexts of the listeners where TLS is spoken."""

    def __init__(
        self,
        plugins: Mapping[str, Plugin],
        instruments: Instruments,
        options: Options,
        tls: Mapping[str, ssl.SSLContext],
    ) -> None:
        self._servers: dict[str, Server] = {}
        for _, name, declared in named(plugins):
            if isinstance(declared, TcpListener):
                counts = SocketMetrics(instruments, name)
                served = TcpServer(name, declared, counts, options.backlog, tls.get(name))
                self._servers[name] = served
            elif isinstance(declared, UdpListener):
                counts = SocketMetrics(instruments, name)
                self._servers[name] = UdpServer(name, declared, counts)

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
