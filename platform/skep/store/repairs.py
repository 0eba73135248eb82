"""Detects that the file is damaged or gone while the store runs, and repairs it."""

import logging
import os
import sys
from pathlib import Path

from skep.base.errors import EngineError
from skep.store.file import schema
from skep.store.file.damage import is_damage
from skep.store.flusher import Flusher
from skep.store.state.database import Database

log = logging.getLogger(__name__)

# The header of a database: where its size in pages and that of a page are; see
# https://sqlite.org/fileformat.html#the_database_header.
_MAGIC, _HEADER = b"SQLite format 3\0", 100
# The header of a log, and that of each frame in it; and where the index of the log says how many
# frames there are, how many are merged into the file, and how many were to be: see
# https://sqlite.org/walformat.html.
_LOG_MAGIC, _LOG_HEADER, _FRAME_HEADER = b"\x37\x7f\x06", 32, 24
_FRAMES, _SALTS, _MERGED, _TRIED = 16, 32, 96, 128


class FileWatch:
    """Watches the database, its log and the index of that.

    Closing any descriptor of a file gives up all locks that the process has on it, SQLite's among
    them. So the descriptors stay open until the database is closed.
    """

    def __init__(self, path: Path) -> None:
        self._log, self._index, self._file = schema.parts(path)
        self._known: dict[Path, tuple[int, int]] = {}
        self._descriptors: dict[Path, int] = {}
        # How far the log was merged into the file when that was looked at last, and its header.
        self._merged: tuple[bytes, int] | None = None
        self._header = b""

    def open(self) -> None:
        """Remember which files these are; called when the database has been opened, and again when
        it may be another file."""
        self._merged = None
        for path in (self._log, self._index, self._file):
            found = os.stat(path)
            identity = (found.st_dev, found.st_ino)
            if self._known.get(path) == identity:
                continue
            former = self._descriptors.get(path)
            self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._known[path] = identity
            if former is not None:  # of a database that is closed
                os.close(former)

    def close(self) -> None:
        """Close the files; called after the database is closed."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def missing(self) -> str:
        """Return what is wrong with the names: other files have them, or none. Any thread may call
        it at any time."""
        for path, known in [*self._known.items()]:
            try:
                found = os.stat(path)
            except OSError as error:
                return f"was taken away while it was in use ({path.name}: {error.strerror})"
            if (found.st_dev, found.st_ino) != known:
                return f"was replaced while it was in use ({path.name} is another file)"
        return ""

    def look(self) -> str:
        """Return what is wrong, as the end of a sentence about the queue; empty if nothing is.

        Called between transactions: while SQLite merges its log, sizes mean nothing.
        """
        if why := self.missing():
            return why
        if not self._file_is_whole() or self._is_overwritten():
            return f"was cut or overwritten while it was in use ({self._file.name})"
        if not self._log_is_whole():
            return f"was cut or overwritten while it was in use ({self._log.name})"
        return ""

    def _file_is_whole(self) -> bool:
        descriptor = self._descriptors[self._file]
        header = os.pread(descriptor, _HEADER, 0)
        needed = int.from_bytes(header[28:32], "big") * _page_size(header)
        is_large_enough = os.fstat(descriptor).st_size >= needed
        return header.startswith(_MAGIC) and (is_large_enough or self._is_half_merged())

    def _is_overwritten(self) -> bool:
        """Return whether the header has changed although nothing was merged into the file: another
        file was copied over it."""
        before = self._merged_so_far()
        header = os.pread(self._descriptors[self._file], _HEADER, 0)
        if self._is_half_merged() or self._merged_so_far() != before:
            return False  # it is being merged at this moment
        is_known = before == self._merged
        is_other = is_known and header != self._header
        self._merged, self._header = before, header
        return is_other

    def _merged_so_far(self) -> tuple[bytes, int]:
        salts = os.pread(self._descriptors[self._index], 8, _SALTS)
        return salts, self._number(_MERGED)

    def _is_half_merged(self) -> bool:
        """Return whether the log was merged into the file in part only, as on a full disk: the
        pages that are missing at its end are in the log."""
        return self._number(_MERGED) != self._number(_TRIED)

    def _log_is_whole(self) -> bool:
        frames = self._number(_FRAMES)
        header = os.pread(self._descriptors[self._log], len(_LOG_MAGIC), 0)
        size = os.fstat(self._descriptors[self._log]).st_size
        page = _page_size(os.pread(self._descriptors[self._file], _HEADER, 0))
        needed = _LOG_HEADER + frames * (page + _FRAME_HEADER)
        return not frames or (header == _LOG_MAGIC and size >= needed)

    def _number(self, place: int) -> int:
        """Return a number of the index of the log; 0 if the index is too short for it."""
        return int.from_bytes(os.pread(self._descriptors[self._index], 4, place), sys.byteorder)


class Repairs:
    """Keeps what is committed in a whole file under the right name; in memory it does nothing.

    `trouble` is why that is impossible, empty if it is possible.
    """

    def __init__(self, database: Database, flusher: Flusher) -> None:
        self.trouble = ""
        self._database = database
        self._flusher = flusher
        self._watch = FileWatch(database.path)
        if not database.in_memory:
            self._watch.open()
            flusher.missing, flusher.is_whole = self._watch.missing, self.look

    def close(self) -> None:
        self._watch.close()

    def look(self) -> bool:
        """Return whether the file is in order. If it is gone, replaced or cut, first write what can
        still be read through the open connection to a new one. Call it between transactions.
        """
        if self._database.in_memory:
            return True
        why = self._watch.look()
        try:
            if why:
                self._database.rewrite(why)
                self._watch_new_file()
        except EngineError as error:
            self._complain(error)
        else:
            self.trouble = ""
        return not self.trouble

    def help(self, error: Exception) -> bool:
        """Repair what made a transaction fail, after its rollback; return whether anything was."""
        if self._database.in_memory:
            return False
        if self._watch.look():
            return self.look()
        if not is_damage(error):
            return False
        try:
            self._database.repair(error)
        except EngineError as failure:
            self._complain(failure)
            return False
        self._watch_new_file()
        return True

    def _watch_new_file(self) -> None:
        self._watch.open()
        self._flusher.reopen()

    def _complain(self, error: EngineError) -> None:
        if self.trouble != str(error):
            log.critical("%s Nothing new is accepted.", error)
        self.trouble = str(error)


def _page_size(header: bytes) -> int:
    size = int.from_bytes(header[16:18], "big")
    return 65536 if size == 1 else size
