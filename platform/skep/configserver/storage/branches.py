"""The rows of branches."""

import json
import sqlite3
from collections.abc import Iterable, Mapping

from skep.configserver.model.branches import Branch, GrayRule, rules_from_json, rules_to_json
from skep.configserver.model.names import Address
from skep.configserver.storage.database import WriteTransaction

_BRANCH = (
    "SELECT branch.id, branch.namespace_id, parent_id, own.app_id, own.cluster, own.namespace,"
    " parent.cluster, rules, release_id, overlay FROM branch"
    " JOIN address AS own ON own.namespace_id = branch.namespace_id"
    " JOIN address AS parent ON parent.namespace_id = branch.parent_id"
)


def of_parent(db: sqlite3.Connection, parent: Address) -> Branch | None:
    """Return the branch of a namespace."""
    return _one(
        db,
        "parent.app_id = ? AND parent.cluster = ? AND parent.namespace = ?",
        parent,
    )


def of_address(db: sqlite3.Connection, address: Address) -> Branch | None:
    """Return the branch whose items are at this address: its name is the cluster."""
    return _one(db, "own.app_id = ? AND own.cluster = ? AND own.namespace = ?", address)


def insert(change: WriteTransaction, namespace_id: int, parent_id: int) -> None:
    """Make a namespace a branch of another."""
    change.db.execute(
        "INSERT INTO branch (namespace_id, parent_id) VALUES (?, ?)", (namespace_id, parent_id)
    )


def set_rules(change: WriteTransaction, branch: Branch, rules: Iterable[GrayRule]) -> None:
    """Replace the rules of a branch."""
    change.db.execute("UPDATE branch SET rules = ? WHERE id = ?", (rules_to_json(rules), branch.id))


def set_release(
    change: WriteTransaction, branch: Branch, release_id: int, overlay: Mapping[str, str | None]
) -> None:
    """Set the release that the clients of a branch get, and what it has on top of the master's."""
    change.db.execute(
        "UPDATE branch SET release_id = ?, overlay = ? WHERE id = ?",
        (release_id, json.dumps(overlay), branch.id),
    )


def delete(change: WriteTransaction, branch: Branch) -> None:
    """Delete the row; its namespace and cluster are deleted afterwards."""
    change.db.execute("DELETE FROM branch WHERE id = ?", (branch.id,))


def _one(db: sqlite3.Connection, where: str, address: Address) -> Branch | None:
    row = db.execute(f"{_BRANCH} WHERE {where}", address).fetchone()
    if row is None:
        return None
    own = Address(*row[3:6])
    return Branch(
        id=row[0],
        namespace_id=row[1],
        parent_id=row[2],
        address=own,
        parent=own._replace(cluster=row[6]),
        rules=rules_from_json(row[7]),
        release_id=row[8],
        overlay=json.loads(row[9]),
    )
