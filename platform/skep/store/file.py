"""The file of the store: taken by one process at a time, opened, made, or moved out of the way."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from skep.base.errors import EngineError
from skep.engine.base import Envelope
from skep.store.rules import NONE, Rules

log = logging.getLogger(__name__)

# What a confirmation of a put means: it survives the loss of power, the death of any process, or
# nothing but the death of its clients.
Durability = Literal["full", "normal", "memory"]
IN_MEMORY = Path(":memory:")
# What an envelope is made of, beside its rules.
COLUMNS = "id, name, body, queue, headers, due, priority, lane, sender"

# `seq` is the order in which deliveries were put; `state` is 0 for ready, 1 for scheduled, 2 for
# leased, 4 for blocked; `serial` tells the leases of a row apart. The indexes are partial, so a
# delivery under a lease is in none, and boot finds those by a scan.
_VERSION_1 = """
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
"""
# `lane` is the concurrency key, `rules` what else an envelope asks for. The `until` of a unique key
# is 0 as long as its delivery is kept.
_VERSION_2 = """
ALTER TABLE delivery ADD COLUMN lane TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN rules TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN progress TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN lane TEXT NOT NULL DEFAULT '';
ALTER TABLE dead ADD COLUMN rules TEXT NOT NULL DEFAULT '';
CREATE INDEX delivery_blocked ON delivery (lane, priority DESC, seq) WHERE state = 4;
CREATE TABLE uniq (key TEXT PRIMARY KEY, id TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX uniq_until ON uniq (until) WHERE until > 0;
CREATE TABLE result (
    id TEXT PRIMARY KEY,
    ending TEXT NOT NULL,
    body BLOB NOT NULL,
    error TEXT NOT NULL,
    until INTEGER NOT NULL
);
CREATE INDEX result_until ON result (until);
CREATE TABLE queue (
    name TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0,
    limits TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE hold (
    name TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;
"""
# The error of the last try, as long as it is not the last one for good.
_VERSION_3 = "ALTER TABLE delivery ADD COLUMN error TEXT NOT NULL DEFAULT '';"
# `sender` is what delivered it, `cuts` how often a worker had to go before it ended. Of a lane the
# first are ready, as many as it has room for beside what is leased; what is in a queue that is
# paused is ordered by itself. Up to here what was ready first took the room.
_VERSION_4 = """
ALTER TABLE delivery ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE dead ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_lane ON delivery (lane, priority DESC, seq) WHERE state = 0 AND lane != '';
UPDATE delivery SET state = 4 WHERE lane != '' AND state = 0;
UPDATE delivery SET state = 0 WHERE seq IN (
    WITH busy AS (
        SELECT lane, count(*) AS leased FROM delivery WHERE lane != '' AND state = 2 GROUP BY lane)
    SELECT seq FROM (
        SELECT seq, row_number() OVER (
                   PARTITION BY lane, iif(queue IN (SELECT name FROM queue WHERE paused), queue, '')
                   ORDER BY priority DESC, seq) AS rank,
               coalesce(json_extract(nullif(rules, ''), '$.concurrency'), 1)
                   - coalesce(leased, 0) AS room
        FROM delivery LEFT JOIN busy USING (lane) WHERE lane != '' AND state = 4)
    WHERE rank <= room);
"""
# From each format to the next; a new file goes through all of them.
_STEPS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
VERSION = len(_STEPS)

# WAL lets operators read while the store writes; why NORMAL is enough, the flusher says. A
# checkpoint comes after 16 MB of log, because it costs two fsyncs, and cuts the log back to that
# size. See https://sqlite.org/wal.html.
_INCREMENTAL = 2
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 4000",
    f"PRAGMA journal_size_limit = {4000 * 4096}",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
)


def connect(path: Path, damaged: Callable[[], None] = lambda: None) -> sqlite3.Connection:
    """Open the database for writing, making it if it is not there.

    A file that is damaged or no database at all is moved aside, loudly, and a new one is begun: a
    store that will not start would stop the whole platform, and the old file can still be read.
    `damaged` is called then.
    Raises EngineError when the file was written by a newer platform, or when the system does not
    let it be opened.
    """
    if path == IN_MEMORY:
        return _connect(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # the disk or the system, not the file
            raise EngineError(
                f"The queue in {path} cannot be opened ({error}): see whether its disk has "
                "room, and whether we may write there."
            ) from error
        aside = _move_aside(path)
        log.critical(
            "The queue in %s is damaged (%s) and was moved to %s; what waited in it is not lost, "
            "but does not run. An empty queue was begun.",
            path,
            error,
            aside,
        )
        damaged()
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


def make_envelope(columns: Sequence[Any], rules: Rules) -> Envelope:
    """Return an envelope made of its COLUMNS."""
    id_, name, body, queue, headers, due, priority, lane, sender = columns
    found = read_headers(headers)
    if rules is NONE and not lane:
        return Envelope(id_, name, body, queue, found, due, priority, sender=sender)
    return Envelope(
        id_,
        name,
        body,
        queue,
        found,
        due,
        priority,
        rules.key,
        rules.unique_for,
        lane,
        rules.concurrency,
        rules.keep_result,
        sender,
    )


def _connect(path: Path) -> sqlite3.Connection:
    # Statements run on the loop and commits in a thread, but never two at once.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if not database.execute("PRAGMA page_count").fetchone()[0]:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
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
    if version > VERSION:
        raise EngineError(
            f"{path} was written by a newer version of the platform (format {version}, this one "
            f"reads up to {VERSION}): run that version, or give another --data-dir."
        )
    for number, step in enumerate(_STEPS[version:], version + 1):
        database.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
    if database.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("VACUUM")  # only this lets a file that was made without it have it


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns() // 1_000_000}")
    # The log belongs to its file: under the same new name it can still be read into it.
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
