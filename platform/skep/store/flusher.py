"""Forces the log to the disk, once for all clients that wait for it."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skep.engine.protocol import Reply
from skep.store.waiters import Client

_FLAGS = os.O_RDONLY | os.O_CLOEXEC
# The pause before checking again whether the file is in order.
_LOOK_AGAIN = 0.5
# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)


class Flusher:
    """Confirms what was committed to the log of a database, when it is on the disk.

    With `synchronous = NORMAL` SQLite writes each transaction to the log, whole and in order, and
    leaves it to the system when that reaches the disk; FULL would force the log down in every
    commit. Forcing it down from here makes what was committed before just as durable, and only
    replies that need it wait. See https://sqlite.org/wal.html#performance_considerations.
    Without `waits` none does, and a loss of power can undo what was confirmed.
    """

    def __init__(self, database: Path, *, waits: bool = True) -> None:
        self._waits = waits
        self._log = database.with_name(database.name + "-wal")
        # It exists as long as the database is open.
        self._descriptor = os.open(self._log, _FLAGS) if waits else -1
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._waiting: defaultdict[Client, list[Reply]] = defaultdict(list)
        self._wake = asyncio.Event()
        self._stopping = False
        # What is wrong with the names of the files, called in the thread; and whether the file is
        # in order, repairing it if that is possible.
        self.missing: Callable[[], str] = str
        self.is_whole: Callable[[], bool] = lambda: True

    def reopen(self) -> None:
        """Open the log of the file that has replaced the former."""
        if self._waits:
            new = os.open(self._log, _FLAGS)
            os.dup2(new, self._descriptor, inheritable=False)  # the thread may be using it
            os.close(new)

    def confirm(self, connection: Client, reply: Reply) -> None:
        """Send a reply once everything committed so far is on the disk."""
        if self._waits:
            self._waiting[connection].append(reply)
            self._wake.set()
        else:
            connection.send([reply])

    async def flush(self) -> None:
        """Confirm, until `stop`. Raises OSError when the disk fails."""
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
        """Confirm nothing that may be lost; the clients repeat it to the next store."""
        if self._stopping:
            return
        for connection, replies in waiting.items():
            self._waiting[connection][:0] = replies
        await asyncio.sleep(_LOOK_AGAIN)
        self._wake.set()

    def stop(self) -> None:
        """Let `flush` return once all replies are sent."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        self._thread.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
