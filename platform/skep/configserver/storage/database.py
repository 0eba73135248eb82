"""The file of the config server: one writer at a time, readers that never wait."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

from skep.configserver.model.names import Address
from skep.configserver.model.releases import Notification
from skep.configserver.model.rights import Actor
from skep.configserver.storage import schema

NOWHERE = Address("", "", "")
Listener = Callable[[Notification], object]


class WriteTransaction:
    """One transaction of a writer. `db` is its connection, `now` its time in milliseconds since the
    epoch."""

    def __init__(self, db: sqlite3.Connection, actor: Actor) -> None:
        self.db = db
        self.actor = actor
        self.now = time.time_ns() // 1_000_000
        self.announced: list[Notification] = []

    @property
    def by(self) -> tuple[str, int]:
        """Who makes the change, and when: the columns `created_by` and `created_at`."""
        return self.actor.name, self.now

    def announce(self, address: Address) -> Notification:
        """Number a notification of this address; its watchers are woken after the commit."""
        # AUTOINCREMENT gives an id above all earlier ones, and REPLACE takes a new one each time.
        inserted = self.db.execute(
            "INSERT OR REPLACE INTO notification (app_id, cluster, namespace) VALUES (?, ?, ?)",
            address,
        )
        notification = Notification(cast("int", inserted.lastrowid), address)
        self.announced.append(notification)
        return notification

    def record(self, action: str, address: Address = NOWHERE, **detail: Any) -> None:
        """Write an entry of the audit log."""
        who = self.actor
        self.db.execute(
            "INSERT INTO audit (at, actor, token, origin, action, app_id, cluster, namespace,"
            " detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.now, who.name, who.token, who.origin, action, *address, json.dumps(detail)),
        )


class ConfigDatabase:
    """The open file; synchronous.

    Reading takes tens of microseconds on its own connection, so an event loop may do it; it sees
    the last commit and never waits for a writer. Writing waits for the disk and belongs in a
    thread; writers take turns. When the disk fails, every method raises sqlite3.Error; a change
    that raised did not happen.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._listeners: list[Listener] = []
        self._writer: sqlite3.Connection
        self._reader: sqlite3.Connection

    def open(self) -> None:
        """Open the file, or make it. Raises ConfigError, naming it, if it cannot be used."""
        self._writer = schema.open_writer(self.path)
        self._reader = schema.open_reader(self.path)

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def reader(self) -> sqlite3.Connection:
        """The connection that reads the last commit."""
        return self._reader

    def version(self) -> int:
        """Return a number that is another one after every commit, also of another process."""
        (version,) = self._reader.execute("PRAGMA data_version").fetchone()
        return cast("int", version)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call this, in the writer's thread, with each notification of a commit, in their order;
        return a function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @contextmanager
    def changing(self, actor: Actor) -> Iterator[WriteTransaction]:
        """Run the block as one transaction: all of it is on the disk afterwards, or nothing."""
        with self._turn:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                change = WriteTransaction(self._writer, actor)
                yield change
                self._writer.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some failures, a full disk among them.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            for notification in change.announced:
                for listener in self._listeners:
                    listener(notification)


def marks(values: Any) -> str:
    """Return as many question marks as there are values, for a statement."""
    return ", ".join("?" * len(values))
