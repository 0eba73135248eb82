"""The WebSockets of one worker: by id, by user and by room."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from websockets.frames import Frame, Opcode

from skep.api.sockets.websocket import frame

if TYPE_CHECKING:
    from collections.abc import Collection

    from skep.metrics.websocket import RouteMetrics, WebSocketMetrics
    from skep.wire.mesh import Command


NORMAL, RESTART = 1000, 1012


class Socket(Protocol):
    """What carries one connection."""

    listener: str
    writable: asyncio.Event

    @property
    def open(self) -> bool: ...
    @property
    def waiting(self) -> int: ...
    async def until_writable(self) -> None: ...
    def push(self, message: bytes) -> bool: ...
    def hang_up(self, code: int, reason: str = "") -> None: ...


class ServedConnection:
    """One connection as plugins see it; the contract is `skep.api.sockets.websocket.Connection`.
    `counts` is there once it is accepted."""

    counts: RouteMetrics

    def __init__(self, protocol: Socket, registry: Registry) -> None:
        self.id = secrets.token_hex(8)
        self.user: str | None = None
        self.rooms: frozenset[str] = frozenset()
        self.since = time.time()
        self.accepted = 0.0
        # The application may change it: a trusted proxy names the client.
        self.scope: Mapping[str, Any] = {}
        self.protocol = protocol
        self._registry = registry

    @property
    def path(self) -> str:
        return str(self.scope.get("path", ""))

    @property
    def client(self) -> str:
        client = self.scope.get("client")
        return f"{client[0]}:{client[1]}" if client else ""

    def bind(self, user: str) -> None:
        self._registry.bind(self, user)

    def join(self, room: str) -> None:
        self._registry.join(self, room)

    def leave(self, room: str) -> None:
        self._registry.leave(self, room)

    async def send(self, data: Any) -> None:
        if not self.protocol.writable.is_set():
            await self.protocol.until_writable()
        message = encoded(frame(data))
        if not self.protocol.push(message):
            raise ConnectionResetError("The WebSocket is closed.")
        self.counts.sent(len(message) - header_size(message))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        self.protocol.hang_up(code, reason)

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "listener": self.protocol.listener,
            "user": self.user,
            "rooms": sorted(self.rooms),
            "path": self.path,
            "client": self.client,
            "since": self.since,
        }


class Registry:
    """Knows the connections from when they are accepted until they are gone."""

    def __init__(self, counts: WebSocketMetrics) -> None:
        self.counts = counts
        self._slow: set[ServedConnection] = set()  # those with messages that waited lately
        self._all: dict[str, ServedConnection] = {}
        self._users: dict[str, set[ServedConnection]] = {}
        self._rooms: dict[str, set[ServedConnection]] = {}
        self._spread: float | None = None
        counts.watch(self._waiting)

    def add(self, connection: ServedConnection, route: str) -> None:
        self._all[connection.id] = connection
        connection.accepted = time.monotonic()
        connection.counts = self.counts.route(route)
        connection.counts.opened()
        if self._spread is not None:
            self._dismiss(connection)

    def remove(self, connection: ServedConnection, code: int) -> None:
        """Remove a connection that is gone; one that was never accepted is ignored."""
        if self._all.pop(connection.id, None) is None:
            return
        self._slow.discard(connection)
        connection.counts.closed(code, time.monotonic() - connection.accepted)
        if connection.user is not None:
            _out(self._users, connection.user, connection)
        for room in connection.rooms:
            _out(self._rooms, room, connection)

    def note_slow(self, connection: ServedConnection) -> None:
        """Look at this connection when the messages that wait are counted."""
        if connection.id in self._all:
            self._slow.add(connection)

    def bind(self, connection: ServedConnection, user: str) -> None:
        if connection.user is not None:
            _out(self._users, connection.user, connection)
        connection.user = user
        if connection.id in self._all:
            self._users.setdefault(user, set()).add(connection)

    def join(self, connection: ServedConnection, room: str) -> None:
        connection.rooms |= {room}
        if connection.id in self._all:
            self._rooms.setdefault(room, set()).add(connection)

    def leave(self, connection: ServedConnection, room: str) -> None:
        connection.rooms -= {room}
        _out(self._rooms, room, connection)

    def push(self, target: Command, content: str | bytes) -> int:
        """Send to all that match; return to how many."""
        message = encoded(content)
        reached = Counter(c.counts for c in self._meant(target) if c.protocol.push(message))
        for counts, number in reached.items():
            counts.sent(len(message) - header_size(message), number)
        self.counts.pushed(reached.total())
        return reached.total()

    def kick(self, target: Command) -> int:
        """Close all that match; return how many."""
        meant = [connection for connection in self._meant(target) if connection.protocol.open]
        for connection in meant:
            connection.protocol.hang_up(target.code, target.reason)
        return len(meant)

    def rows(self, target: Command) -> list[dict[str, Any]]:
        return [c.row() for c in self._meant(target) if c.protocol.open]

    def dismiss(self, spread: float) -> None:
        """Close all within `spread` seconds, including those still being accepted, so that not all
        reconnect at once."""
        self._spread = spread
        for connection in self._all.values():
            self._dismiss(connection)

    def _waiting(self, route: str) -> int:
        count = 0
        for connection in list(self._slow):
            if waiting := connection.protocol.waiting:
                count += waiting if connection.counts.route == route else 0
            else:
                self._slow.discard(connection)
        return count

    def _dismiss(self, connection: ServedConnection) -> None:
        assert self._spread is not None
        loop = asyncio.get_running_loop()
        delay = random.uniform(0, self._spread)
        loop.call_later(delay, connection.protocol.hang_up, RESTART, "restart")

    def _meant(self, target: Command) -> Collection[ServedConnection]:
        if target.connection is not None:
            found = self._all.get(target.connection)
            return [found] if found else []
        if target.user is not None:
            return list(self._users.get(target.user, ()))
        if target.room is not None:
            return list(self._rooms.get(target.room, ()))
        return list(self._all.values())


def _out(index: dict[str, set[ServedConnection]], key: str, connection: ServedConnection) -> None:
    members = index.get(key)
    if members is None:
        return
    members.discard(connection)
    if not members:
        del index[key]


def encoded(content: str | bytes) -> bytes:
    """Return the message in its wire format, which is the same for all connections: a server does
    not mask, and nothing is compressed."""
    if isinstance(content, str):
        return Frame(Opcode.TEXT, content.encode()).serialize(mask=False)
    return Frame(Opcode.BINARY, content).serialize(mask=False)


def header_size(message: bytes) -> int:
    """Return how many bytes precede the content of an encoded message (RFC 6455, 5.2)."""
    return {126: 4, 127: 10}.get(message[1], 2)
