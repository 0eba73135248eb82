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
_SECOND = """
ALTER TABLE app ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN org_id TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN org_name TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN owner_name TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN owner_email TEXT NOT NULL DEFAULT '';
-- A cluster with a parent is a branch: it exists for one namespace and its gray releases.
ALTER TABLE cluster ADD COLUMN parent_id INTEGER REFERENCES cluster (id);
ALTER TABLE cluster ADD COLUMN comment TEXT NOT NULL DEFAULT '';
ALTER TABLE app_namespace ADD COLUMN is_public INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_namespace ADD COLUMN comment TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX app_namespace_public ON app_namespace (name) WHERE is_public = 1;
ALTER TABLE item ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
-- At most one branch for each namespace.
CREATE TABLE branch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace_id INTEGER NOT NULL UNIQUE REFERENCES namespace (id),
    parent_id INTEGER NOT NULL UNIQUE REFERENCES namespace (id),
    rules TEXT NOT NULL DEFAULT '[]',
    release_id INTEGER REFERENCES release (id),
    overlay TEXT NOT NULL DEFAULT '{}'
);
-- The history goes with its namespace; its ids of releases may name some that are gone.
CREATE TABLE release_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace_id INTEGER NOT NULL REFERENCES namespace (id),
    branch TEXT NOT NULL,
    release_id INTEGER NOT NULL,
    previous_release_id INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    context TEXT NOT NULL,
    operator TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE INDEX release_history_namespace ON release_history (namespace_id, id);
-- Commits and the audit log bear names and no references: they outlive what they are about.
CREATE TABLE commit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id TEXT NOT NULL COLLATE NOCASE,
    cluster TEXT NOT NULL COLLATE NOCASE,
    namespace TEXT NOT NULL COLLATE NOCASE,
    changes TEXT NOT NULL,
    operator TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE INDEX commit_log_address ON commit_log (app_id, cluster, namespace, id);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    token TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    app_id TEXT NOT NULL COLLATE NOCASE,
    cluster TEXT NOT NULL COLLATE NOCASE,
    namespace TEXT NOT NULL COLLATE NOCASE,
    detail TEXT NOT NULL
);
CREATE INDEX audit_app ON audit (app_id, id);
CREATE TABLE access_key (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id TEXT NOT NULL COLLATE NOCASE,
    secret TEXT NOT NULL,
    mode INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX access_key_app ON access_key (app_id);
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    hash BLOB NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL
);
CREATE TABLE token_role (
    token_id INTEGER NOT NULL REFERENCES token (id),
    app_id TEXT NOT NULL COLLATE NOCASE,
    role INTEGER NOT NULL,
    PRIMARY KEY (token_id, app_id)
);
CREATE TABLE instance (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id TEXT NOT NULL COLLATE NOCASE,
    cluster TEXT NOT NULL COLLATE NOCASE,
    data_center TEXT NOT NULL COLLATE NOCASE,
    ip TEXT NOT NULL,
    UNIQUE (app_id, cluster, data_center, ip)
);
-- The address is that of the namespace; a release of a branch counts for its parent.
CREATE TABLE instance_config (
    instance_id INTEGER NOT NULL REFERENCES instance (id),
    app_id TEXT NOT NULL COLLATE NOCASE,
    cluster TEXT NOT NULL COLLATE NOCASE,
    namespace TEXT NOT NULL COLLATE NOCASE,
    release_key TEXT NOT NULL,
    delivered_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (instance_id, app_id, namespace)
);
CREATE INDEX instance_config_address ON instance_config (app_id, cluster, namespace);
CREATE INDEX instance_config_release ON instance_config (release_key);
"""
_THIRD = """
-- `required` is a JSON array of keys, `schema` the text of a JSON Schema.
CREATE TABLE publish_policy (
    namespace_id INTEGER PRIMARY KEY REFERENCES namespace (id),
    schema TEXT NOT NULL,
    required TEXT NOT NULL,
    approval INTEGER NOT NULL
);
-- States: 0 open, 1 published, 2 refused, 3 withdrawn; `due_at` is 0 for at once.
CREATE TABLE publish_request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace_id INTEGER NOT NULL REFERENCES namespace (id),
    digest TEXT NOT NULL,
    title TEXT NOT NULL,
    comment TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    requester TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    approver TEXT NOT NULL DEFAULT '',
    approved_by TEXT NOT NULL DEFAULT '',
    state INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    release_id INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX publish_request_due ON publish_request (state, due_at);
CREATE UNIQUE INDEX publish_request_open ON publish_request (namespace_id) WHERE state = 0;
"""
MIGRATIONS = (_FIRST, _SECOND, _THIRD)


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
