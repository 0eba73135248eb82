"""The only one who waits for the disk: it forces the log down, once for all who wait for that."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skep.engine.protocol import Reply
from skep.store.connection import Client

# How long until it is looked again whether there is a file to confirm by.
_LOOK_AGAIN = 0.5
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
        self._waiting: defaultdict[Client, list[Reply]] = defaultdict(list)
        self._wake = asyncio.Event()
        self._stopping = False
        # What is wrong with the names of the files, asked in the thread; and what brings all that
        # is committed to where the next store looks for it, if that is possible.
        self.missing: Callable[[], str] = str
        self.is_whole: Callable[[], bool] = lambda: True

    def open(self) -> None:
        """Open the log; it is there for as long as the database is open."""
        if self._waits:
            self._descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)

    def reopen(self) -> None:
        """Open the log of a file that has taken the place of the former."""
        if self._waits:
            new = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(new, self._descriptor, inheritable=False)  # the thread may be using it
            os.close(new)

    def confirm(self, connection: Client, reply: Reply) -> None:
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
                missing = await loop.run_in_executor(self._thread, self._force_down)
                if missing and not self.is_whole():
                    await self._put_off(waiting)
                    continue
            for connection, replies in waiting.items():
                connection.send(replies)

    def _force_down(self) -> str:
        _sync(self._descriptor)
        return self.missing()

    async def _put_off(self, waiting: dict[Client, list[Reply]]) -> None:
        """Confirm nothing that lies nowhere; the clients may have it from another store."""
        if self._stopping:
            return
        for connection, replies in waiting.items():
            self._waiting[connection][:0] = replies
        await asyncio.sleep(_LOOK_AGAIN)
        self._wake.set()

    def stop(self) -> None:
        """Let `flush` return when everybody has his answer."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Let go of the log."""
        self._thread.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
