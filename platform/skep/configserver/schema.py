"""The tables of the config server's file, and the migrations of older files.

SQLite's `application_id` marks the file as ours, `user_version` is the number of migrations it has
had. To change the tables, append a migration; never edit one.
"""

import os
import sqlite3
from pathlib import Path

from skep.base.errors import ConfigError

APPLICATION_ID = 0x736B6370  # "skcp"

_FIRST = """
CREATE TABLE app (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE TABLE cluster (
    id INTEGER PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES app (id),
    name TEXT NOT NULL COLLATE NOCASE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (app_id, name)
);
-- The spelling that a name has in all clusters of an app.
CREATE TABLE app_namespace (
    id INTEGER PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES app (id),
    name TEXT NOT NULL COLLATE NOCASE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (app_id, name)
);
CREATE TABLE namespace (
    id INTEGER PRIMARY KEY,
    cluster_id INTEGER NOT NULL REFERENCES cluster (id),
    name TEXT NOT NULL COLLATE NOCASE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (cluster_id, name)
);
CREATE VIEW address AS
    SELECT namespace.id AS namespace_id,
           app.name AS app_id, cluster.name AS cluster, namespace.name AS namespace
    FROM app
    JOIN cluster ON cluster.app_id = app.id
    JOIN namespace ON namespace.cluster_id = cluster.id;
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace_id INTEGER NOT NULL REFERENCES namespace (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    comment TEXT NOT NULL,
    type INTEGER NOT NULL,
    line INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    modified_by TEXT NOT NULL,
    modified_at INTEGER NOT NULL
);
-- Comments and blank lines are items without a key, and there may be many.
CREATE UNIQUE INDEX item_key ON item (namespace_id, key) WHERE key != '';
CREATE INDEX item_line ON item (namespace_id, line);
CREATE TABLE release (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    release_key TEXT NOT NULL UNIQUE,
    namespace_id INTEGER NOT NULL REFERENCES namespace (id),
    name TEXT NOT NULL,
    comment TEXT NOT NULL,
    configurations TEXT NOT NULL,
    is_abandoned INTEGER NOT NULL DEFAULT 0,
    released_by TEXT NOT NULL,
    released_at INTEGER NOT NULL
);
CREATE INDEX release_latest ON release (namespace_id, is_abandoned, id);
CREATE TRIGGER release_is_immutable
BEFORE UPDATE OF id, release_key, namespace_id, name, comment, configurations, released_by,
    released_at ON release
BEGIN
    SELECT RAISE(ABORT, 'a release is immutable');
END;
-- One row for each address: a new change replaces it under a new id. It bears names and no
-- reference, because the news that a namespace is gone must outlive the namespace.
CREATE TABLE notification (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id TEXT NOT NULL COLLATE NOCASE,
    cluster TEXT NOT NULL COLLATE NOCASE,
    namespace TEXT NOT NULL COLLATE NOCASE,
    UNIQUE (app_id, cluster, namespace)
);
"""
MIGRATIONS = (_FIRST,)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open or make the file for writing, and migrate its tables. Raises ConfigError, naming the
    file, if it is damaged, not ours (then it is unchanged), newer than this program, or cannot be
    opened."""
    try:
        # Made here and not by SQLite, so that other users can never read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = _connect(path)
    except OSError as error:
        raise ConfigError(
            f"The config server's file {path} cannot be opened: {error.strerror}."
        ) from error
    try:
        _examine(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, because what publishing has answered for must survive a loss of power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"The config server's file {path} cannot be used: {error}.") from error
    except ConfigError:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a file that `open_writer` has prepared; it reads the last commit and never waits."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # Any thread may use it: SQLite is built serialized, and the store keeps writers apart.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _examine(connection: sqlite3.Connection, path: Path) -> None:
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID and (objects or owner):
        raise ConfigError(
            f"{path} is the database of another program: move it away, "
            "or give another data directory."
        )
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"{path} was written by a newer version of the platform (its tables are version "
            f"{version}, this program knows {len(MIGRATIONS)}): update the platform."
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise ConfigError(
            f"{path} is damaged ({' '.join(verdict.split())}): restore it from a copy, "
            "or move it away to start with an empty config server."
        )


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {number}; COMMIT;"
        )
