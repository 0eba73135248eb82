"""WebSockets, as plugins see them.

    plugin = Plugin(routes=[WebSocketRoute("/chat", Chat)])   # Chat is a WebSocketHandler

Starlette's own WebSockets work as well; `connection_of(websocket)` gives such a one a user and
rooms, after it was accepted.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Protocol

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from skep.base.errors import PlatformError

# Where the web worker puts the connection into the scope's extensions.
EXTENSION = "skep.connection"
_FAILED, _LOST = 1011, 1006


class Connection(Protocol):
    """One WebSocket connection."""

    @property
    def id(self) -> str:
        """A name that no other connection has, in no worker."""

    @property
    def user(self) -> str | None:
        """The user it is assigned to by `bind`."""

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms it has joined."""

    @property
    def path(self) -> str:
        """The path of the handshake."""

    @property
    def client(self) -> str:
        """The address of the other side."""

    def bind(self, user: str) -> None:
        """Assign it to a user: `push(user=…)` reaches it from now on."""

    def join(self, room: str) -> None:
        """Add it to a room: `push(room=…)` reaches it from now on."""

    def leave(self, room: str) -> None:
        """Remove it from a room."""

    async def send(self, data: Any) -> None:
        """Send text, bytes, or anything else as JSON.

        Waits while the client reads more slowly than is sent. Raises ConnectionError when it is
        gone.
        """

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; `on_close` is called."""


def connection_of(websocket: HTTPConnection) -> Connection:
    """Return the platform's side of a Starlette WebSocket. Raises PlatformError elsewhere."""
    found: Connection | None = websocket.scope.get("extensions", {}).get(EXTENSION)
    if found is None:
        raise PlatformError("connection_of() works for WebSockets in a web worker only.")
    return found


def frame(data: Any) -> str | bytes:
    """Return what is sent for `data`: text and bytes as they are, anything else as JSON."""
    if isinstance(data, str | bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


class WebSocketHandler:
    """Serves one WebSocket; there is an object of it for each, so `self` is the place for state.

    Messages of one connection are handled one after the other, and no more is read before the
    handler has returned. An exception closes the connection with 1011 and is logged.
    `subprotocols` are those it speaks, the preferred one first.
    """

    subprotocols: ClassVar[Sequence[str]] = ()

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application of one connection; Starlette's routes make it."""
        self._websocket = WebSocket(scope, receive, send)

    def __await__(self) -> Generator[Any, None, None]:
        return self._serve().__await__()

    async def on_handshake(self, request: HTTPConnection) -> Response | None:
        """Return an answer to refuse the client, a 401 for instance, or None to let it in."""
        return None

    async def on_open(self, connection: Connection) -> None:
        """The connection is open."""

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        """A message has come in: text as str, binary as bytes."""

    async def on_close(self, connection: Connection, code: int, reason: str) -> None:
        """The connection is closed, by whichever side, after `on_open` was called."""

    async def _serve(self) -> None:
        refusal = await self.on_handshake(self._websocket)
        if refusal is not None:
            await self._websocket.send_denial_response(refusal)
            return
        offered = self._websocket.scope["subprotocols"]
        chosen = next((name for name in self.subprotocols if name in offered), None)
        await self._websocket.accept(subprotocol=chosen)
        connection = connection_of(self._websocket)
        code, reason = _FAILED, ""
        try:
            await self.on_open(connection)
            code, reason = await self._receive(connection)
        except ConnectionError:
            code = _LOST
        finally:
            await self.on_close(connection, code, reason)

    async def _receive(self, connection: Connection) -> tuple[int, str]:
        """Handle messages until the connection is closed; return the code and the reason."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return message.get("code", _LOST), message.get("reason") or ""
            text: str | None = message.get("text")
            await self.on_message(connection, message["bytes"] if text is None else text)
