"""The rows of releases, of their history, and of notifications."""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from skep.configserver.model.names import Address
from skep.configserver.model.refusals import NotFound
from skep.configserver.model.releases import (
    HistoryEntry,
    Notification,
    ReleaseOperation,
    StoredRelease,
)
from skep.configserver.storage.database import WriteTransaction, marks
from skep.configserver.storage.namespaces import AT

_RELEASE = (
    "SELECT id, release_key, app_id, cluster, namespace, name, comment, configurations,"
    " is_abandoned, released_by, released_at FROM release JOIN address USING (namespace_id)"
)
_HISTORY = (
    "SELECT release_history.id, app_id, cluster, namespace, branch, release_id,"
    " previous_release_id, operation, context, operator, at"
    " FROM release_history JOIN address USING (namespace_id)"
)


def latest(db: sqlite3.Connection, address: Address) -> StoredRelease | None:
    """Return the newest release of exactly this address that was not abandoned."""
    row = db.execute(
        f"{_RELEASE} WHERE {AT} AND is_abandoned = 0 ORDER BY id DESC LIMIT 1", address
    ).fetchone()
    return _release(row) if row else None


def by_id(db: sqlite3.Connection, release_id: int) -> StoredRelease:
    """Return a release. Raises NotFound."""
    row = db.execute(f"{_RELEASE} WHERE id = ?", (release_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no release {release_id}.")
    return _release(row)


def by_key(db: sqlite3.Connection, release_key: str) -> StoredRelease | None:
    """Return the release with this key, abandoned or not."""
    row = db.execute(f"{_RELEASE} WHERE release_key = ?", (release_key,)).fetchone()
    return _release(row) if row else None


def page(
    db: sqlite3.Connection, address: Address, first: int, count: int, *, active: bool = False
) -> list[StoredRelease]:
    """Return releases of an address, the newest first; only the active ones if asked."""
    which = " AND is_abandoned = 0" if active else ""
    rows = db.execute(
        f"{_RELEASE} WHERE {AT}{which} ORDER BY id DESC LIMIT ? OFFSET ?", (*address, count, first)
    )
    return [_release(row) for row in rows]


def between(db: sqlite3.Connection, address: Address, after: int, last: int) -> list[StoredRelease]:
    """Return the active releases with ids above `after` up to `last`."""
    rows = db.execute(
        f"{_RELEASE} WHERE {AT} AND is_abandoned = 0 AND id > ? AND id <= ? ORDER BY id",
        (*address, after, last),
    )
    return [_release(row) for row in rows]


def insert(
    change: WriteTransaction, namespace_id: int, values: Mapping[str, str], name: str, comment: str
) -> StoredRelease:
    """Insert a release and return it. It is the one in force from now on."""
    # As Apollo's keys: the time, for people, then random digits.
    moment = time.strftime("%Y%m%d%H%M%S", time.gmtime(change.now / 1000))
    key = f"{moment}-{secrets.token_hex(8)}"
    configurations = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    change.db.execute(
        "INSERT INTO release (release_key, namespace_id, name, comment, configurations,"
        " released_by, released_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key, namespace_id, name, comment, configurations, *change.by),
    )
    made = by_key(change.db, key)
    assert made is not None, "what was inserted a moment ago in this transaction is there"
    return made


def abandon(change: WriteTransaction, given_up: Sequence[StoredRelease]) -> None:
    """Mark releases as rolled back."""
    change.db.executemany(
        "UPDATE release SET is_abandoned = 1 WHERE id = ?", [(one.id,) for one in given_up]
    )


def write_history(
    change: WriteTransaction,
    namespace_id: int,
    branch: str,
    ids: tuple[int, int],
    operation: ReleaseOperation,
    context: Mapping[str, Any],
) -> None:
    """Write an entry of the history; `ids` are those of the release and of the one before."""
    change.db.execute(
        "INSERT INTO release_history (namespace_id, branch, release_id, previous_release_id,"
        " operation, context, operator, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (namespace_id, branch, *ids, operation, json.dumps(context), *change.by),
    )


def history(db: sqlite3.Connection, address: Address, first: int, count: int) -> list[HistoryEntry]:
    """Return entries of the history of a namespace and its branches, the newest first."""
    rows = db.execute(
        f"{_HISTORY} WHERE {AT} ORDER BY release_history.id DESC LIMIT ? OFFSET ?",
        (*address, count, first),
    )
    return [_entry(row) for row in rows]


def count_history(db: sqlite3.Connection, address: Address) -> int:
    """Return how many entries the history of a namespace has."""
    (found,) = db.execute(
        f"SELECT count(*) FROM release_history JOIN address USING (namespace_id) WHERE {AT}",
        address,
    ).fetchone()
    return cast("int", found)


def notifications(
    db: sqlite3.Connection, app_id: str, clusters: Sequence[str], namespaces: Sequence[str]
) -> list[Notification]:
    """Return the latest change of each of these namespaces in each of these clusters."""
    rows = db.execute(
        "SELECT id, app_id, cluster, namespace FROM notification WHERE app_id = ?"
        f" AND cluster IN ({marks(clusters)}) AND namespace IN ({marks(namespaces)})",
        (app_id, *clusters, *namespaces),
    )
    return [Notification(row[0], Address(*row[1:])) for row in rows]


def notifications_after(db: sqlite3.Connection, last: int) -> list[Notification]:
    """Return the notifications with ids above the last, in their order."""
    rows = db.execute(
        "SELECT id, app_id, cluster, namespace FROM notification WHERE id > ? ORDER BY id", (last,)
    )
    return [Notification(row[0], Address(*row[1:])) for row in rows]


def _release(row: tuple[Any, ...]) -> StoredRelease:
    key, name, comment, configurations = row[1], row[5], row[6], row[7]
    at, is_abandoned = Address(*row[2:5]), bool(row[8])
    return StoredRelease(
        row[0], key, at, name, comment, configurations, is_abandoned, row[9], row[10]
    )


def _entry(row: tuple[Any, ...]) -> HistoryEntry:
    at, operation, context = Address(*row[1:4]), ReleaseOperation(row[7]), json.loads(row[8])
    branch, release_id, previous_id = row[4:7]
    return HistoryEntry(
        row[0], at, branch, release_id, previous_id, operation, context, row[9], row[10]
    )
