"""One transaction at a time on the writer's connection, begun by its first change."""

import sqlite3
from collections.abc import Sequence


class Transaction:
    """The current transaction of a connection."""

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite
        # Bound once, because several statements are run for every task.
        self._execute = sqlite.execute
        self._open = False
        # How many transactions have changed something.
        self.commits = 0

    def go_on_with(self, sqlite: sqlite3.Connection) -> None:
        """Use another connection; called between transactions."""
        self._sqlite = sqlite
        self._execute = sqlite.execute
        self._open = False

    def change(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Execute a statement in the transaction, beginning it if there is none."""
        if not self._open:
            self._execute("BEGIN IMMEDIATE")
            self._open = True
        return self._execute(sql, values)

    def read(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Execute a query, which begins no transaction."""
        return self._execute(sql, values)

    def commit(self) -> None:
        """Write the transaction to the log, where it survives the death of this process.

        Raises sqlite3.Error; then only a rollback is possible.
        """
        if self._open:
            self._execute("COMMIT")
            self._open = False
            self.commits += 1

    def rollback(self) -> None:
        self._open = False
        if self._sqlite.in_transaction:  # SQLite may have rolled back by itself
            self._execute("ROLLBACK")
