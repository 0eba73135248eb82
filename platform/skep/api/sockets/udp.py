"""What takes the packets of a UdpListener."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


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
