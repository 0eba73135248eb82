"""The only one who waits for the disk: it forces the log down, once for all who wait for that."""

import asyncio
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skep.engine.protocol import Reply
from skep.store.connection import Connection

# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)


class Flusher:
    """Confirms what was committed to the log of a database, when it is on the disk.

    With `synchronous = NORMAL` SQLite writes each transaction to the log, whole and in order, and
    leaves it to the system when that reaches the disk; FULL would force the log down in every
    commit. Forcing it down from here makes what was committed before just as durable, and only
    those wait for it who have to. See https://sqlite.org/wal.html#performance_considerations.
    Without `waits` nobody does: then the loss of power can undo what was confirmed.
    """

    def __init__(self, database: Path, *, waits: bool = True) -> None:
        self._waits = waits
        self._log = database.with_name(database.name + "-wal")
        self._descriptor = -1
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._waiting: defaultdict[Connection, list[Reply]] = defaultdict(list)
        self._wake = asyncio.Event()
        self._stopping = False

    def open(self) -> None:
        """Open the log; it is there for as long as the database is open."""
        if self._waits:
            self._descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)

    def confirm(self, connection: Connection, reply: Reply) -> None:
        """Send a reply as soon as everything committed until now is on the disk."""
        if self._waits:
            self._waiting[connection].append(reply)
            self._wake.set()
        else:
            connection.send([reply])

    async def flush(self) -> None:
        """Confirm, until `stop`. Raises OSError when the disk fails: then nothing is sure."""
        loop = asyncio.get_running_loop()
        while not self._stopping or self._waiting:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, defaultdict(list)
            if waiting:
                await loop.run_in_executor(self._thread, _sync, self._descriptor)
            for connection, replies in waiting.items():
                connection.send(replies)

    def stop(self) -> None:
        """Let `flush` return when everybody has his answer."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Let go of the log."""
        self._thread.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
