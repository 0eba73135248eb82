"""The file of the store: taken by one process at a time, opened, made, or moved out of the way."""

import logging
import os
import sqlite3
import time
from pathlib import Path

import msgspec

from skep.base.errors import EngineError

log = logging.getLogger(__name__)

VERSION = 1

# `seq` is the order in which deliveries were put; `state` is 0 for ready, 1 for scheduled, 2 for
# leased; `serial` tells the leases of a row apart. The two indexes are partial, so a delivery under
# a lease is in neither, and boot finds those by a scan.
_SCHEMA = f"""
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    due INTEGER NOT NULL,
    put_at INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    losses INTEGER NOT NULL DEFAULT 0,
    holder TEXT NOT NULL DEFAULT '',
    serial INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX delivery_ready ON delivery (queue, priority DESC, seq) WHERE state = 0;
CREATE INDEX delivery_scheduled ON delivery (due) WHERE state = 1;
CREATE TABLE dead (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    due INTEGER NOT NULL,
    put_at INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    died_at INTEGER NOT NULL
);
CREATE INDEX dead_queue ON dead (queue, seq);
PRAGMA user_version = {VERSION};
COMMIT;
"""

# WAL lets operators read while the store writes; why NORMAL is enough, the flusher says. A
# checkpoint comes after 16 MB of log, because it costs two fsyncs, and cuts the log back to that
# size. See https://sqlite.org/wal.html.
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 4000",
    f"PRAGMA journal_size_limit = {4000 * 4096}",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the database for writing, making it if it is not there.

    A file that is damaged or no database at all is moved aside, loudly, and a new one is begun: a
    store that will not start would stop the whole platform, and the old file can still be read.
    Raises EngineError when the file was written by a newer platform.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # the disk or the system, not the file
            raise
        aside = _move_aside(path)
        log.critical(
            "The queue in %s is damaged (%s) and was moved to %s; what waited in it is not lost, "
            "but does not run. An empty queue was begun.",
            path,
            error,
            aside,
        )
        return connect(path)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the database for reading, beside the store that writes it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def write_headers(headers: dict[str, str]) -> str:
    """Return headers as they stand in their column; most deliveries have none."""
    return msgspec.json.encode(headers).decode() if headers else ""


def read_headers(column: str) -> dict[str, str]:
    """Return headers from their column."""
    return msgspec.json.decode(column, type=dict[str, str]) if column else {}


def _connect(path: Path) -> sqlite3.Connection:
    # Statements run on the loop and commits in a thread, but never two at once.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            database.execute(pragma).close()
        # 0.2 s for a million deliveries: short enough to be sure at every start.
        damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        _migrate(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        database.executescript(_SCHEMA)
    elif version != VERSION:
        raise EngineError(
            f"{path} was written by another version of the platform (format {version}, this one "
            f"reads {VERSION}): run that version, or give another --data-dir."
        )


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns() // 1_000_000}")
    # The log belongs to its file: under the same new name it can still be read into it.
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
