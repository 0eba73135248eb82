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


class RequestHandler(Protocol):
    """Takes the requests of all connections."""

    def came(self, connection: ClientConnection) -> None:
        """Add a new client."""

    def ask(self, connection: ClientConnection, request: Request) -> None:
        """Take a request; the reply is sent through the connection."""

    def left(self, connection: ClientConnection) -> None:
        """Remove a connection that has ended."""


class ClientConnection(asyncio.Protocol):
    """The store's end of a connection; `owner` is empty until the client has introduced itself."""

    _transport: asyncio.Transport

    def __init__(self, handler: RequestHandler, number: int) -> None:
        self.number = number
        self.owner = ""
        self._handler = handler
        self._splitter = Splitter(LARGEST_REQUEST)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one
        self._handler.came(self)

    def data_received(self, data: bytes) -> None:
        """Pass every whole request on. One that cannot be read is refused by its number; only a
        client that does not send requests at all is disconnected."""
        try:
            for body in self._splitter.feed(data):
                request = read_request(body)
                if isinstance(request, Invalid):
                    log.error("%s sent a request that cannot be read: %s", self, request.error)
                    self.send([request])
                else:
                    self._handler.ask(self, request)
        except (DecodeError, EngineError) as error:
            log.error(
                "%s sent something that is not a request and was disconnected: %s", self, error
            )
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.left(self)

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its replies."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def send(self, replies: Sequence[Reply]) -> None:
        """Send replies, in one write; they are lost on a client that has gone."""
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join([frame(reply) for reply in replies]))

    def close(self) -> None:
        """Send what is left, then close."""
        self._transport.close()

    def __str__(self) -> str:
        return self.owner or f"client {self.number}"
