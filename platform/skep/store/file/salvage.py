"""Repairs a damaged file in place, or copies what is readable to another, row by row.

An unreadable page costs its own rows and no others: a range that SQLite refuses to read is read in
halves, down to the single row. The index of the ids, if readable, shows which rows are lost.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from skep.engine.ids import now_ms
from skep.store.file import schema
from skep.store.file.rows import Column, Judge, Judged, dead_letter, lost_letter

_DELIVERIES = ("delivery", "dead")
# What reading raises: SQLite's message may quote bytes that are not text.
_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
# Rows read at a time: some may have a megabyte.
_CHUNK = 64
# The numbers of rows to try when neither the table nor its index is readable.
_GUESSED = 1 << 17
# How many milliseconds to wait for another program that has locked the file.
_PATIENCE = 5000
_IS_THERE = "SELECT 1 FROM delivery WHERE id = ?1 UNION SELECT 1 FROM dead WHERE id = ?1"
# The key of a delivery that is gone would be held for ever.
_FREE_KEYS = "DELETE FROM uniq WHERE until = 0 AND id NOT IN (SELECT id FROM delivery)"


class Salvaged(NamedTuple):
    """How many deliveries and dead letters were kept unchanged, and how many became dead letters
    because they were damaged."""

    kept: int
    corrupt: int


@contextmanager
def transaction(sqlite: sqlite3.Connection) -> Iterator[None]:
    """Carry out the block in one transaction, waiting for another program that has locked the
    file."""
    try:
        sqlite.execute(f"PRAGMA busy_timeout = {_PATIENCE}").close()
        sqlite.execute("BEGIN IMMEDIATE")
        yield
        sqlite.execute("COMMIT")
    except BaseException:
        if sqlite.in_transaction:
            sqlite.execute("ROLLBACK")
        raise
    finally:
        sqlite.execute("PRAGMA busy_timeout = 0").close()


def mend(sqlite: sqlite3.Connection) -> int:
    """Rebuild the indexes and make dead letters of damaged rows; return how many.

    Called in a transaction. Raises one of DAMAGE when this is not enough.
    """
    now, buried = now_ms(), 0
    if not schema.has_tables(sqlite):
        raise schema.Damaged("a table or a column is missing")
    shapes = _shapes(sqlite)
    with _Raw(sqlite) as raw:
        ids = {table: raw.ids(table) for table in _DELIVERIES}
        sqlite.execute("REINDEX")
        for shape in shapes:
            for number, judged in raw.judged(shape):
                if not judged.problems:
                    continue
                if shape.table not in ids:
                    raise schema.Damaged(f"{shape.table}: {'; '.join(judged.problems)}")
                sqlite.execute(f"DELETE FROM {shape.table} WHERE rowid = ?", (number,))
                known_id = ids[shape.table].get(number, "")
                _insert(sqlite, "dead", dead_letter(*judged, known_id, now))
                buried += 1
    buried += _bury_lost(sqlite, [id_ for known in ids.values() for id_ in known.values()], now)
    _untangle(sqlite)
    found = sqlite.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise schema.Damaged(found)
    return buried


def copy(source: sqlite3.Connection, target: sqlite3.Connection) -> Salvaged:
    """Copy what is readable to a new database that has all its tables.

    Called in a transaction of the target.
    """
    now, kept, corrupt = now_ms(), 0, 0
    with _Raw(source) as raw:
        ids = {table: raw.ids(table) for table in _DELIVERIES}
        # First the dead letters, which keep their numbers, then those that are to be added.
        for shape in sorted(_shapes(target), key=lambda shape: shape.table != "dead"):
            known = ids.get(shape.table)
            for number, judged in raw.judged(shape):
                known_id = known.pop(number, "") if known is not None else ""
                if not judged.problems:
                    inserted = _insert(target, shape.table, judged.values)
                    kept += inserted if known is not None else 0
                elif known is not None:
                    corrupt += _insert(target, "dead", dead_letter(*judged, known_id, now))
    corrupt += _bury_lost(target, [id_ for known in ids.values() for id_ in known.values()], now)
    _untangle(target)
    return Salvaged(kept, corrupt)


def rows(source: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Yield the deliveries and dead letters that are whole, as their columns."""
    with _Raw(source) as raw:
        for table in _DELIVERIES:
            for _, judged in raw.judged(Shape(table, tuple(raw.columns(table)), "rowid")):
                if not judged.problems:
                    yield judged.values


def _bury_lost(sqlite: sqlite3.Connection, ids: Sequence[str], now: int) -> int:
    """Make dead letters of ids that are only in an index; return how many."""
    return sum(
        _insert(sqlite, "dead", lost_letter(delivery, now))
        for delivery in ids
        if sqlite.execute(_IS_THERE, (delivery,)).fetchone() is None
    )


def _untangle(sqlite: sqlite3.Connection) -> None:
    sqlite.execute(_FREE_KEYS)
    # A delivery may wait for another with its concurrency key that is gone.
    for statement in schema.ORDER_LANES.split(";"):
        sqlite.execute(statement)


class Shape(NamedTuple):
    """A table: its columns, and the column that numbers its rows, empty if there is none."""

    table: str
    columns: tuple[Column, ...]
    key: str


def _shapes(sqlite: sqlite3.Connection) -> list[Shape]:
    return [
        Shape(table, tuple(_columns(sqlite, table)), _key(sqlite, table))
        for table in schema.tables_of(sqlite)
    ]


def _columns(sqlite: sqlite3.Connection, table: str) -> list[Column]:
    return [Column(name, kind) for name, kind in schema.columns_of(sqlite, table)]


def _key(sqlite: sqlite3.Connection, table: str) -> str:
    """Return the column that numbers the rows, empty if there is none."""
    try:
        sqlite.execute(f"SELECT rowid FROM {table} LIMIT 0")
    except sqlite3.OperationalError:  # it was made WITHOUT ROWID
        return ""
    return "rowid"


def _insert(target: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> int:
    """Insert a row, unless it is there; return how many were inserted."""
    marks = ", ".join("?" * len(values))
    sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    return target.execute(sql, tuple(values.values())).rowcount


class _Raw:
    """Reads a database with texts as bytes, within a `with` block."""

    def __init__(self, source: sqlite3.Connection) -> None:
        self._source = source

    def __enter__(self) -> "_Raw":
        self._before = self._source.text_factory
        self._source.text_factory = bytes
        return self

    def __exit__(self, *exception: object) -> None:
        self._source.text_factory = self._before

    def columns(self, table: str) -> list[Column]:
        """Return the columns that the table has here."""
        with suppress(*_UNREADABLE):
            found = self._source.execute(f"PRAGMA table_info({table})").fetchall()
            return [Column(name.decode(), kind.decode()) for _, name, kind, *_ in found]
        return []

    def ids(self, table: str) -> dict[int, str]:
        """Return the readable ids in the index of a table, by the numbers of their rows."""
        index = f"sqlite_autoindex_{table}_1"
        with suppress(*_UNREADABLE):
            sql = f"SELECT rowid, id FROM {table} INDEXED BY {index}"
            return {number: id_.decode() for number, id_ in self._source.execute(sql).fetchall()}
        return {}

    def judged(self, shape: Shape) -> Iterator[tuple[int, Judged]]:
        """Yield the number of each readable row, and its values."""
        present = {column.name for column in self.columns(shape.table)}
        wanted = [column for column in shape.columns if column.name in present]
        if wanted:
            names = ", ".join(column.name for column in wanted)
            judge = Judge(shape.table, wanted).judge
            for number, *values in self._rows(shape, names):
                yield number, judge(values)

    def _rows(self, shape: Shape, names: str) -> Iterator[tuple[Any, ...]]:
        table, key = shape.table, shape.key
        if not key:
            yield from self._from_both_ends(f"SELECT 0, {names} FROM {table}", shape.columns[0])
            return
        numbers = self._numbers(table)
        sql = f"SELECT rowid, {names} FROM {table} WHERE rowid BETWEEN ? AND ?"
        for place in range(0, len(numbers), _CHUNK):
            chunk, after = numbers[place : place + _CHUNK], place + _CHUNK
            end = numbers[after] - 1 if after < len(numbers) else chunk[-1]
            yield from self._range(sql, chunk, end)

    def _from_both_ends(self, sql: str, key: Column) -> Iterator[tuple[Any, ...]]:
        """Read a small table without numbers forwards to the damage, and backwards to it."""
        for order in ("ASC", "DESC"):
            try:
                yield from self._source.execute(f"{sql} ORDER BY {key.name} {order}")
            except _UNREADABLE:
                continue
            return

    def _numbers(self, table: str) -> Sequence[int]:
        """Return the numbers of all rows, and perhaps of others."""
        with suppress(*_UNREADABLE):
            sql = f"SELECT rowid FROM {table} ORDER BY rowid"
            return [number for (number,) in self._source.execute(sql).fetchall()]
        if indexed := self.ids(table):
            return sorted({*indexed, *self._ends(table)})
        ends = self._ends(table)
        first, last = ends if len(ends) == 2 else (1, _GUESSED)
        return range(first, min(last, first + _GUESSED) + 1)

    def _ends(self, table: str) -> list[int]:
        """Return the first and the last number, if readable."""
        found: list[int] = []
        for order in ("ASC", "DESC"):
            with suppress(*_UNREADABLE):
                sql = f"SELECT rowid FROM {table} ORDER BY rowid {order} LIMIT 1"
                found += [number for (number,) in self._source.execute(sql).fetchall()]
        return found

    def _range(self, sql: str, numbers: Sequence[int], end: int) -> Iterator[tuple[Any, ...]]:
        """Read the rows from the first of these numbers to the end; if that fails, in halves, down
        to single rows."""
        try:
            found = self._source.execute(sql, (numbers[0], end)).fetchall()
        except _UNREADABLE:
            half = len(numbers) // 2
            if half:
                yield from self._range(sql, numbers[:half], numbers[half] - 1)
                yield from self._range(sql, numbers[half:], end)
            elif numbers[0] < end:
                yield from self._range(sql, numbers, numbers[0])
            return
        yield from found
