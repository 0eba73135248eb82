"""Detects that the file is damaged or gone while the store runs, and repairs it."""

import logging

from skep.base.errors import EngineError
from skep.store.file.damage import is_damage
from skep.store.file.watch import FileWatch
from skep.store.flusher import Flusher
from skep.store.state.database import Database

log = logging.getLogger(__name__)


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
