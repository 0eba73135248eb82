"""The rows of items; keys are found only as they are."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import cast

from skep.configserver.model.items import Draft, Item
from skep.configserver.model.names import Address, fold
from skep.configserver.storage.database import WriteTransaction

_ITEM = (
    "id, key, value, comment, type, line, revision, created_by, created_at, modified_by,"
    " modified_at"
)


def items(db: sqlite3.Connection, namespace_id: int) -> list[Item]:
    """Return the items in the editor's order, comments and blank lines among them."""
    rows = db.execute(
        f"SELECT {_ITEM} FROM item WHERE namespace_id = ? ORDER BY line, id", (namespace_id,)
    )
    return [Item(*row) for row in rows]


def item(db: sqlite3.Connection, namespace_id: int, key: str) -> Item | None:
    """Return the item with this key. Comments have no key, and are never found."""
    row = db.execute(
        f"SELECT {_ITEM} FROM item WHERE namespace_id = ? AND key = ? AND key != ''",
        (namespace_id, key),
    ).fetchone()
    return Item(*row) if row else None


def item_by_id(db: sqlite3.Connection, namespace_id: int, item_id: int) -> Item | None:
    """Return the line with this id, which may be a comment."""
    row = db.execute(
        f"SELECT {_ITEM} FROM item WHERE namespace_id = ? AND id = ?", (namespace_id, item_id)
    ).fetchone()
    return Item(*row) if row else None


def search(db: sqlite3.Connection, key: str, value: str) -> Iterator[tuple[Address, Item]]:
    """Yield the items whose key and value have these texts in them, in any case of ASCII letters,
    by app, cluster and namespace."""
    columns = ", ".join(f"item.{column}" for column in _ITEM.split(", "))
    rows = db.execute(
        f"SELECT app_id, cluster, namespace, {columns} FROM item JOIN address USING (namespace_id)"
        " WHERE key != '' AND instr(lower(key), ?) AND instr(lower(value), ?)"
        " ORDER BY app_id, cluster, namespace, line",
        # Not LIKE, which fails for long texts.
        (fold(key), fold(value)),
    )
    return ((Address(*row[:3]), Item(*row[3:])) for row in rows)


def insert(change: WriteTransaction, namespace_id: int, draft: Draft, line: int = 0) -> Item:
    """Insert a line, the last one if `line` is 0; return it."""
    inserted = change.db.execute(
        "INSERT INTO item (namespace_id, key, value, comment, type, line, created_by, created_at,"
        " modified_by, modified_at)"
        " SELECT ?, ?, ?, ?, ?, CASE ? WHEN 0 THEN 1 + coalesce(max(line), 0) ELSE ? END,"
        " ?, ?, ?, ? FROM item WHERE namespace_id = ?",
        (
            *(namespace_id, draft.key, draft.value, draft.comment, draft.type, line, line),
            *change.by,
            *change.by,
            namespace_id,
        ),
    )
    made = item_by_id(change.db, namespace_id, cast("int", inserted.lastrowid))
    assert made is not None, "what was inserted a moment ago in this transaction is there"
    return made


def update(
    change: WriteTransaction, namespace_id: int, old: Item, draft: Draft, line: int = 0
) -> Item:
    """Change a line, which keeps its place if `line` is 0, and who created it; return it."""
    change.db.execute(
        "UPDATE item SET value = ?, comment = ?, type = ?, line = ?, revision = revision + 1,"
        " modified_by = ?, modified_at = ? WHERE id = ?",
        (draft.value, draft.comment, draft.type, line or old.line, *change.by, old.id),
    )
    made = item_by_id(change.db, namespace_id, old.id)
    assert made is not None, "what was updated a moment ago in this transaction is there"
    return made


def move(change: WriteTransaction, item_id: int, line: int) -> None:
    """Give a line another place; that is not a change of the item."""
    change.db.execute("UPDATE item SET line = ? WHERE id = ?", (line, item_id))


def delete(change: WriteTransaction, lines: Sequence[Item]) -> None:
    """Delete lines."""
    change.db.executemany("DELETE FROM item WHERE id = ?", [(line.id,) for line in lines])
