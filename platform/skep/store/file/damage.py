"""What has happened to the file, kept until an operator has acknowledged it."""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from skep.store.file.schema import Damaged

# What is raised when the file is damaged, and by other things too: see `is_damage`.
DAMAGE = (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError, Damaged)
_OF_THE_FILE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# A place of the disk cannot be read; the others can.
_OF_THE_DISK = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)

# What is kept of a file that is damaged again and again.
_MOST = 20


class Damage(Struct, frozen=True):
    """A damage to the file at a moment (ms since the epoch), and what was done about it: a
    sentence for operators."""

    at: int
    what: str


def read_damages(column: str) -> list[Damage]:
    """Return damages from their column; none if it is damaged itself."""
    try:
        return msgspec.json.decode(column, type=list[Damage]) if column else []
    except msgspec.DecodeError:
        return []


def write_damages(damages: Sequence[Damage]) -> str:
    """Return damages as they stand in their column."""
    return msgspec.json.encode(damages[-_MOST:]).decode()


def keep(sqlite: sqlite3.Connection, damage: Damage) -> None:
    """Write a damage into the file, in the transaction that does something about it."""
    known = sqlite.execute("SELECT value FROM meta WHERE key = 'damage'").fetchone()
    damages = [*read_damages(known[0] if known else ""), damage]
    sqlite.execute("INSERT OR REPLACE INTO meta VALUES ('damage', ?)", (write_damages(damages),))


def is_damage(error: Exception) -> bool:
    """Say whether an error means that the file, or a row in it, is damaged."""
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
