"""Everything the config server knows: items, releases and notification ids, in one SQLite file."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

from skep.configserver import schema, tables
from skep.configserver.names import Address
from skep.configserver.records import (
    Draft,
    EditorLimits,
    InvalidRequest,
    Item,
    NotFound,
    Notification,
    StoredRelease,
)

Mode = Literal["create", "update", "either"]


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
        found = tables.find_namespace(self._reader, address)
        return found[1] if found else None

    def items(self, address: Address) -> list[Item]:
        """Return the items in the editor's order, comments and blank lines among them."""
        found = tables.find_namespace(self._reader, address)
        return tables.items(self._reader, found[0]) if found else []

    def item(self, address: Address, key: str) -> Item | None:
        """Return the item with this key."""
        found = tables.find_namespace(self._reader, address)
        return tables.item(self._reader, found[0], key) if found else None

    def latest_release(self, address: Address) -> StoredRelease | None:
        """Return the release in force at this address and no other: no fallback is made."""
        return tables.latest_release(self._reader, address)

    def notifications(
        self, app_id: str, clusters: Sequence[str], namespaces: Sequence[str]
    ) -> list[Notification]:
        """Return the latest change of each of these namespaces in each of these clusters."""
        return tables.notifications(self._reader, app_id, clusters, namespaces)

    def put_item(
        self, address: Address, draft: Draft, operator: str, mode: Mode = "either"
    ) -> None:
        """Write one item, invisible to clients until it is published.

        The namespace is made if there is none. `create` raises InvalidRequest if the key exists,
        `update` NotFound if it does not; a bad name or too long a value raises InvalidRequest.
        """
        self.limits.check(draft)
        with self._writing() as db:
            namespace_id, at = tables.open_namespace(db, address, operator)
            exists = tables.item(db, namespace_id, draft.key) is not None
            if exists and mode == "create":
                raise InvalidRequest(f"There is a key {draft.key!r} in {at} already.")
            if not exists and mode == "update":
                raise NotFound(f"There is no key {draft.key!r} in {at}.")
            write = tables.update_item if exists else tables.insert_item
            write(db, namespace_id, draft, operator)

    def delete_item(self, address: Address, key: str) -> None:
        """Delete one item; clients keep it until the next release. Raises NotFound."""
        with self._writing() as db:
            found = tables.find_namespace(db, address)
            if not (found and tables.delete_item(db, found[0], key)):
                raise NotFound(f"There is no key {key!r} in {address}.")

    def publish(
        self, address: Address, name: str, operator: str, comment: str = ""
    ) -> tuple[StoredRelease, Notification]:
        """Make the items of a namespace, which need not exist, its release in force, and number its
        notification; also without a change. Raises InvalidRequest for a bad name."""
        with self._writing() as db:
            namespace_id, at = tables.open_namespace(db, address, operator)
            values = {item.key: item.value for item in tables.items(db, namespace_id) if item.key}
            return _release(db, at, namespace_id, values, name, operator, comment)

    def introduce(
        self, address: Address, drafts: Sequence[Draft], name: str, operator: str
    ) -> bool:
        """Make and publish a namespace with these items, unless it exists; return whether it did.
        Raises InvalidRequest for a bad name or too long a value."""
        for draft in drafts:
            self.limits.check(draft)
        with self._writing() as db:
            if tables.find_namespace(db, address):
                return False
            namespace_id, at = tables.open_namespace(db, address, operator)
            for draft in drafts:
                tables.insert_item(db, namespace_id, draft, operator)
            values = {draft.key: draft.value for draft in drafts if draft.key}
            _release(db, at, namespace_id, values, name, operator)
            return True

    def ensure_release(self, address: Address, name: str, operator: str) -> bool:
        """Publish an empty release if the namespace has none in force; return whether it did.
        Unpublished items stay unpublished."""
        with self._writing() as db:
            namespace_id, at = tables.open_namespace(db, address, operator)
            if tables.latest_release(db, at):
                return False
            _release(db, at, namespace_id, {}, name, operator)
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


def _release(
    db: sqlite3.Connection,
    address: Address,
    namespace_id: int,
    values: Mapping[str, str],
    name: str,
    operator: str,
    comment: str = "",
) -> tuple[StoredRelease, Notification]:
    tables.insert_release(db, namespace_id, values, name, operator, comment)
    release = tables.latest_release(db, address)
    assert release is not None, "what was inserted a moment ago in this transaction is there"
    return release, tables.notify(db, address)
