"""Everything the config server knows: items, releases and notification ids, in one SQLite file."""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self, cast

from skep.configserver import schema
from skep.configserver.names import Address
from skep.configserver.records import (
    Draft,
    EditorLimits,
    InvalidRequest,
    Item,
    NotFound,
    Notification,
    StoredRelease,
    check_address,
)

Mode = Literal["create", "update", "either"]

# The collation of the columns compares names in any case, keys by their bytes.
_AT = "app_id = ? AND cluster = ? AND namespace = ?"
# Comments have no key, and are never found.
_KEY = "namespace_id = ? AND key = ? AND key != ''"
_ITEM = "key, value, comment, type, line, created_by, created_at, modified_by, modified_at"
_RELEASE = (
    "id, release_key, app_id, cluster, namespace, name, comment, configurations,"
    " released_by, released_at"
)


class Store:
    """The items, releases and notification ids of all apps; synchronous.

    Reading takes tens of microseconds on its own connection, so an event loop may do it; it sees
    the last commit and never waits for a writer. Writing waits for the disk and belongs in a
    thread; writers take turns. Names are found in any case, keys only as they are. When the disk
    fails, every method raises sqlite3.Error; a write that raised did not happen.
    """

    def __init__(self, path: Path, limits: EditorLimits | None = None) -> None:
        self.path = path
        self.limits = limits or EditorLimits()
        self._turn = threading.Lock()
        self._writer: sqlite3.Connection
        self._reader: sqlite3.Connection

    def open(self) -> None:
        """Open the file, or make it. Raises ConfigError, naming it, if it cannot be used."""
        self._writer = schema.open_writer(self.path)
        self._reader = schema.open_reader(self.path)

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def find(self, address: Address) -> Address | None:
        """Return the address as it was first written, or None if there is no such namespace."""
        found = _find_namespace(self._reader, address)
        return found[1] if found else None

    def items(self, address: Address) -> list[Item]:
        """Return the items in the editor's order, comments and blank lines among them."""
        found = _find_namespace(self._reader, address)
        return _items(self._reader, found[0]) if found else []

    def item(self, address: Address, key: str) -> Item | None:
        """Return the item with this key."""
        found = _find_namespace(self._reader, address)
        return _item(self._reader, found[0], key) if found else None

    def latest_release(self, address: Address) -> StoredRelease | None:
        """Return the release in force at this address and no other: no fallback is made."""
        return _latest_release(self._reader, address)

    def notifications(
        self, app_id: str, clusters: Sequence[str], namespaces: Sequence[str]
    ) -> list[Notification]:
        """Return the latest change of each of these namespaces in each of these clusters."""
        rows = self._reader.execute(
            "SELECT id, app_id, cluster, namespace FROM notification WHERE app_id = ?"
            f" AND cluster IN ({_marks(clusters)}) AND namespace IN ({_marks(namespaces)})",
            (app_id, *clusters, *namespaces),
        )
        return [Notification(row[0], Address(*row[1:])) for row in rows]

    def put_item(
        self, address: Address, draft: Draft, operator: str, mode: Mode = "either"
    ) -> None:
        """Write one item, invisible to clients until it is published.

        The namespace is made if there is none. `create` raises InvalidRequest if the key exists,
        `update` NotFound if it does not; a bad name or too long a value raises InvalidRequest.
        """
        self.limits.check(draft)
        with self._writing() as db:
            namespace_id, at = _open_namespace(db, address, operator)
            exists = _item(db, namespace_id, draft.key) is not None
            if exists and mode == "create":
                raise InvalidRequest(f"There is a key {draft.key!r} in {at} already.")
            if exists:
                # It keeps its place and who created it.
                db.execute(
                    "UPDATE item SET value = ?, comment = ?, type = ?, modified_by = ?,"
                    f" modified_at = ? WHERE {_KEY}",
                    (
                        *(draft.value, draft.comment, draft.type, operator, _now()),
                        *(namespace_id, draft.key),
                    ),
                )
            elif mode == "update":
                raise NotFound(f"There is no key {draft.key!r} in {at}.")
            else:
                _insert_item(db, namespace_id, draft, operator)

    def delete_item(self, address: Address, key: str) -> None:
        """Delete one item; clients keep it until the next release. Raises NotFound."""
        with self._writing() as db:
            found = _find_namespace(db, address)
            at = (found[0] if found else 0, key)
            if not db.execute(f"DELETE FROM item WHERE {_KEY}", at).rowcount:
                raise NotFound(f"There is no key {key!r} in {address}.")

    def publish(
        self, address: Address, name: str, operator: str, comment: str = ""
    ) -> tuple[StoredRelease, Notification]:
        """Make the items of a namespace, which need not exist, its release in force, and number its
        notification; also without a change. Raises InvalidRequest for a bad name."""
        with self._writing() as db:
            namespace_id, at = _open_namespace(db, address, operator)
            values = {item.key: item.value for item in _items(db, namespace_id) if item.key}
            return _publish(db, at, namespace_id, values, name, operator, comment)

    def introduce(
        self, address: Address, drafts: Sequence[Draft], name: str, operator: str
    ) -> bool:
        """Make and publish a namespace with these items, unless it exists; return whether it did.
        Raises InvalidRequest for a bad name or too long a value."""
        for draft in drafts:
            self.limits.check(draft)
        with self._writing() as db:
            if _find_namespace(db, address):
                return False
            namespace_id, at = _open_namespace(db, address, operator)
            for draft in drafts:
                _insert_item(db, namespace_id, draft, operator)
            values = {draft.key: draft.value for draft in drafts if draft.key}
            _publish(db, at, namespace_id, values, name, operator)
            return True

    def ensure_release(self, address: Address, name: str, operator: str) -> bool:
        """Publish an empty release if the namespace has none in force; return whether it did.
        Unpublished items stay unpublished."""
        with self._writing() as db:
            namespace_id, at = _open_namespace(db, address, operator)
            if _latest_release(db, at):
                return False
            _publish(db, at, namespace_id, {}, name, operator)
            return True

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction: all of it is on the disk afterwards, or nothing."""
        with self._turn:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some failures, a full disk among them.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise


def _publish(
    db: sqlite3.Connection,
    address: Address,
    namespace_id: int,
    values: Mapping[str, str],
    name: str,
    operator: str,
    comment: str = "",
) -> tuple[StoredRelease, Notification]:
    now = _now()
    # As Apollo's keys: the time, for people, then random digits.
    key = time.strftime("%Y%m%d%H%M%S", time.gmtime(now / 1000)) + "-" + secrets.token_hex(8)
    configurations = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    db.execute(
        "INSERT INTO release (release_key, namespace_id, name, comment, configurations,"
        " released_by, released_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key, namespace_id, name, comment, configurations, operator, now),
    )
    release = _latest_release(db, address)
    assert release is not None, "what was inserted a moment ago in this transaction is there"
    # AUTOINCREMENT gives an id above all earlier ones, and REPLACE takes a new one each time.
    notified = db.execute(
        "INSERT OR REPLACE INTO notification (app_id, cluster, namespace) VALUES (?, ?, ?)", address
    )
    return release, Notification(cast("int", notified.lastrowid), address)


def _find_namespace(db: sqlite3.Connection, address: Address) -> tuple[int, Address] | None:
    row = db.execute(
        f"SELECT namespace_id, app_id, cluster, namespace FROM address WHERE {_AT}", address
    ).fetchone()
    return (row[0], Address(*row[1:])) if row else None


def _open_namespace(db: sqlite3.Connection, address: Address, operator: str) -> tuple[int, Address]:
    """Find a namespace, and make what is missing. Raises InvalidRequest for a name that is not
    legal."""
    check_address(address)
    by = (operator, _now())
    app_id, app = _open_row(db, "app", {}, address.app_id, by)
    cluster_id, cluster = _open_row(db, "cluster", {"app_id": app_id}, address.cluster, by)
    # The first cluster of the app that had the namespace gave it its spelling.
    _, namespace = _open_row(db, "app_namespace", {"app_id": app_id}, address.namespace, by)
    namespace_id, _ = _open_row(db, "namespace", {"cluster_id": cluster_id}, namespace, by)
    return namespace_id, Address(app, cluster, namespace)


def _items(db: sqlite3.Connection, namespace_id: int) -> list[Item]:
    rows = db.execute(
        f"SELECT {_ITEM} FROM item WHERE namespace_id = ? ORDER BY line, id", (namespace_id,)
    )
    return [Item(*row) for row in rows]


def _item(db: sqlite3.Connection, namespace_id: int, key: str) -> Item | None:
    row = db.execute(f"SELECT {_ITEM} FROM item WHERE {_KEY}", (namespace_id, key)).fetchone()
    return Item(*row) if row else None


def _insert_item(db: sqlite3.Connection, namespace_id: int, draft: Draft, operator: str) -> None:
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


def _latest_release(db: sqlite3.Connection, address: Address) -> StoredRelease | None:
    """Return the newest release of exactly this address that was not abandoned."""
    row = db.execute(
        f"SELECT {_RELEASE} FROM release JOIN address USING (namespace_id)"
        f" WHERE {_AT} AND is_abandoned = 0 ORDER BY id DESC LIMIT 1",
        address,
    ).fetchone()
    return StoredRelease(row[0], row[1], Address(*row[2:5]), *row[5:]) if row else None


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
