"""Makes a copy of a file that SQLite refuses as a whole, so that its rows can be read one by one.

The header of the first page holds the type of the file and its number of pages, the rest of the
page where each table begins. One wrong byte in it, or a missing end, makes SQLite refuse the file.
Both can be taken from any other file: tables are made in the same order, and SQLite gives them the
same pages, because a file with auto_vacuum begins with the roots of tables and indexes.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from skep.store.file import schema

_PAGE, _HEADER = 4096, 100
# Offsets in the header: the number of pages; the list of free pages and their number. See
# https://sqlite.org/fileformat.html#the_database_header.
_NUMBER, _FREE = slice(28, 32), slice(32, 40)


def patch(path: Path, copy: Path) -> None:
    """Copy a file and its log, and replace the header of the copy by that of a new file; if that is
    not enough, the whole first page. Raises OSError."""
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
    """Return whether a file has all tables of a queue."""
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
