"""One transaction at a time on the writer's connection, begun by its first change."""

import sqlite3
from collections.abc import Sequence


class Transaction:
    """The turn at hand."""

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite
        # Bound once, because several statements are run for every task.
        self._execute = sqlite.execute
        self._open = False
        # How many turns have changed something.
        self.commits = 0

    def go_on_with(self, sqlite: sqlite3.Connection) -> None:
        """Use another connection from now on; between turns."""
        self._sqlite = sqlite
        self._execute = sqlite.execute
        self._open = False

    def change(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Execute a statement that belongs to the turn."""
        if not self._open:
            self._execute("BEGIN IMMEDIATE")
            self._open = True
        return self._execute(sql, values)

    def read(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Ask something, whether there was a change before or not."""
        return self._execute(sql, values)

    def commit(self) -> None:
        """Write the turn to the log, where it survives the death of this process.

        Raises sqlite3.Error; the turn can then only be rolled back.
        """
        if self._open:
            self._execute("COMMIT")
            self._open = False
            self.commits += 1

    def rollback(self) -> None:
        """Undo the turn."""
        self._open = False
        if self._sqlite.in_transaction:  # SQLite may have rolled back by itself
            self._execute("ROLLBACK")
