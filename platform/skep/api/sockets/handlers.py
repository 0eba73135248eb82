"""What serves the connections of a TcpListener, and the packets of a UdpListener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class TcpConnection(Protocol):
    """One connection, as its handler sees it."""

    @property
    def id(self) -> str:
        """A name that no other connection has."""

    @property
    def peer(self) -> str:
        """The other side: `192.0.2.7:4711`, empty for a unix socket."""

    @property
    def draining(self) -> bool:
        """Whether the worker is being replaced: the connection is closed when its time is up."""

    async def send(self, data: bytes) -> None:
        """Send a frame. Waits while the other side reads more slowly than is sent.

        Raises ConnectionError when the connection is gone.
        """

    def close(self) -> None:
        """Close it after what was sent; `on_close` is called."""


class TcpHandler:
    """Serves one connection; there is an object of it for each, so `self` is the place for state.

    Frames of one connection are handled one after the other, and no more is read before a handler
    has returned. An exception ends the connection and is logged.
    """

    async def on_connect(self, connection: TcpConnection) -> None:
        """A client has connected."""

    async def on_receive(self, connection: TcpConnection, frame: bytes) -> None:
        """A whole frame has come in."""
        raise NotImplementedError

    async def on_close(self, connection: TcpConnection, reason: str) -> None:
        """The connection has ended; `reason` is one of CLOSE_REASONS."""

    async def on_drain(self, connection: TcpConnection) -> None:
        """The worker is being replaced: say goodbye, if the protocol has a word for it."""

    def on_buffer_full(self, connection: TcpConnection) -> None:
        """The other side reads too slowly; `send` waits from now on."""

    def on_buffer_empty(self, connection: TcpConnection) -> None:
        """The other side has caught up."""


CLOSE_REASONS: Mapping[str, str] = {
    "closed": "by us, with close()",
    "eof": "by the other side",
    "lost": "by the network, or reset",
    "silent": "nothing came within `first_byte` seconds",
    "idle": "no whole frame came within `idle` seconds",
    "too_large": "a frame was larger than its framing allows",
    "cut": "the other side ended within a frame",
    "error": "the handler raised an exception",
    "drained": "the worker was replaced",
}


@dataclass(frozen=True)
class Packet:
    """One datagram and who sent it: a host and a port."""

    data: bytes
    peer: tuple[str, int]
    _answer: Callable[[bytes, tuple[str, int]], None] = field(repr=False)

    def reply(self, data: bytes) -> None:
        """Send a datagram back; like every datagram it may be lost."""
        self._answer(data, self.peer)


class UdpHandler:
    """Takes packets; one object of it serves all packets of a worker.

    Packets are handled side by side, in the order in which they came as far as handlers do not
    wait. An exception is logged and costs its packet only.
    """

    async def on_packet(self, packet: Packet) -> None:
        """A packet has come in."""
        raise NotImplementedError
