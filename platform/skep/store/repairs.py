"""Notices that the file is damaged or gone while the store works, and does what can be done."""

import logging
from pathlib import Path

from skep.base.errors import EngineError
from skep.store.file.damage import is_damage
from skep.store.file.watch import Watch
from skep.store.flusher import Flusher
from skep.store.state.database import Database

log = logging.getLogger(__name__)


class Repairs:
    """Keeps what is committed in a file that is whole and has the right name; in memory there is
    nothing to do. `trouble` is why that is not possible, empty as long as it is."""

    def __init__(self, path: Path, database: Database, flusher: Flusher) -> None:
        self.trouble = ""
        self._database = database
        self._flusher = flusher
        self._watch = Watch(path)

    def open(self) -> None:
        """Begin to watch the file that was opened."""
        if not self._database.in_memory:
            self._watch.open()
            self._flusher.missing, self._flusher.is_whole = self._watch.missing, self.look

    def close(self) -> None:
        """Let go of the file; called when the database is closed."""
        self._watch.close()

    def look(self) -> bool:
        """Return whether all that is committed lies where it belongs. If the file is gone, replaced
        or cut, what can still be read through the open connection is written to a new one first.

        Called between turns.
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
        """Mend what made a turn fail, after it was rolled back; return whether anything was."""
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
