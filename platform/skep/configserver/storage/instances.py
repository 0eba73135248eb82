"""The rows of instances and of the releases they run."""

import sqlite3
from collections.abc import Iterable, Sequence

from skep.configserver.model.instances import ACTIVE_SECONDS, InstanceConfig
from skep.configserver.model.names import Address
from skep.configserver.storage.database import WriteTransaction, marks

_CONFIG = (
    "SELECT instance_id, instance.app_id, instance.cluster, data_center, ip,"
    " instance_config.app_id, instance_config.cluster, namespace, release_key, delivered_at,"
    " seen_at FROM instance_config JOIN instance ON instance.id = instance_id"
)
_AT = "instance_config.app_id = ? AND instance_config.cluster = ? AND namespace = ?"


def save(change: WriteTransaction, seen: Iterable[InstanceConfig]) -> None:
    """Write what instances run; delete what none has asked for within the time that counts."""
    for one in seen:
        who = (one.app_id, one.cluster, one.data_center, one.ip)
        change.db.execute(
            "INSERT OR IGNORE INTO instance (app_id, cluster, data_center, ip) VALUES (?, ?, ?, ?)",
            who,
        )
        change.db.execute(
            "INSERT INTO instance_config SELECT id, ?, ?, ?, ?, ?, ? FROM instance"
            " WHERE app_id = ? AND cluster = ? AND data_center = ? AND ip = ?"
            " ON CONFLICT (instance_id, app_id, namespace) DO UPDATE SET"
            " cluster = excluded.cluster, seen_at = excluded.seen_at, delivered_at ="
            " iif(release_key = excluded.release_key, delivered_at, excluded.delivered_at),"
            " release_key = excluded.release_key",
            (*one.namespace, one.release_key, one.delivered_at, one.seen_at, *who),
        )
    old = (change.now - ACTIVE_SECONDS * 1000,)
    change.db.execute("DELETE FROM instance_config WHERE seen_at < ?", old)
    change.db.execute(
        "DELETE FROM instance WHERE id NOT IN (SELECT instance_id FROM instance_config)"
    )


def of_namespace(db: sqlite3.Connection, address: Address) -> list[InstanceConfig]:
    """Return the instances that run a release of this namespace or its branch."""
    return _configs(db.execute(f"{_CONFIG} WHERE {_AT} ORDER BY instance_id", address))


def of_release(db: sqlite3.Connection, release_key: str) -> list[InstanceConfig]:
    """Return the instances that run this release."""
    return _configs(
        db.execute(f"{_CONFIG} WHERE release_key = ? ORDER BY instance_id", (release_key,))
    )


def of_other_releases(
    db: sqlite3.Connection, address: Address, release_keys: Sequence[str]
) -> list[InstanceConfig]:
    """Return the instances of a namespace that run another release than these."""
    return _configs(
        db.execute(
            f"{_CONFIG} WHERE {_AT} AND release_key NOT IN ({marks(release_keys)})"
            " ORDER BY instance_id",
            (*address, *release_keys),
        )
    )


def _configs(rows: sqlite3.Cursor) -> list[InstanceConfig]:
    return [
        InstanceConfig(row[0], row[1], row[2], row[3], row[4], Address(*row[5:8]), *row[8:])
        for row in rows
    ]
