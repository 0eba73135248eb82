"""Damage to the file, recorded until an operator has acknowledged it."""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from skep.store.file.schema import Damaged

# What is raised when the file is damaged, and by other things too: see `is_damage`.
DAMAGE = (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError, Damaged)
_OF_THE_FILE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# One place of the disk cannot be read.
_OF_THE_DISK = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)

# The most records that are kept.
_MOST = 20


class Damage(Struct, frozen=True):
    """When the file was damaged (ms since the epoch), and a sentence for operators: how, and what
    was done about it."""

    at: int
    what: str


def read_damages(column: str) -> list[Damage]:
    """Return damages from their column; none if it is damaged itself."""
    try:
        return msgspec.json.decode(column, type=list[Damage]) if column else []
    except msgspec.DecodeError:
        return []


def write_damages(damages: Sequence[Damage]) -> str:
    """Return damages as their column holds them."""
    return msgspec.json.encode(damages[-_MOST:]).decode()


def keep(sqlite: sqlite3.Connection, damage: Damage) -> None:
    """Record damage in the file, in the transaction that repairs it."""
    known = sqlite.execute("SELECT value FROM meta WHERE key = 'damage'").fetchone()
    damages = [*read_damages(known[0] if known else ""), damage]
    sqlite.execute("INSERT OR REPLACE INTO meta VALUES ('damage', ?)", (write_damages(damages),))


def is_damage(error: Exception) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        # The only one without a code: a text that is not UTF-8. Our statements are right, so one
        # that does not fit the tables means that the description of these is damaged.
        code = getattr(error, "sqlite_errorcode", None)
        return code in (None, sqlite3.SQLITE_ERROR, *_OF_THE_DISK)
    if isinstance(error, sqlite3.DatabaseError):
        return primary_code(error) in _OF_THE_FILE
    return isinstance(error, DAMAGE)


def primary_code(error: Exception) -> int:
    """Return SQLite's code without its details, 0 if there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
