"""The rows of access keys and of tokens."""

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any, cast

from skep.configserver.model.access_keys import AppKey, KeyMode
from skep.configserver.model.names import fold
from skep.configserver.model.rights import AccessRole, AccessToken
from skep.configserver.storage.database import WriteTransaction
from skep.configserver.storage.namespaces import insert

_KEY = "SELECT id, app_id, secret, mode, enabled, created_by, created_at FROM access_key"
_TOKEN = "SELECT id, name, created_by, created_at, expires_at, revoked_at FROM token"


def keys(db: sqlite3.Connection, app_id: str) -> list[AppKey]:
    """Return the access keys of an app, the oldest first."""
    rows = db.execute(f"{_KEY} WHERE app_id = ? ORDER BY id", (app_id,))
    return [_key(row) for row in rows]


def insert_key(
    change: WriteTransaction, app_id: str, secret: str, mode: KeyMode, enabled: bool
) -> AppKey:
    """Insert an access key and return it."""
    columns = {"app_id": app_id, "secret": secret, "mode": int(mode), "enabled": int(enabled)}
    number = insert(change, "access_key", columns)
    return AppKey(number, app_id, secret, mode, enabled, *change.by)


def set_key(change: WriteTransaction, key_id: int, mode: KeyMode, enabled: bool) -> None:
    """WriteTransaction the mode of a key, and whether it is enabled."""
    change.db.execute(
        "UPDATE access_key SET mode = ?, enabled = ? WHERE id = ?", (mode, enabled, key_id)
    )


def delete_key(change: WriteTransaction, key_id: int) -> None:
    """Delete an access key."""
    change.db.execute("DELETE FROM access_key WHERE id = ?", (key_id,))


def tokens(db: sqlite3.Connection) -> list[AccessToken]:
    """Return all tokens, revoked ones too."""
    return [_token(db, row) for row in db.execute(f"{_TOKEN} ORDER BY id")]


def token_named(db: sqlite3.Connection, name: str) -> AccessToken | None:
    """Return the token of this name."""
    row = db.execute(f"{_TOKEN} WHERE name = ?", (name,)).fetchone()
    return _token(db, row) if row else None


def token_by_text(db: sqlite3.Connection, text: str) -> AccessToken | None:
    """Return the token that this text is, revoked or not."""
    row = db.execute(f"{_TOKEN} WHERE hash = ?", (hashed(text),)).fetchone()
    return _token(db, row) if row else None


def insert_token(
    change: WriteTransaction,
    name: str,
    text: str,
    grants: Mapping[str, AccessRole],
    expires_at: int,
) -> None:
    """Insert a token; only its hash is kept."""
    columns = {
        "name": name,
        "hash": hashed(text),
        "expires_at": expires_at,
        "revoked_at": 0,
    }
    number = insert(change, "token", columns)
    change.db.executemany(
        "INSERT INTO token_role (token_id, app_id, role) VALUES (?, ?, ?)",
        [(number, app_id, int(role)) for app_id, role in grants.items()],
    )


def revoke_token(change: WriteTransaction, token_id: int) -> None:
    """Revoke a token from now on."""
    change.db.execute("UPDATE token SET revoked_at = ? WHERE id = ?", (change.now, token_id))


def hashed(text: str) -> bytes:
    """Return the hash of a token. A token has 256 random bits, so a quick hash is enough."""
    return hashlib.sha256(text.encode()).digest()


def _key(row: tuple[Any, ...]) -> AppKey:
    return AppKey(row[0], row[1], row[2], KeyMode(row[3]), bool(row[4]), row[5], row[6])


def _token(db: sqlite3.Connection, row: tuple[Any, ...]) -> AccessToken:
    granted = db.execute("SELECT app_id, role FROM token_role WHERE token_id = ?", (row[0],))
    grants = {fold(cast("str", app_id)): AccessRole(role) for app_id, role in granted}
    return AccessToken(row[0], row[1], grants, *row[2:])
