"""The rows of one table in the file, by key: what every call of an author comes down to.

A row is a list: its key, when it expires (milliseconds since the epoch, 0 for never), its columns.
It may be shorter than the schema, or longer, if a process of another generation wrote it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from msgspec import msgpack

from skep.base.errors import TableError, TableFull
from skep.table import schema as file
from skep.table.column import TableColumn, Value
from skep.table.failures import explained
from skep.table.schema import COUNT, EXPIRY, INDEX, ROW, Schema, Transaction

LONGEST_KEY = 200
_EXPIRES, _FIRST = 1, 2
# So many rows are swept, or rows and bytes read, in one transaction: a longer one would hold up
# writers, or the reuse of pages, and take memory.
_BATCH, _BATCH_BYTES = 500, 1 << 20

_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(list).decode
Row = list[Any]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _batch(rows: Iterator[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Return keys and rows for one transaction, and whether these are the last."""
    batch, size = [], 0
    for key, raw in rows:
        batch.append((key, raw))
        size += len(raw)
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            return batch, False
    return batch, True


class Space:
    """One version of a table. `schema` is what this process declares; what the file has may have
    more columns and indexes, and is followed."""

    def __init__(self, tables: Any, number: bytes, schema: Schema) -> None:
        self.tables = tables
        self.number = number
        self.schema = schema
        self._rows, self._expiries = ROW + number, EXPIRY + number
        self._count = COUNT + number
        self._columns = {column.name: (n, column) for n, column in enumerate(schema.columns, 2)}
        self._stamp: bytes | None = None
        self._indexes: tuple[tuple[int, TableColumn], ...] = ()
        self._zeros: Row = []

    def follow(self, txn: Transaction) -> None:
        """Read the schema again if another generation has changed it."""
        stamp = file.stamp(txn, self.number)
        if stamp == self._stamp:
            return
        if stamp is None:
            raise TableError(
                f"The table {self.schema.name} of this process was removed: it was dropped, or had "
                "been replaced by one with other columns."
            )
        self._stamp, stored = stamp, file.read(stamp)
        self._zeros = [column.default for column in stored.columns]
        self._indexes = tuple(
            (place, column)
            for place, column in enumerate(stored.columns, _FIRST)
            if column.name in stored.indexes
        )

    # -- checks ----------------------------------------------------------------------------------

    def key(self, key: str) -> bytes:
        """Return a key as bytes. Raises ValueError."""
        try:
            if 0 < len(raw := key.encode()) <= LONGEST_KEY:
                return raw
        except (AttributeError, UnicodeEncodeError):
            pass
        raise ValueError(
            f"{self.schema.name}: a key is a text of 1 to {LONGEST_KEY} bytes, not {key!r:.80}."
        )

    def prefix(self, prefix: str) -> bytes:
        """Return the beginning of a key as bytes. Raises ValueError."""
        try:
            return prefix.encode()
        except (AttributeError, UnicodeEncodeError):
            raise ValueError(
                f"{self.schema.name}: a prefix is a text, not {prefix!r:.80}."
            ) from None

    def place(self, name: str, value: object, kinds: tuple[str, ...] = ()) -> int:
        """Return the place of a column in a row. Raises ValueError if there is none or it does not
        take the value."""
        if name not in self._columns:
            known = ", ".join(self._columns)
            raise ValueError(f"{self.schema.name} has no column {name!r}; it has {known}.")
        place, column = self._columns[name]
        if kinds and column.kind not in kinds:
            raise ValueError(f"{self.schema.name}.{name} is {column.kind}, not a number.")
        if problem := column.problem(value):
            raise ValueError(f"{self.schema.name}.{name} {problem}.")
        return place

    def changes(self, values: Mapping[str, Any]) -> list[tuple[int, Value]]:
        """Return places and values of columns. Raises ValueError as `place`."""
        return [
            (place, float(value) if self._is_float(place) else value)
            for place, value in [(self.place(n, value), value) for n, value in values.items()]
        ]

    def _is_float(self, place: int) -> bool:
        return self.schema.columns[place - _FIRST].kind == "float"

    # -- rows ------------------------------------------------------------------------------------

    def raw(self, txn: Transaction, key: bytes) -> bytes | None:
        raw: bytes | None = txn.get(self._rows + key)
        return raw

    def get(self, txn: Transaction, key: bytes) -> Row | None:
        """Return a row that has not expired."""
        raw = txn.get(self._rows + key)
        if raw is None:
            return None
        row = _decode(raw)
        return None if 0 < row[_EXPIRES] <= now_ms() else row

    def full(self, txn: Transaction, key: bytes) -> Row | None:
        """Return a row that has not expired, with every column."""
        row = self.get(txn, key)
        return None if row is None else self._long(row)

    def set(self, txn: Transaction, key: bytes, changes: list[tuple[int, Value]]) -> None:
        """Set columns of a row, which is made if it is not there. Raises TableFull."""
        self.follow(txn)
        old = self._present(txn, key)
        row = self._new(key) if old is None else self._long(old)
        for place, value in changes:
            row[place] = value
        if self.schema.ttl:
            row[_EXPIRES] = self._end()
        self._put(txn, key, old, row)

    def add(self, txn: Transaction, key: bytes, place: int, by: float) -> int | float:
        """Add to a number of a row, which is made if it is not there; return the sum.

        Raises TableFull, and ValueError if the sum does not fit.
        """
        self.follow(txn)
        old = self._present(txn, key)
        row = self._new(key) if old is None else self._long(old)
        row[place] = total = row[place] + by
        column = self.schema.columns[place - _FIRST]
        if problem := column.problem(total):
            raise ValueError(f"{self.schema.name}.{column.name} {problem}.")
        self._put(txn, key, old, row)
        return total  # type: ignore[no-any-return]

    def expire(self, txn: Transaction, key: bytes, at: int) -> bool:
        """Let a row expire at a time, 0 for never; return False if it is not there."""
        self.follow(txn)
        if (old := self._present(txn, key)) is None:
            return False
        row = self._long(old)
        row[_EXPIRES] = at
        self._put(txn, key, old, row)
        return True

    def pop(self, txn: Transaction, key: bytes) -> bytes | None:
        """Delete a row; return it if it was there and has not expired."""
        self.follow(txn)
        if (old := self._present(txn, key)) is None:
            return None
        self._delete(txn, key, old)
        return _encode(old)

    def count(self, txn: Transaction) -> int:
        """Return how many rows there are, without those that have expired."""
        return self._counted(txn) - sum(1 for _ in self._expired(txn, now_ms()))

    def clear(self, txn: Transaction) -> int:
        number = self.count(txn)
        file.empty(txn, self.number)
        return number

    def sweep(self, txn: Transaction, now: int) -> int:
        """Delete rows that have expired, a batch at most; return how many."""
        self.follow(txn)
        keys = list(itertools.islice(self._expired(txn, now), _BATCH))
        for key in keys:
            if (raw := self.raw(txn, key)) is not None:
                self._delete(txn, key, _decode(raw))
        return len(keys)

    def is_due(self, txn: Transaction) -> bool:
        """Return whether a row has expired that is not swept yet."""
        return next(self._expired(txn, now_ms()), None) is not None

    # -- many rows -------------------------------------------------------------------------------

    def scan(
        self,
        reading: Callable[[], Any],
        prefix: bytes = b"",
        decode: Callable[[bytes], Any] = _decode,
    ) -> Iterator[Any]:
        """Yield the rows whose key begins with the prefix, by their keys; each batch is read in a
        transaction of its own."""
        start = first = self._rows + prefix
        while True:
            with explained(f"The table {self.schema.name}"), reading() as txn:
                now = now_ms()
                found, is_last = _batch(file.entries(txn, first, start))
            for _, raw in found:
                if not 0 < _decode(raw)[_EXPIRES] <= now:
                    yield decode(raw)
            if is_last:
                return
            start = first + found[-1][0] + b"\0"

    def where(self, txn: Transaction, name: str, value: object) -> list[bytes]:
        """Return the rows whose indexed column has this value. Raises ValueError."""
        place = self.place(name, value)
        if name not in self.schema.indexes:
            raise ValueError(
                f'{self.schema.name} has no index of {name}: declare it with index="{name}".'
            )
        prefix, now = self._index(place, self._columns[name][1], value), now_ms()
        rows = (self.raw(txn, key) for key, _ in file.entries(txn, prefix))
        return [raw for raw in rows if raw and not 0 < _decode(raw)[_EXPIRES] <= now]

    def reindex(self, txn: Transaction) -> None:
        """Write the entries of all indexes again."""
        self.follow(txn)
        file.drop(txn, INDEX + self.number)
        start, is_last = self._rows, not self._indexes
        while not is_last:
            found, is_last = _batch(file.entries(txn, self._rows, start))
            for key, raw in found:
                row = self._long(_decode(raw))
                for place, column in self._indexes:
                    txn.put(self._index(place, column, row[place]) + key, b"")
                start = self._rows + key + b"\0"

    # -- within ----------------------------------------------------------------------------------

    def _new(self, key: bytes) -> Row:
        return [key.decode(), self._end(), *self._zeros]

    def _end(self) -> int:
        """Return when a row that is set now expires."""
        return now_ms() + round(self.schema.ttl * 1000) if self.schema.ttl else 0

    def _counted(self, txn: Transaction) -> int:
        return int.from_bytes(txn.get(self._count, b""), "big")

    def _present(self, txn: Transaction, key: bytes) -> Row | None:
        """Return a row; one that has expired is deleted."""
        raw = txn.get(self._rows + key)
        if raw is None:
            return None
        row: Row = _decode(raw)
        if 0 < row[_EXPIRES] <= now_ms():
            self._delete(txn, key, row)
            return None
        return row

    def _long(self, row: Row) -> Row:
        """Return a copy with every column of the schema."""
        return [*row, *self._zeros[len(row) - _FIRST :]]

    def _put(self, txn: Transaction, key: bytes, old: Row | None, row: Row) -> None:
        if old is None:
            self._make_room(txn)
        elif self._indexes or old[_EXPIRES] != row[_EXPIRES]:
            self._unlink(txn, key, old)
        txn.put(self._rows + key, _encode(row))
        if old is None or self._indexes or old[_EXPIRES] != row[_EXPIRES]:
            for place, column in self._indexes:
                txn.put(self._index(place, column, row[place]) + key, b"")
            if row[_EXPIRES]:
                txn.put(self._expiries + row[_EXPIRES].to_bytes(8, "big") + key, b"")

    def _make_room(self, txn: Transaction) -> None:
        """Count one row more."""
        count = self._counted(txn)
        if count >= self.schema.rows and self.sweep(txn, now_ms()):
            count = self._counted(txn)
        if count >= self.schema.rows:
            raise TableFull(
                f"The table {self.schema.name} has {count} rows, as many as it may: declare more "
                "with rows=, or delete some."
            )
        txn.put(self._count, (count + 1).to_bytes(8, "big"))

    def _delete(self, txn: Transaction, key: bytes, row: Row) -> None:
        self._unlink(txn, key, row)
        txn.delete(self._rows + key)
        txn.put(self._count, (self._counted(txn) - 1).to_bytes(8, "big"))

    def _unlink(self, txn: Transaction, key: bytes, row: Row) -> None:
        row = self._long(row)
        for place, column in self._indexes:
            txn.delete(self._index(place, column, row[place]) + key)
        if row[_EXPIRES]:
            txn.delete(self._expiries + row[_EXPIRES].to_bytes(8, "big") + key)

    def _index(self, place: int, column: TableColumn, value: Any) -> bytes:
        same: Value = value + 0.0 if column.kind == "float" else value  # -0.0 is 0.0
        hashed = blake2b(_encode(same), digest_size=16).digest()
        return INDEX + self.number + bytes((place,)) + hashed

    def _expired(self, txn: Transaction, now: int) -> Iterator[bytes]:
        for entry, _ in file.entries(txn, self._expiries):
            if int.from_bytes(entry[:8], "big") > now:
                return
            yield entry[8:]
