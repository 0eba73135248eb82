"""The accounts of people, in one file that the pages of the platform share."""

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from skep.base.errors import ConfigError
from skep.pages.refusals import PageRefused

_TABLES = """
CREATE TABLE IF NOT EXISTS account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    password_hash TEXT NOT NULL,
    roles TEXT NOT NULL,
    -- Rises when the password or the roles change; sessions of a lower one have ended.
    epoch INTEGER NOT NULL DEFAULT 1,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS ended_session (id TEXT PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS secret (id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT NOT NULL);
"""
_ACCOUNT = "SELECT id, name, roles, epoch, created_by, created_at, disabled_at FROM account"
_LONGEST_NAME = 64
_SHORTEST_PASSWORD, _LONGEST_PASSWORD = 10, 1000
# For another process that writes.
_SECONDS_TO_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in. `roles` are words by what they are for; `*` stands for everything.
    Times are milliseconds since the epoch, 0 for never."""

    id: int
    name: str
    roles: Mapping[str, str]
    epoch: int
    created_by: str
    created_at: int
    disabled_at: int


class Accounts:
    """The open file. A read takes microseconds; several processes may use the file at once.

    Every method raises sqlite3.Error when the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection

    def __enter__(self) -> Self:
        """Open the file, or make it, readable by its owner alone. Raises ConfigError, naming it, if
        it cannot be used."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(
                self._path, _SECONDS_TO_WAIT, isolation_level=None, check_same_thread=False
            )
            # Readers, which the event loop is, never wait for a writer.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            self._db.execute(
                "INSERT OR IGNORE INTO secret VALUES (1, ?)", (secrets.token_urlsafe(32),)
            )
        except OSError as error:
            raise ConfigError(
                f"The accounts {self._path} cannot be opened: {error.strerror}."
            ) from error
        except sqlite3.Error as error:
            raise ConfigError(f"The accounts {self._path} cannot be used: {error}.") from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    def secret(self) -> str:
        """Return the text with which sessions are signed."""
        (text,) = self._db.execute("SELECT text FROM secret").fetchone()
        return str(text)

    def any(self) -> bool:
        """Return whether there is an account."""
        return self._db.execute("SELECT 1 FROM account LIMIT 1").fetchone() is not None

    def all(self) -> list[Account]:
        """Return all accounts by name, disabled ones too."""
        return [_account(row) for row in self._db.execute(f"{_ACCOUNT} ORDER BY name")]

    def named(self, name: str) -> Account | None:
        """Return the account of this name, in any case."""
        return self._one("name", name)

    def by_id(self, account_id: int) -> Account | None:
        """Return the account with this id."""
        return self._one("id", account_id)

    def password_hash(self, account_id: int) -> str:
        """Return the hash of an account's password."""
        (found,) = self._db.execute(
            "SELECT password_hash FROM account WHERE id = ?", (account_id,)
        ).fetchone()
        return str(found)

    def create(
        self, name: str, password_hash: str, roles: Mapping[str, str], created_by: str
    ) -> Account:
        """Make an account. Raises PageRefused for a bad or used name."""
        check_name(name)
        try:
            self._db.execute(
                "INSERT INTO account (name, password_hash, roles, created_by, created_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, password_hash, json.dumps(dict(roles)), created_by, _now()),
            )
        except sqlite3.IntegrityError:
            raise PageRefused(400, f"There is an account {name!r} already.") from None
        made = self.named(name)
        assert made is not None, "it was inserted a moment ago, and no account is ever deleted"
        return made

    def create_first(self, name: str, password_hash: str, roles: Mapping[str, str]) -> Account:
        """Make the first account. Raises PageRefused if there is one."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if self.any():
                raise PageRefused(409, "There is an account already: sign in.")
            made = self.create(name, password_hash, roles, name)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return made

    def set_password(self, account_id: int, password_hash: str) -> None:
        """Change the password; all sessions of the account end."""
        self._change(account_id, "password_hash = ?", password_hash)

    def set_roles(self, account_id: int, roles: Mapping[str, str]) -> None:
        """Change what an account may do; all its sessions end."""
        self._change(account_id, "roles = ?", json.dumps(dict(roles)))

    def set_enabled(self, account_id: int, *, enabled: bool) -> None:
        """Enable or disable an account; all its sessions end."""
        self._change(account_id, "disabled_at = ?", 0 if enabled else _now())

    def end_session(self, session_id: str, until: int) -> None:
        """Remember that a session has ended, until its cookie is too old anyway (seconds since the
        epoch)."""
        self._db.execute("DELETE FROM ended_session WHERE until < ?", (time.time(),))
        self._db.execute("INSERT OR REPLACE INTO ended_session VALUES (?, ?)", (session_id, until))

    def has_ended(self, session_id: str) -> bool:
        """Return whether a session has ended."""
        found = self._db.execute("SELECT 1 FROM ended_session WHERE id = ?", (session_id,))
        return found.fetchone() is not None

    def _one(self, column: str, value: object) -> Account | None:
        row = self._db.execute(f"{_ACCOUNT} WHERE {column} = ?", (value,)).fetchone()
        return _account(row) if row else None

    def _change(self, account_id: int, what: str, value: object) -> None:
        self._db.execute(
            f"UPDATE account SET {what}, epoch = epoch + 1 WHERE id = ?", (value, account_id)
        )


def check_name(name: str) -> None:
    """Raise PageRefused if no account can have this name."""
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise PageRefused(
            400,
            f"A name has 1 to {_LONGEST_NAME} printable characters, without a blank at either end.",
        )


def check_password(name: str, password: str) -> None:
    """Raise PageRefused if a password is too easy to guess."""
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise PageRefused(
            400, f"A password has {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters."
        )
    if name.lower() in password.lower() or len(set(password)) < 5:
        raise PageRefused(
            400, "Choose a password without your name, and with more different characters."
        )


def _account(row: tuple[Any, ...]) -> Account:
    return Account(row[0], row[1], json.loads(row[2]), *row[3:])


def _now() -> int:
    return time.time_ns() // 1_000_000
