"""The plugins' own listeners in one web worker."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from skep.api.sockets.listeners import TcpListener, UdpListener
from skep.metrics.websocket import SocketMetrics
from skep.worker.loading.endpoints import named
from skep.worker.sockets.tcp import TcpServer
from skep.worker.sockets.udp import UdpServer

if TYPE_CHECKING:
    from skep.api.plugin import Plugin
    from skep.config.options.table import Options
    from skep.metrics.instruments import Instruments


class Listening:
    """TCP and UDP of all plugins; `tls` are the contexts of the listeners where TLS is spoken."""

    def __init__(
        self,
        plugins: Mapping[str, Plugin],
        instruments: Instruments,
        options: Options,
        tls: Mapping[str, ssl.SSLContext],
    ) -> None:
        self._servers: dict[str, TcpServer | UdpServer] = {}
        for _, name, declared in named(plugins):
            counts = partial(SocketMetrics, instruments, name)
            if isinstance(declared, TcpListener):
                server = TcpServer(name, declared, counts(), options.backlog, tls.get(name))
                self._servers[name] = server
            elif isinstance(declared, UdpListener):
                self._servers[name] = UdpServer(name, declared, counts())

    async def start(self, listeners: Mapping[str, socket.socket]) -> None:
        """Serve those of the listeners that are ours."""
        for name, server in self._servers.items():
            if name in listeners:
                await server.start(listeners[name])

    def retire(self) -> None:
        for server in self._servers.values():
            server.retire()

    async def drain(self, deadline: float) -> None:
        await asyncio.gather(*(server.drain(deadline) for server in self._servers.values()))

    def rows(self) -> list[dict[str, Any]]:
        return [row for server in self._servers.values() for row in server.rows()]
