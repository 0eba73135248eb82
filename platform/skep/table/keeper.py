"""What keeps the tables in order: one thread in each worker that has some.

One of them at a time, whichever holds a lock, sweeps rows that have expired, writes the snapshot,
and removes versions of tables that have been replaced. The kernel passes the lock on when a process
ends, however it does.
"""

import fcntl
import logging
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable

import lmdb
import msgspec

from skep.base.errors import TableError
from skep.base.telemetry import Telemetry
from skep.table import schema as file
from skep.table.binding import Tables
from skep.table.space import Space, now_ms

log = logging.getLogger(__name__)

# Seconds. Each process touches the versions it uses three times before one is removed.
_FIRST, _SWEEP, _TOUCH = 0.1, 1.0, 5.0
SHORTEST_PATIENCE = 3 * _TOUCH
SNAPSHOT = 60.0


class Keeper:
    """Keeps the tables of a process until `stop`. A version of a table that no process has used for
    `patience` seconds, or 15 if that is less, is removed if there is a newer one."""

    def __init__(self, tables: Tables, patience: float, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry or Telemetry()
        self._reported: Counter[tuple[str, str, str]] = Counter()
        self._tables = tables
        self._patience = max(patience, SHORTEST_PATIENCE)
        self._logged = ""
        self._tried = -math.inf
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tables", daemon=True)
        self._began = self._touched = time.monotonic()
        self._lock = os.open(
            tables.folder / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, if it was started, and pass the lock on."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._lock)

    def _run(self) -> None:
        pause = _FIRST
        while not self._stopped.wait(pause):
            pause = _SWEEP
            self._try(lambda: self.look(time.monotonic()))
        self._try(self._report)

    def _try(self, work: Callable[[], None]) -> None:
        """Log what fails; the same failure every second is logged once."""
        failure = ""
        try:
            work()
        except (TableError, lmdb.Error, OSError, msgspec.MsgspecError) as error:
            failure = str(error)
        if failure and failure != self._logged:
            log.error("The tables could not be kept in order: %s", failure)
        self._logged = failure

    def look(self, now: float) -> None:
        """Do what is due."""
        self._report()
        if now - self._touched >= _TOUCH:
            self._touched = now
            self._touch()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        environment = self._tables.environment
        if problem := environment.problem():
            raise TableError(
                f"{environment.file} {problem} while processes use it: stop the platform, or it "
                "serves with rows that are not kept."
            )
        environment.lmdb.reader_check()
        self._sweep()
        if environment.is_short:
            with self._tables.writing():
                environment.reserve(3 * environment.used)
        if now - self._began >= self._patience:
            self._remove_old_versions()
        if environment.age_of_snapshot() >= SNAPSHOT and now - self._tried >= SNAPSHOT:
            self._tried = now
            environment.snapshot()

    def _report(self) -> None:
        """Publish how many rows there are, and what was called since the last time."""
        now = Counter(
            {
                (space.schema.name, *call): count
                for cls, space in list(self._tables.spaces.items())
                for call, count in cls.calls().items()
            }
        )
        before, self._reported = self._reported, now
        for table, op in {call[:2] for call in now - before}:
            for outcome in ("success", "full", "error"):
                call = table, op, outcome
                self._telemetry.point(
                    "table.used",
                    table=table,
                    op=op,
                    outcome=outcome,
                    count=now[call] - before[call],
                )
        with self._tables.reading() as txn:
            for space in list(self._tables.spaces.values()):
                self._telemetry.point(
                    "table.measured",
                    table=space.schema.name,
                    rows=space.count(txn),
                    capacity=space.schema.rows,
                )
        self._telemetry.point("tables.measured", bytes=self._tables.environment.used)

    def _touch(self) -> None:
        """Note which versions this process uses, where there are several: else nothing is written
        while nothing changes."""
        with self._tables.reading() as txn:
            several = [
                space
                for space in list(self._tables.spaces.values())
                if len(list(file.versions(txn, space.schema.name))) > 1
            ]
        if several:
            with self._tables.writing() as txn:
                for space in several:
                    file.touch(txn, space.number, self._tables.run)

    def _sweep(self) -> None:
        for space in list(self._tables.spaces.values()):
            sweep(self._tables, space)

    def _remove_old_versions(self) -> None:
        ours = {space.number for space in self._tables.spaces.values()}
        names = {space.schema.name for space in self._tables.spaces.values()}
        with self._tables.writing() as txn:
            for version in list(file.versions(txn)):
                is_old = time.time() - version.used >= self._patience
                if version.schema.name in names and version.number not in ours and is_old:
                    file.remove(txn, version)
                    log.info("an old version of the table %s was removed", version.schema.name)


def sweep(tables: Tables, space: Space) -> None:
    """Delete the rows of a table that have expired, in short transactions."""
    with tables.reading() as txn:
        is_due = space.is_due(txn)
    while is_due:
        with tables.writing() as txn:
            is_due = space.sweep(txn, now_ms()) > 0
