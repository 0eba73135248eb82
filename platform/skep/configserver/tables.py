"""The SQL of the config server, inside the caller's transaction. The collation of the columns
compares names in any case, keys by their bytes."""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import cast

from skep.configserver.names import Address
from skep.configserver.records import Draft, Item, Notification, StoredRelease, check_address

_AT = "app_id = ? AND cluster = ? AND namespace = ?"
_ITEM = "key, value, comment, type, line, created_by, created_at, modified_by, modified_at"
_RELEASE = (
    "id, release_key, app_id, cluster, namespace, name, comment, configurations,"
    " released_by, released_at"
)


def find_namespace(db: sqlite3.Connection, address: Address) -> tuple[int, Address] | None:
    """Return the id of a namespace and its address as it was first written."""
    row = db.execute(
        f"SELECT namespace_id, app_id, cluster, namespace FROM address WHERE {_AT}", address
    ).fetchone()
    return (row[0], Address(*row[1:])) if row else None


def open_namespace(db: sqlite3.Connection, address: Address, operator: str) -> tuple[int, Address]:
    """Return what `find_namespace` does, and make what is missing. Raises InvalidRequest for a name
    that is not legal."""
    check_address(address)
    by = (operator, _now())
    app_id, app = _open_row(db, "app", {}, address.app_id, by)
    cluster_id, cluster = _open_row(db, "cluster", {"app_id": app_id}, address.cluster, by)
    # The first cluster of the app that had the namespace gave it its spelling.
    _, namespace = _open_row(db, "app_namespace", {"app_id": app_id}, address.namespace, by)
    namespace_id, _ = _open_row(db, "namespace", {"cluster_id": cluster_id}, namespace, by)
    return namespace_id, Address(app, cluster, namespace)


def items(db: sqlite3.Connection, namespace_id: int) -> list[Item]:
    """Return the items in the editor's order."""
    rows = db.execute(
        f"SELECT {_ITEM} FROM item WHERE namespace_id = ? ORDER BY line, id", (namespace_id,)
    )
    return [Item(*row) for row in rows]


def item(db: sqlite3.Connection, namespace_id: int, key: str) -> Item | None:
    """Return the item with this key; comments, which have none, are never found."""
    row = db.execute(
        f"SELECT {_ITEM} FROM item WHERE namespace_id = ? AND key = ? AND key != ''",
        (namespace_id, key),
    ).fetchone()
    return Item(*row) if row else None


def insert_item(db: sqlite3.Connection, namespace_id: int, draft: Draft, operator: str) -> None:
    """Add an item below the others."""
    now = _now()
    db.execute(
        f"INSERT INTO item (namespace_id, {_ITEM})"
        " SELECT ?, ?, ?, ?, ?, 1 + coalesce(max(line), 0), ?, ?, ?, ?"
        " FROM item WHERE namespace_id = ?",
        (
            *(namespace_id, draft.key, draft.value, draft.comment, draft.type),
            *(operator, now, operator, now),
            namespace_id,
        ),
    )


def update_item(db: sqlite3.Connection, namespace_id: int, draft: Draft, operator: str) -> None:
    """Replace the item that has the draft's key; it keeps its place and who created it."""
    db.execute(
        "UPDATE item SET value = ?, comment = ?, type = ?, modified_by = ?, modified_at = ?"
        " WHERE namespace_id = ? AND key = ? AND key != ''",
        (draft.value, draft.comment, draft.type, operator, _now(), namespace_id, draft.key),
    )


def delete_item(db: sqlite3.Connection, namespace_id: int, key: str) -> bool:
    """Delete the item with this key; say whether there was one."""
    deleted = db.execute(
        "DELETE FROM item WHERE namespace_id = ? AND key = ? AND key != ''", (namespace_id, key)
    )
    return deleted.rowcount > 0


def latest_release(db: sqlite3.Connection, address: Address) -> StoredRelease | None:
    """Return the newest release of exactly this address that was not abandoned."""
    row = db.execute(
        f"SELECT {_RELEASE} FROM release JOIN address USING (namespace_id)"
        f" WHERE {_AT} AND is_abandoned = 0 ORDER BY id DESC LIMIT 1",
        address,
    ).fetchone()
    return StoredRelease(row[0], row[1], Address(*row[2:5]), *row[5:]) if row else None


def insert_release(
    db: sqlite3.Connection,
    namespace_id: int,
    values: Mapping[str, str],
    name: str,
    operator: str,
    comment: str = "",
) -> None:
    """Put these values in force."""
    now = _now()
    configurations = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    db.execute(
        "INSERT INTO release (release_key, namespace_id, name, comment, configurations,"
        " released_by, released_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (_release_key(now), namespace_id, name, comment, configurations, operator, now),
    )


def notify(db: sqlite3.Connection, address: Address) -> Notification:
    """Replace the notification of this address: AUTOINCREMENT gives an id above all earlier ones,
    and REPLACE takes a new one each time."""
    inserted = db.execute(
        "INSERT OR REPLACE INTO notification (app_id, cluster, namespace) VALUES (?, ?, ?)", address
    )
    return Notification(cast("int", inserted.lastrowid), address)


def notifications(
    db: sqlite3.Connection, app_id: str, clusters: Sequence[str], namespaces: Sequence[str]
) -> list[Notification]:
    """Return the latest news of each of these namespaces in each of these clusters."""
    rows = db.execute(
        "SELECT id, app_id, cluster, namespace FROM notification WHERE app_id = ?"
        f" AND cluster IN ({_marks(clusters)}) AND namespace IN ({_marks(namespaces)})",
        (app_id, *clusters, *namespaces),
    )
    return [Notification(row[0], Address(*row[1:])) for row in rows]


def _open_row(
    db: sqlite3.Connection, table: str, owner: Mapping[str, int], name: str, by: tuple[str, int]
) -> tuple[int, str]:
    """Return the id and spelling of the row with this name; insert it if there is none."""
    where = " AND ".join(f"{column} = ?" for column in (*owner, "name"))
    found: tuple[int, str] | None = db.execute(
        f"SELECT id, name FROM {table} WHERE {where}", (*owner.values(), name)
    ).fetchone()
    if found:
        return found
    values = (*owner.values(), name, *by)
    inserted = db.execute(
        f"INSERT INTO {table} ({', '.join((*owner, 'name', 'created_by', 'created_at'))})"
        f" VALUES ({_marks(values)})",
        values,
    )
    return cast("int", inserted.lastrowid), name


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _release_key(now: int) -> str:
    """Return a new release key in Apollo's form: the time, for people, then random digits."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(now / 1000)) + "-" + secrets.token_hex(8)
