"""The WebSockets of one worker: by id, by user and by room."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from skep.worker.websocket.connection import RESTART, encoded

if TYPE_CHECKING:
    from collections.abc import Collection

    from skep.metrics.websocket import WebSocketMetrics
    from skep.wire.mesh import Command
    from skep.worker.websocket.connection import Connection


class Hub:
    """Knows the connections from when they are accepted until they are gone."""

    def __init__(self, counts: WebSocketMetrics) -> None:
        self.counts = counts
        self._all: dict[str, Connection] = {}
        self._users: dict[str, set[Connection]] = {}
        self._rooms: dict[str, set[Connection]] = {}
        self._spread: float | None = None
        counts.watch(lambda: len(self._all))

    def add(self, connection: Connection) -> None:
        """It was accepted."""
        self._all[connection.id] = connection
        self.counts.opened()
        if self._spread is not None:
            self._dismiss(connection)

    def remove(self, connection: Connection, code: int) -> None:
        """It is gone; nothing is to be done for one that was never accepted."""
        if self._all.pop(connection.id, None) is None:
            return
        self.counts.closed(code)
        if connection.user is not None:
            _out(self._users, connection.user, connection)
        for room in connection.rooms:
            _out(self._rooms, room, connection)

    def bind(self, connection: Connection, user: str) -> None:
        """It belongs to this user from now on."""
        if connection.user is not None:
            _out(self._users, connection.user, connection)
        connection.user = user
        if connection.id in self._all:
            self._users.setdefault(user, set()).add(connection)

    def join(self, connection: Connection, room: str) -> None:
        """It is in this room from now on."""
        connection.rooms |= {room}
        if connection.id in self._all:
            self._rooms.setdefault(room, set()).add(connection)

    def leave(self, connection: Connection, room: str) -> None:
        """It is not in this room any more."""
        connection.rooms -= {room}
        _out(self._rooms, room, connection)

    def push(self, target: Command, content: str | bytes) -> int:
        """Send to all that are meant; return to how many."""
        message = encoded(content)
        count = sum(connection.protocol.push(message) for connection in self._meant(target))
        self.counts.sent(count)
        self.counts.pushed(count)
        return count

    def kick(self, target: Command) -> int:
        """Close all that are meant; return how many."""
        meant = [connection for connection in self._meant(target) if connection.protocol.open]
        for connection in meant:
            connection.protocol.hang_up(target.code, target.reason)
        return len(meant)

    def rows(self, target: Command) -> list[dict[str, Any]]:
        """Return what is to be told of those that are meant."""
        return [c.row() for c in self._meant(target) if c.protocol.open]

    def dismiss(self, spread: float) -> None:
        """Close all within `spread` seconds, so that not all come back at once; those that are
        still being accepted too."""
        self._spread = spread
        for connection in self._all.values():
            self._dismiss(connection)

    def _dismiss(self, connection: Connection) -> None:
        assert self._spread is not None
        loop = asyncio.get_running_loop()
        delay = random.uniform(0, self._spread)
        loop.call_later(delay, connection.protocol.hang_up, RESTART, "restart")

    def _meant(self, target: Command) -> Collection[Connection]:
        if target.connection is not None:
            found = self._all.get(target.connection)
            return [found] if found else []
        if target.user is not None:
            return list(self._users.get(target.user, ()))
        if target.room is not None:
            return list(self._rooms.get(target.room, ()))
        return list(self._all.values())


def _out(index: dict[str, set[Connection]], key: str, connection: Connection) -> None:
    members = index.get(key)
    if members is None:
        return
    members.discard(connection)
    if not members:
        del index[key]
