"""The rows of commits and of the audit log."""

import json
import sqlite3
from typing import Any

from skep.configserver.model.items import ItemChanges
from skep.configserver.model.journal import AuditEntry, Commit
from skep.configserver.model.names import Address
from skep.configserver.storage.database import WriteTransaction
from skep.configserver.storage.namespaces import AT


def write_commit(change: WriteTransaction, address: Address, changes: ItemChanges) -> None:
    """Write what one save changed."""
    change.db.execute(
        "INSERT INTO commit_log (app_id, cluster, namespace, changes, operator, at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (*address, json.dumps(changes.document(), ensure_ascii=False), *change.by),
    )


def commits(
    db: sqlite3.Connection, address: Address, first: int, count: int, key: str = ""
) -> list[Commit]:
    """Return the saves of a namespace, the newest first; only those that touch a key if asked."""
    touched = " AND instr(changes, ?)" if key else ""
    spelled = (f'"key": {json.dumps(key, ensure_ascii=False)}',) if key else ()
    rows = db.execute(
        "SELECT id, app_id, cluster, namespace, changes, operator, at FROM commit_log"
        f" WHERE {AT}{touched} ORDER BY id DESC LIMIT ? OFFSET ?",
        (*address, *spelled, count, first),
    )
    return [Commit(row[0], Address(*row[1:4]), json.loads(row[4]), *row[5:]) for row in rows]


def audit(db: sqlite3.Connection, app_id: str, count: int, before: int = 0) -> list[AuditEntry]:
    """Return entries of the audit log, the newest first: of one app, or of all if it is empty; only
    those before an entry if its id is given."""
    where = " AND app_id = ?" if app_id else ""
    rows = db.execute(
        "SELECT id, at, actor, token, origin, action, app_id, cluster, namespace, detail"
        f" FROM audit WHERE id < ?{where} ORDER BY id DESC LIMIT ?",
        (before or 1 << 62, *((app_id,) if app_id else ()), count),
    )
    return [_entry(row) for row in rows]


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    number, at, actor, token, origin, action = row[:6]
    place, detail = Address(*row[6:9]), json.loads(row[9])
    return AuditEntry(number, at, actor, token, origin, action, place, detail)
