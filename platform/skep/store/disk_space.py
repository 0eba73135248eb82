"""The disk space that the database takes and leaves: its log, its free pages, the reserve."""

import logging
import sqlite3

from skep.engine.ids import now_ms
from skep.store.file.damage import primary_code
from skep.store.file.reserve_file import ReserveFile
from skep.store.state.database import Database

log = logging.getLogger(__name__)

# Pages returned to the disk at a time: about a millisecond of the store's time.
_PAGES_AT_ONCE = 1000


class DiskSpace:
    """Keeps space on the disk; in memory there is always some."""

    def __init__(self, database: Database) -> None:
        """Make the reserve file, and limit the log to what a small disk can hold."""
        self._database = database
        self._reserve: ReserveFile | None = None
        self._commits = 0
        self._untidy = False
        if not database.in_memory:
            self._reserve = ReserveFile(database.path)
            self._reserve.check()
            database.limit_log(self._reserve.log_pages())

    @property
    def scarce(self) -> bool:
        """Whether new deliveries are refused."""
        return self._reserve is not None and self._reserve.scarce

    @property
    def trouble(self) -> str:
        """Why new deliveries are refused, empty if they are not."""
        if not self.scarce:
            return ""
        folder = self._database.path.parent
        return f"the disk of {folder} is full or cannot be used: deliveries are refused"

    def is_full(self, error: Exception) -> bool:
        code = primary_code(error)
        if code == sqlite3.SQLITE_IOERR and self._reserve is not None:
            return self._reserve.used_up()
        return code == sqlite3.SQLITE_FULL

    def release(self) -> bool:
        """Free space for what must be written; return False if none is left to free."""
        if self._reserve is None or self._reserve.scarce:
            return False
        self._reserve.delete()
        try:
            self._database.shorten_log()
        except sqlite3.OperationalError as error:
            log.warning("The log of the queue cannot be merged on the full disk: %s", error)
        self._reserve.check()
        return True

    def keep_house(self) -> None:
        """Delete what has expired; return free pages to the disk if nothing has changed since the
        last call, or if space is scarce. Raises sqlite3.Error when the file cannot be used."""
        idle = self._database.commits == self._commits
        try:
            self._database.retained.sweep(now_ms())
            self._database.commit()
            if idle or self.scarce:
                self._tidy()
        except sqlite3.Error as error:
            self._database.rollback()
            if not (self.is_full(error) or primary_code(error) == sqlite3.SQLITE_BUSY):
                raise
        self._commits = self._database.commits
        if self._reserve is not None:
            self._reserve.check()

    def _tidy(self) -> None:
        """Shrink the file; when nothing is left to shrink, shrink the log once."""
        vacuumed = self._database.vacuum(_PAGES_AT_ONCE)
        if self.scarce or (self._untidy and not vacuumed):
            self._database.shorten_log()
        self._untidy = vacuumed
