"""Where the sample keeps what happened to its orders: a file that all workers share."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Self

from skep import Worker

_SCHEMA = """
create table if not exists happened (
    number integer primary key, order_id integer not null, what text not null, worker text not null
)
"""


class Diary:
    """Entries by order. Each use opens a connection of its own, so none lives on over a fork."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def open(cls) -> Self:
        """Return the diary in the platform's data directory."""
        return cls(Path(os.environ["PLATFORM_DATA_DIR"]) / "orders.db")

    def write(self, order_id: int, what: str) -> None:
        """Add an entry."""
        with closing(self._connect()) as connection, connection:
            connection.execute(
                "insert into happened (order_id, what, worker) values (?, ?, ?)",
                (order_id, what, Worker.current().slot),
            )

    def read(self, order_id: int) -> list[dict[str, str]]:
        """Return the entries of an order, oldest first."""
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "select what, worker from happened where order_id = ? order by number", (order_id,)
            )
            return [{"what": what, "worker": worker} for what, worker in rows]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5.0)
        connection.execute(_SCHEMA)
        return connection
