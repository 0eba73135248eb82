"""Saves what SQLite would silently ignore: the rest of a log that is damaged before its end.

After the death of a store SQLite takes from the log what stands before the first frame that is
damaged. That is right after a loss of power, where such a frame was never confirmed; it is not when
the disk lost what was. So what stands behind it is kept beside the queue, where it can be read. See
https://sqlite.org/walformat.html.
"""

import shutil
import sqlite3
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from skep.store.file import schema

_HEADER, _FRAME_HEADER, _PAGE = 32, 24, 4096
_FRAME = _FRAME_HEADER + _PAGE
_SALTS = slice(8, 16)
_LITTLE, _BIG = 0x377F0682, 0x377F0683
_VERSION = 3007000
# Where the index of the log says how many frames of it count.
_COUNTED = 16


def keep_rest(path: Path, aside: Path) -> int:
    """If SQLite passes over some of the log, copy the database to `aside`, with a log that it takes
    whole; return how many frames it passes over. Called while the database is not open.

    Raises OSError.
    """
    log = schema.parts(path)[0]
    if not log.is_file() or log.stat().st_size <= _HEADER:
        return 0
    content = log.read_bytes()
    committed = _committed(content)
    rest = committed - _counted(path)
    if rest > 0:
        shutil.copyfile(path, aside)
        schema.parts(aside)[0].write_bytes(_chained(content, committed))
    return max(rest, 0)


def _counted(path: Path) -> int:
    """Return how many frames SQLite takes. What is wrong with the database shows elsewhere."""
    try:
        with closing(schema.connect_to_read(path)) as database:
            database.execute("PRAGMA schema_version").fetchone()
            index = schema.parts(path)[1].read_bytes()
    except (sqlite3.Error, UnicodeDecodeError, OSError):
        return sys.maxsize
    return int.from_bytes(index[_COUNTED : _COUNTED + 4], sys.byteorder)


def _frames(content: bytes) -> Iterator[bytes]:
    for place in range(_HEADER, len(content) - _FRAME + 1, _FRAME):
        yield content[place : place + _FRAME]


def _salts(content: bytes) -> bytes:
    """Return what marks the frames written since the log was last restarted: the header has it, and
    each frame."""
    marks = [frame[_SALTS] for frame in _frames(content)][:2]
    return marks[0] if len(marks) == 2 and marks[0] == marks[1] else content[16:24]


def _committed(content: bytes) -> int:
    """Return how many frames there are up to the last that ends a transaction."""
    salts, last = _salts(content), 0
    for number, frame in enumerate(_frames(content), 1):
        if frame[_SALTS] == salts and frame[4:8] != bytes(4):
            last = number
    return last


def _chained(content: bytes, committed: int) -> bytes:
    """Return the log up to there with all its checksums right. A frame whose header is damaged
    gives way to the one before it."""
    salts = _salts(content)
    order = ">" if content[:4] == _BIG.to_bytes(4, "big") else "<"
    magic = _BIG if order == ">" else _LITTLE
    header = struct.pack(">III", magic, _VERSION, _PAGE) + content[12:16] + salts
    sums = _checksum(header, (0, 0), order)
    out = [header, struct.pack(">II", *sums)]
    before = b""
    for number, frame in enumerate(_frames(content), 1):
        if number > committed:
            break
        if frame[_SALTS] == salts and frame[:4] != bytes(4):
            before = frame
        if before:
            sums = _checksum(before[:8] + before[_FRAME_HEADER:], sums, order)
            out += [before[:16], struct.pack(">II", *sums), before[_FRAME_HEADER:]]
    return b"".join(out)


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, two in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
