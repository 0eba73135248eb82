"""The room the database takes: its log, its free pages, and what is left on the disk."""

import logging
import sqlite3
from pathlib import Path

from skep.engine.ids import now_ms
from skep.store.ballast import Ballast
from skep.store.damage import primary_code
from skep.store.database import Database

log = logging.getLogger(__name__)

# Pages given back to the disk in one go: about a millisecond of the store's time.
_PAGES_AT_ONCE = 1000
# The primary code of all errors of reading and writing, without their details.
_IOERR = sqlite3.SQLITE_IOERR


class Room:
    """Keeps room on the disk; in memory there is always some."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ballast: Ballast | None = None
        self._commits = 0
        self._untidy = False
        self._database: Database

    def open(self, database: Database) -> None:
        """Make the ballast, and let the log be no longer than a small disk can bear."""
        self._database = database
        if not database.in_memory:
            self._ballast = Ballast(self._path)
            self._ballast.check()
            database.limit_log(self._ballast.log_pages())

    @property
    def scarce(self) -> bool:
        """Whether nothing new may be kept."""
        return self._ballast is not None and self._ballast.scarce

    @property
    def trouble(self) -> str:
        """Why nothing new may be kept, empty if it may."""
        if not self.scarce:
            return ""
        return f"the disk of {self._path.parent} is full or cannot be used: deliveries are refused"

    def is_full(self, error: Exception) -> bool:
        """Say whether an error means that the disk is full."""
        code = primary_code(error)
        if code == sqlite3.SQLITE_FULL:
            return True
        return code == _IOERR and self._ballast is not None and self._ballast.used_up()

    def make(self) -> bool:
        """The disk is full: make room for what must be written; return whether there was a way."""
        if self._ballast is None or self._ballast.scarce:
            return False
        self._ballast.give_up()
        try:
            self._database.shorten_log()
        except sqlite3.OperationalError as error:
            log.warning("The log of the queue cannot be merged on the full disk: %s", error)
        self._ballast.check()
        return True

    def keep_house(self) -> None:
        """Sweep out what is over; give free pages back to the disk if nothing has happened since
        the last time, or if there is no room. Raises sqlite3.Error when the file cannot be used."""
        idle = self._database.commits == self._commits
        try:
            self._database.sweep(now_ms())
            self._database.commit()
            if idle or self.scarce:
                self._tidy()
        except sqlite3.Error as error:
            self._database.rollback()
            if not (self.is_full(error) or primary_code(error) == sqlite3.SQLITE_BUSY):
                raise
        self._commits = self._database.commits
        if self._ballast is not None:
            self._ballast.check()

    def _tidy(self) -> None:
        """Shrink the file, and when there is nothing left to shrink, once, the log."""
        vacuumed = self._database.vacuum(_PAGES_AT_ONCE)
        if self.scarce or (self._untidy and not vacuumed):
            self._database.shorten_log()
        self._untidy = vacuumed
