"""The rows of the rules of namespaces."""

import json
import sqlite3

from skep.configserver.model.publish_policy import PublishPolicy
from skep.configserver.storage.database import WriteTransaction


def policy_of(db: sqlite3.Connection, namespace_id: int) -> PublishPolicy:
    """Return the rules of a namespace; without a row there are none."""
    row = db.execute(
        "SELECT schema, required, approval FROM publish_policy WHERE namespace_id = ?",
        (namespace_id,),
    ).fetchone()
    return PublishPolicy(row[0], tuple(json.loads(row[1])), bool(row[2])) if row else _NONE


def set_policy(change: WriteTransaction, namespace_id: int, policy: PublishPolicy) -> None:
    """Replace the rules of a namespace."""
    change.db.execute("DELETE FROM publish_policy WHERE namespace_id = ?", (namespace_id,))
    if policy != _NONE:
        required = json.dumps(policy.required, ensure_ascii=False)
        change.db.execute(
            "INSERT INTO publish_policy (namespace_id, schema, required, approval)"
            " VALUES (?, ?, ?, ?)",
            (namespace_id, policy.schema, required, policy.approval),
        )


_NONE = PublishPolicy()
