"""One client of the store: frames in, frames out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from msgspec import DecodeError

from skep.base.errors import EngineError
from skep.engine.protocol import (
    LARGEST_REQUEST,
    Invalid,
    Reply,
    Request,
    Splitter,
    frame,
    read_request,
)

log = logging.getLogger(__name__)


class Client(Protocol):
    """One end of the store: a process behind a socket, or a client in this process."""

    number: int
    owner: str

    def send(self, replies: Sequence[Reply]) -> None:
        """Send replies; they are lost on a client that has gone."""


class Desk(Protocol):
    """Where the requests of all connections are brought to."""

    def came(self, connection: ClientConnection) -> None:
        """Know a new client."""

    def ask(self, connection: ClientConnection, request: Request) -> None:
        """Take a request; it is answered through the connection."""

    def left(self, connection: ClientConnection) -> None:
        """The connection has ended, however that came."""


class ClientConnection(asyncio.Protocol):
    """The store's end of a connection; `owner` is who is at the other end, once it has said so."""

    _transport: asyncio.Transport

    def __init__(self, desk: Desk, number: int) -> None:
        self.number = number
        self.owner = ""
        self._desk = desk
        self._splitter = Splitter(LARGEST_REQUEST)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Become known."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one
        self._desk.came(self)

    def data_received(self, data: bytes) -> None:
        """Bring every whole request to the desk. One that cannot be read is refused by its number;
        only a client that sends no requests at all is cut off."""
        try:
            for body in self._splitter.feed(data):
                request = read_request(body)
                if isinstance(request, Invalid):
                    log.error("%s sent a request that cannot be read: %s", self, request.error)
                    self.send([request])
                else:
                    self._desk.ask(self, request)
        except (DecodeError, EngineError) as error:
            log.error("%s sent what is no request and was cut off: %s", self, error)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the desk, whose business the leases are."""
        self._desk.left(self)

    def pause_writing(self) -> None:
        """Hear nothing from a client that does not read its answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Hear it again."""
        self._transport.resume_reading()

    def send(self, replies: Sequence[Reply]) -> None:
        """Send replies, in one write; they are lost on a client that has gone."""
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join([frame(reply) for reply in replies]))

    def close(self) -> None:
        """Send what is left, then hang up."""
        self._transport.close()

    def __str__(self) -> str:
        return self.owner or f"client {self.number}"
