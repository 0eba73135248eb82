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
from skep.store.file.rows import Judge, dead_letter
from skep.store.file.schema import Column

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
    tables = _tables(sqlite)
    with _Raw(sqlite) as raw:
        ids = {table: raw.ids(table) for table in _DELIVERIES}
        sqlite.execute("REINDEX")
        for table in tables:
            for number, values, problems in raw.judged(table):
                if not problems:
                    continue
                if table.name not in ids:
                    raise schema.Damaged(f"{table.name}: {'; '.join(problems)}")
                sqlite.execute(f"DELETE FROM {table.name} WHERE rowid = ?", (number,))
                known_id = ids[table.name].get(number, "")
                _insert(sqlite, "dead", dead_letter(values, problems, known_id, now))
                buried += 1
    buried += _bury_lost(sqlite, [id_ for known in ids.values() for id_ in known.values()], now)
    _untangle(sqlite)
    found = sqlite.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise schema.Damaged(found)
    return buried


def copy(source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, int]:
    """Copy what is readable to a new database that has all its tables. Return how many deliveries
    and dead letters were kept unchanged, and how many became dead letters as they were damaged.

    Called in a transaction of the target.
    """
    now, kept, corrupt = now_ms(), 0, 0
    with _Raw(source) as raw:
        ids = {table: raw.ids(table) for table in _DELIVERIES}
        # First the dead letters, which keep their numbers, then those that are to be added.
        for table in sorted(_tables(target), key=lambda table: table.name != "dead"):
            known = ids.get(table.name)
            for number, values, problems in raw.judged(table):
                known_id = known.pop(number, "") if known is not None else ""
                if not problems:
                    inserted = _insert(target, table.name, values)
                    kept += inserted if known is not None else 0
                elif known is not None:
                    letter = dead_letter(values, problems, known_id, now)
                    corrupt += _insert(target, "dead", letter)
    corrupt += _bury_lost(target, [id_ for known in ids.values() for id_ in known.values()], now)
    _untangle(target)
    return kept, corrupt


def rows(source: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Yield the deliveries and dead letters that are whole, as their columns."""
    with _Raw(source) as raw:
        for name in _DELIVERIES:
            for _, values, problems in raw.judged(_Table(name, raw.columns(name), True)):
                if not problems:
                    yield values


def _bury_lost(sqlite: sqlite3.Connection, ids: Sequence[str], now: int) -> int:
    """Make dead letters of ids that are only in an index; return how many."""
    buried, problems = 0, ["nothing but its id could be read"]
    for delivery in ids:
        if sqlite.execute(_IS_THERE, (delivery,)).fetchone() is None:
            values = {"id": delivery, "name": "?", "queue": "default", "body": b"", "headers": ""}
            buried += _insert(sqlite, "dead", dead_letter(values, problems, delivery, now))
    return buried


def _untangle(sqlite: sqlite3.Connection) -> None:
    sqlite.execute(_FREE_KEYS)
    # A delivery may wait for another with its concurrency key that is gone.
    for statement in schema.ORDER_LANES.split(";"):
        sqlite.execute(statement)


class _Table(NamedTuple):
    name: str
    columns: list[Column]
    has_numbers: bool


def _tables(sqlite: sqlite3.Connection) -> list[_Table]:
    return [
        _Table(name, schema.columns_of(sqlite, name), _has_numbers(sqlite, name))
        for name in schema.tables_of(sqlite)
    ]


def _has_numbers(sqlite: sqlite3.Connection, table: str) -> bool:
    try:
        sqlite.execute(f"SELECT rowid FROM {table} LIMIT 0")
    except sqlite3.OperationalError:  # it was made WITHOUT ROWID
        return False
    return True


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
        with suppress(*_UNREADABLE):
            raw: Sequence[Any] = schema.columns_of(self._source, table)
            return [Column(name.decode(), kind.decode()) for name, kind in raw]
        return []

    def ids(self, table: str) -> dict[int, str]:
        """Return the readable ids in the index of a table, by the numbers of their rows."""
        index = f"sqlite_autoindex_{table}_1"
        with suppress(*_UNREADABLE):
            sql = f"SELECT rowid, id FROM {table} INDEXED BY {index}"
            return {number: id_.decode() for number, id_ in self._source.execute(sql).fetchall()}
        return {}

    def judged(self, table: _Table) -> Iterator[tuple[int, dict[str, Any], list[str]]]:
        """Yield the number of each readable row, its values, and what is wrong with them."""
        present = {column.name for column in self.columns(table.name)}
        wanted = [column for column in table.columns if column.name in present]
        if wanted:
            names = ", ".join(column.name for column in wanted)
            judge = Judge(table.name, wanted).judge
            for number, *values in self._rows(table, names):
                yield number, *judge(values)

    def _rows(self, table: _Table, names: str) -> Iterator[tuple[Any, ...]]:
        if not table.has_numbers:
            sql = f"SELECT 0, {names} FROM {table.name}"
            yield from self._from_both_ends(sql, table.columns[0])
            return
        numbers = self._numbers(table.name)
        sql = f"SELECT rowid, {names} FROM {table.name} WHERE rowid BETWEEN ? AND ?"
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
