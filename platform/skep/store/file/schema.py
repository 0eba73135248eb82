"""The format of queue.db, and the file: opened, made, or moved aside."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from skep.base.errors import EngineError
from skep.engine.contract import Envelope, RowState
from skep.engine.headers import LISTENER

# What a confirmation of a put means: it survives the loss of power, the death of any process, or
# nothing but the death of its clients.
Durability = Literal["full", "normal", "memory"]
IN_MEMORY = Path(":memory:")
# The states as their column holds them; dead letters have a table of their own.
READY, SCHEDULED, LEASED, DEAD, BLOCKED = range(5)
STATES: tuple[RowState, ...] = ("ready", "scheduled", "leased", "dead", "blocked")
# The digits of the largest number that surely fits where rows are numbered.
LONGEST_SEQ = 18
# What an envelope is made of, beside its rules.
COLUMNS = "id, name, body, queue, headers, due, priority, lane, sender"

# Whether a row is an event's: in JSON no text is followed by a colon but a name.
IS_EVENT = f"instr(headers, '\"{LISTENER}\":') > 0"

# What an envelope may hold; see `skep.engine.contract`.
_LATEST, _PRIORITIES = 2**53, 2**31

# `seq` is the order in which deliveries were put; `state` is 0 for ready, 1 for scheduled, 2 for
# leased, 4 for blocked; `serial` distinguishes the leases of a row. The indexes are partial, so a
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
# Of a lane the first are ready, as many as it has room for beside what is leased; what is in a
# queue that is paused is ordered by itself. See `state/concurrency.py`, which keeps it so.
ORDER_LANES = """
UPDATE delivery SET state = 4 WHERE lane != '' AND state = 0;
UPDATE delivery SET state = 0 WHERE seq IN (
    WITH busy AS (
        SELECT lane, count(*) AS leased FROM delivery WHERE lane != '' AND state = 2 GROUP BY lane)
    SELECT seq FROM (
        SELECT seq, row_number() OVER (
                   PARTITION BY lane, iif(queue IN (SELECT name FROM queue WHERE paused), queue, '')
                   ORDER BY priority DESC, seq) AS rank,
               coalesce(iif(json_valid(rules), json_extract(rules, '$.concurrency'), 1), 1)
                   - coalesce(leased, 0) AS room
        FROM delivery LEFT JOIN busy USING (lane) WHERE lane != '' AND state = 4)
    WHERE rank <= room);
"""
# `sender` is what delivered it, `cuts` how often a worker had to go before it ended. In a file of
# an earlier format, what was ready first took the room of its lane.
_VERSION_4 = f"""
ALTER TABLE delivery ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE dead ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_lane ON delivery (lane, priority DESC, seq) WHERE state = 0 AND lane != '';
{ORDER_LANES}
"""
# How many deliveries have ended how; see `state/tally.py`. `labels` is a JSON array.
_VERSION_5 = """
CREATE TABLE counted (
    seq INTEGER PRIMARY KEY,
    metric TEXT NOT NULL,
    labels TEXT NOT NULL,
    number INTEGER NOT NULL
);
"""
# Which deliveries were restored from another file. Made when first needed: few files have one.
RESTORED = "CREATE TABLE IF NOT EXISTS restored (id TEXT PRIMARY KEY) WITHOUT ROWID"
# From each format to the next; a new file goes through all of them.
_STEPS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
VERSION = len(_STEPS)

# WAL lets operators read while the store writes; why NORMAL is enough, the flusher says. A
# checkpoint comes after 16 MB of log, because it costs two fsyncs, and cuts the log back to that
# size. See https://sqlite.org/wal.html.
_INCREMENTAL = 2
# How many seconds to wait at the start for a program that has locked the file, like a backup.
_LOCKED = 20.0
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 4000",
    f"PRAGMA journal_size_limit = {4000 * 4096}",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
)

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


class Rules(Struct, frozen=True, omit_defaults=True):
    """The fields of an envelope that most leave at their defaults, in a column of their own."""

    key: str = ""
    unique_for: int = 0
    concurrency: int = 1
    keep_result: int = 0


NO_RULES = Rules()
_encode_rules = msgspec.json.Encoder().encode
_decode_rules = msgspec.json.Decoder(Rules).decode


def rules_of(envelope: Envelope) -> Rules:
    if envelope.key or envelope.keep_result or envelope.concurrency_key:
        return Rules(envelope.key, envelope.unique_for, envelope.concurrency, envelope.keep_result)
    return NO_RULES


def write_rules(rules: Rules) -> str:
    """Return rules as their column holds them; most deliveries have none."""
    return "" if rules is NO_RULES else _encode_rules(rules).decode()


def read_rules(column: str) -> Rules:
    return _decode_rules(column) if column else NO_RULES


class Column(NamedTuple):
    """A column, and what it holds: TEXT, INTEGER or BLOB."""

    name: str
    kind: str


class Damaged(ValueError):
    """A row is not one that this platform has written."""


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the database for reading, beside the store that writes it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def write_headers(headers: dict[str, str]) -> str:
    """Return headers as their column holds them; most deliveries have none."""
    return msgspec.json.encode(headers).decode() if headers else ""


def read_headers(column: str) -> dict[str, str]:
    return msgspec.json.decode(column, type=dict[str, str]) if column else {}


def make_envelope(columns: Sequence[Any], rules: Rules) -> Envelope:
    """Return an envelope made of its COLUMNS. Raises Damaged, DecodeError."""
    id_, name, body, queue, headers, due, priority, lane, sender = columns
    if type(due) is not int or type(priority) is not int or type(body) is not bytes:
        raise Damaged(f"due is {due!r}, priority is {priority!r}, body is a {type(body).__name__}")
    if not (0 <= due <= _LATEST and -_PRIORITIES <= priority <= _PRIORITIES):
        raise Damaged(f"due is {due}, priority is {priority}")
    found = read_headers(headers)
    what = (id_, name, body, queue, found, due, priority)
    if rules is NO_RULES and not lane:
        return Envelope(*what, sender=sender)
    unique, limits = (rules.key, rules.unique_for), (lane, rules.concurrency)
    return Envelope(*what, *unique, *limits, rules.keep_result, sender)


def open_file(path: Path) -> sqlite3.Connection:
    """Open the database for writing, making it or bringing it up to date.

    Raises one of DAMAGE (see there) when it is damaged or the system does not let it be opened,
    EngineError when a newer platform wrote it.
    """
    # Statements run on the loop and commits in a thread, but never two at once.
    database = sqlite3.connect(path, timeout=_LOCKED, isolation_level=None, check_same_thread=False)
    try:
        if not database.execute("PRAGMA page_count").fetchone()[0]:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for pragma in _PRAGMAS:
            database.execute(pragma).close()
        # 3 s for a million deliveries; quick_check is faster, and overlooks a stale index: what is
        # not in that would never run.
        damage = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if damage != "ok":
            raise Damaged(damage)
        _migrate(database, path)
        if not has_tables(database):
            raise Damaged("a table or a column is missing")
        # From now on the loop does not wait for locks: a locked transaction is retried later.
        database.execute("PRAGMA busy_timeout = 0").close()
    except BaseException:
        database.close()
        raise
    return database


def check_version(database: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file. Raises EngineError when a newer platform wrote it."""
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise EngineError(
            f"{path} was written by a newer version of the platform (format {version}, this one "
            f"reads up to {VERSION}): run that version, or give another --data-dir."
        )
    return version


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    version = check_version(database, path)
    for number, step in enumerate(_STEPS[version:], version + 1):
        database.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
    if database.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("VACUUM")  # only this lets a file that was made without it have it


def has_tables(database: sqlite3.Connection) -> bool:
    """Return whether a database has all tables and columns of a queue."""
    with closing(sqlite3.connect(IN_MEMORY)) as model:
        model.executescript("".join(_STEPS))
        return all(
            columns_of(database, table) == columns_of(model, table) for table in tables_of(model)
        )


def tables_of(database: sqlite3.Connection) -> list[str]:
    """Return the names of the tables that are ours."""
    return [name for (name,) in database.execute(_TABLES).fetchall()]


def columns_of(database: sqlite3.Connection, table: str) -> list[Column]:
    found = database.execute(f"PRAGMA table_info({table})").fetchall()
    return [Column(name, kind) for _, name, kind, *_ in found]


def parts(path: Path) -> list[Path]:
    """Return the paths of the database: its log, the index of the log, the file."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "")]


def aside_name(path: Path) -> Path:
    """Return a name for a damaged file that is kept."""
    return path.with_name(f"{path.name}.corrupt-{time.time_ns() // 1_000_000}")


def move_aside(path: Path, aside: Path) -> None:
    """Give what lies under the name of the database another."""
    log, index, itself = parts(path)
    # The log belongs to its file: under the same new name it can still be read into it. Its index
    # is made again by the one who does.
    index.unlink(missing_ok=True)
    for part, new_name in ((log, parts(aside)[0]), (itself, aside)):
        if part.exists():
            part.rename(new_name)
