"""A UdpListener being served.

Packets are taken from the inherited socket by hand, not by a transport: to stop reading is then all
it takes to leave the rest to the next worker, and a worker that has enough to do leaves them to the
others.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from skep.api.sockets.handlers import Packet

if TYPE_CHECKING:
    import socket

    from skep.api.sockets.listeners import UdpListener
    from skep.metrics.websocket import SocketMetrics

_LONGEST = 65536
# How many packets are taken at a time, before the event loop looks after others.
_BATCH = 64

log = logging.getLogger(__name__)


class UdpServer:
    """Serves one listener in one worker."""

    def __init__(self, name: str, declared: UdpListener, counts: SocketMetrics) -> None:
        self.name = name
        self._handler = declared.handler()
        self._most = declared.concurrency
        self._counts = counts
        self._running: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._reading = False
        self._retired = False

    async def start(self, listener: socket.socket) -> None:
        self._socket = listener
        listener.setblocking(False)
        self._resume()

    def retire(self) -> None:
        """Read what has arrived, then no more."""
        if self._socket is not None and self._reading:
            self._readable()
        self._retired = True
        self._pause()

    async def drain(self, deadline: float) -> None:
        left = deadline - asyncio.get_running_loop().time()
        if self._running and left > 0:
            await asyncio.wait(self._running, timeout=left)
        for task in self._running:
            task.cancel()
        if self._socket is not None:
            self._socket.close()

    def _readable(self) -> None:
        assert self._socket is not None
        for _ in range(_BATCH):
            if len(self._running) >= self._most:
                self._pause()
                return
            try:
                data, peer = self._socket.recvfrom(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # an earlier answer was not received; the socket reports it now
            self._take(data, peer)

    def _take(self, data: bytes, peer: Any) -> None:
        self._counts.received()
        self._counts.bytes_in(len(data))
        task = asyncio.get_running_loop().create_task(
            self._handle(Packet(data, peer, self._answer))
        )
        self._running.add(task)
        task.add_done_callback(self._done)

    async def _handle(self, packet: Packet) -> None:
        try:
            await self._handler.on_packet(packet)
        except (Exception, SystemExit):  # the latter would end the worker
            self._counts.closed("error")
            log.exception("the handler of %s failed", self.name)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._retired and not self._reading:
            self._resume()

    def _answer(self, data: bytes, peer: Any) -> None:
        if self._socket is None or self._socket.fileno() < 0:
            return
        try:
            self._counts.bytes_out(self._socket.sendto(data, peer))
        except OSError as error:
            log.debug("an answer of %s was not sent: %s", self.name, error)

    def _resume(self) -> None:
        assert self._socket is not None
        self._reading = True
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def _pause(self) -> None:
        if self._reading and self._socket is not None:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
