"""What a table is made of, as the file keeps it, and the versions of a table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import Struct, msgpack
from msgspec.structs import replace

from skep.table.column import TableColumn

# One of lmdb's, whose stubs do not know that it returns bytes.
Transaction = Any

# The first byte of a key is its kind. A number of a table is four bytes.
_NAME, _SCHEMA, _USE, _NEXT = b"n", b"v", b"u", b"x"
ROW, INDEX, EXPIRY, COUNT = b"r", b"i", b"e", b"c"


class Schema(Struct, frozen=True, array_like=True):
    """A table as it is declared."""

    name: str
    columns: tuple[TableColumn, ...]
    rows: int
    indexes: tuple[str, ...]
    ttl: float
    durable: bool

    @property
    def size(self) -> int:
        """About how many bytes all rows take when each is as long as it may be."""
        row = 200 + sum(column.width for column in self.columns) + 200 * len(self.indexes)
        return self.rows * row

    def merged(self, stored: Schema) -> Schema | None:
        """Return a schema with the columns of both, or None if these differ.

        They do not differ if both have the same names and types in the same order, as far as the
        shorter goes. Longer bounds and further columns are kept.
        """
        columns = []
        for ours, theirs in zip(self.columns, stored.columns, strict=False):
            if (ours.name, ours.kind) != (theirs.name, theirs.kind):
                return None
            columns.append(replace(ours, bound=max(ours.bound, theirs.bound)))
        more = max(self.columns, stored.columns, key=len)[len(columns) :]
        indexes = tuple(sorted({*self.indexes, *stored.indexes}))
        return replace(self, columns=(*columns, *more), indexes=indexes)


_schema = msgpack.Decoder(Schema).decode


@dataclass(frozen=True)
class Version:
    """One version of a table in the file. `used` is the Unix time at which a process last used it,
    `run` the run of the platform that emptied it last."""

    number: bytes
    schema: Schema
    used: float
    run: str


def versions(txn: Transaction, name: str = "") -> Iterator[Version]:
    """Yield the versions of one table or of all, each table's oldest first."""
    for key, value in list(entries(txn, _NAME + name.encode())):
        if name and key:  # another table, whose name is longer
            continue
        for number in msgpack.decode(value, type=list[bytes]):
            used, run = msgpack.decode(txn.get(_USE + number))
            yield Version(number, _schema(txn.get(_SCHEMA + number)), used, run)


def entries(txn: Transaction, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Yield each key from `start` on that begins with the prefix, without it, and the value."""
    cursor = txn.cursor()
    if cursor.set_range(start or prefix):
        for key, value in cursor:
            if not key.startswith(prefix):
                return
            yield key[len(prefix) :], value


def stamp(txn: Transaction, number: bytes) -> bytes | None:
    """Return the schema as bytes, which change with it; None if the version was removed."""
    found: bytes | None = txn.get(_SCHEMA + number)
    return found


def read(found: bytes) -> Schema:
    return _schema(found)


def write(txn: Transaction, number: bytes, schema: Schema) -> None:
    txn.put(_SCHEMA + number, msgpack.encode(schema))


def touch(txn: Transaction, number: bytes, run: str) -> None:
    """Note that a version is in use now."""
    txn.put(_USE + number, msgpack.encode((time.time(), run)))


def add(txn: Transaction, schema: Schema) -> bytes:
    """Add a version of a table; return its number."""
    count = int.from_bytes(txn.get(_NEXT, b"\0"), "big") + 1
    number = count.to_bytes(4, "big")
    txn.put(_NEXT, number)
    key = _NAME + schema.name.encode()
    numbers = msgpack.decode(txn.get(key, b"\x90"), type=list[bytes])
    txn.put(key, msgpack.encode([*numbers, number]))
    write(txn, number, schema)
    touch(txn, number, "")
    return number


def remove(txn: Transaction, version: Version) -> None:
    """Remove one version of a table with all its rows."""
    key = _NAME + version.schema.name.encode()
    numbers = msgpack.decode(txn.get(key), type=list[bytes])
    if left := [number for number in numbers if number != version.number]:
        txn.put(key, msgpack.encode(left))
    else:
        txn.delete(key)
    empty(txn, version.number)
    for kind in (_SCHEMA, _USE):
        txn.delete(kind + version.number)


def empty(txn: Transaction, number: bytes) -> None:
    """Delete all rows of one version."""
    for kind in (ROW, INDEX, EXPIRY, COUNT):
        drop(txn, kind + number)


def drop(txn: Transaction, prefix: bytes) -> None:
    """Delete every key that begins with the prefix."""
    cursor = txn.cursor()
    while cursor.set_range(prefix) and cursor.key().startswith(prefix):
        cursor.delete()
