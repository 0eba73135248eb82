"""Makes a copy of a file that SQLite refuses as a whole, so that its rows can be read one by one.

The header of the first page says what the file is and how many pages it has, the rest of this page
where each table begins; so a single byte of it, or a missing end, is enough for a refusal. Both are
known from any other file: tables are made in the same order, and SQLite gives them the same pages,
because the first pages of a file with auto_vacuum are those where tables and indexes begin.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from skep.store.file import schema

_PAGE, _HEADER = 4096, 100
# Places in the header: the number of pages; the list of free pages, and how many they are. See https://sqlite.org/fileformat.html#the_database_header.
_NUMBER, _FREE = slice(28, 32), slice(32, 40)


def patch(path: Path, copy: Path) -> None:
    """Copy a file and its log, and give the copy the first page of a new file: its header, and if
    that is not enough, all of it. Raises OSError."""
    for part, its_copy in zip(schema.parts(path), schema.parts(copy), strict=True):
        if part.exists() and part.suffix[-4:] != "-shm":
            shutil.copyfile(part, its_copy)
    content = copy.read_bytes()[:_PAGE].ljust(_PAGE, b"\0")
    model = _model(copy)
    pages = -(-copy.stat().st_size // _PAGE)
    number = max(pages, int.from_bytes(content[_NUMBER], "big"))
    if number > 2 * pages + 64:  # the number itself is damaged
        number = pages
    header = bytearray(model[:_HEADER])
    header[_NUMBER] = number.to_bytes(4, "big")
    header[_FREE] = bytes(8)
    for first_page in (bytes(header) + content[_HEADER:], bytes(header) + model[_HEADER:]):
        with copy.open("r+b") as opened:
            opened.write(first_page)
        os.truncate(copy, number * _PAGE)
        if has_tables(copy):
            return


def has_tables(path: Path) -> bool:
    """Say whether all tables of a queue can be found in a file."""
    try:
        with closing(sqlite3.connect(path)) as database:
            return schema.has_tables(database)
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def _model(copy: Path) -> bytes:
    """Return the first page of a new file."""
    path = copy.with_name(f"{copy.name}.model")
    path.unlink(missing_ok=True)
    try:
        schema.open_file(path).close()
        return path.read_bytes()[:_PAGE]
    finally:
        path.unlink(missing_ok=True)
