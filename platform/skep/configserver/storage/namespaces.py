"""The rows of apps, clusters, and namespaces; names are found in any case."""

import sqlite3
from collections.abc import Mapping
from typing import Any, cast

from skep.configserver.model.apps import (
    AppDetails,
    AppNamespace,
    ConfigApp,
    ConfigCluster,
    ConfigNamespace,
)
from skep.configserver.model.limits import check_address
from skep.configserver.model.names import Address, is_branch_name
from skep.configserver.model.refusals import NotFound
from skep.configserver.storage.database import WriteTransaction, marks

# The collation of the columns compares names in any case, keys by their bytes.
AT = "app_id = ? AND cluster = ? AND namespace = ?"

_APP = (
    "SELECT id, name, title, org_id, org_name, owner_name, owner_email, created_by, created_at"
    " FROM app"
)
_CLUSTER = (
    "SELECT cluster.id, app.name, cluster.name, cluster.comment, coalesce(parent_id, 0),"
    " cluster.created_by, cluster.created_at FROM cluster JOIN app ON app.id = cluster.app_id"
)
_APP_NAMESPACE = (
    "SELECT app_namespace.id, app.name, app_namespace.name, is_public, comment,"
    " app_namespace.created_by, app_namespace.created_at"
    " FROM app_namespace JOIN app ON app.id = app_namespace.app_id"
)
_NAMESPACE = (
    "SELECT namespace.id, address.app_id, address.cluster, address.namespace,"
    " coalesce(own.is_public, public.id IS NOT NULL),"
    " coalesce(own.comment, public.comment, ''), namespace.created_by, namespace.created_at"
    " FROM address JOIN namespace ON namespace.id = address.namespace_id"
    " JOIN cluster ON cluster.id = namespace.cluster_id"
    " LEFT JOIN app_namespace AS own"
    " ON own.app_id = cluster.app_id AND own.name = namespace.name"
    " LEFT JOIN app_namespace AS public ON public.name = namespace.name AND public.is_public = 1"
)


def find(db: sqlite3.Connection, address: Address) -> tuple[int, Address] | None:
    """Return the id of a namespace, and its address as it was first written."""
    row = db.execute(
        f"SELECT namespace_id, app_id, cluster, namespace FROM address WHERE {AT}", address
    ).fetchone()
    return (row[0], Address(*row[1:])) if row else None


def require(db: sqlite3.Connection, address: Address) -> tuple[int, Address]:
    """Return what `find` returns. Raises NotFound."""
    found = find(db, address)
    if found is None:
        raise NotFound(f"There is no namespace {address}.")
    return found


def open_namespace(change: WriteTransaction, address: Address) -> tuple[int, Address]:
    """Find a namespace, and make what is missing; the name of another app's public namespace makes
    one that overrides its values. Raises InvalidRequest for a name that is not legal, and NotFound
    for another namespace of a branch than its own, or a branch that is gone."""
    check_address(address)
    _check_branch(change.db, address)
    app_id, app = open_app(change, address.app_id)
    cluster_id, cluster = _open_row(change, "cluster", {"app_id": app_id}, address.cluster)
    public = public_namespace(change.db, address.namespace)
    own = app_namespace(change.db, address.app_id, address.namespace)
    if own is None and public is None:
        # The first cluster of the app that had the namespace gave it its spelling.
        _open_row(change, "app_namespace", {"app_id": app_id}, address.namespace)
    spelled = own or public
    name = spelled.name if spelled else address.namespace
    namespace_id, name = _open_row(change, "namespace", {"cluster_id": cluster_id}, name)
    return namespace_id, Address(app, cluster, name)


def open_app(change: WriteTransaction, app_id: str) -> tuple[int, str]:
    """Return the row id and spelling of an app, and make it if it is missing."""
    return _open_row(change, "app", {}, app_id)


def apps(db: sqlite3.Connection) -> list[ConfigApp]:
    """Return all apps in the order of their ids."""
    return [_app(row) for row in db.execute(f"{_APP} ORDER BY name")]


def app(db: sqlite3.Connection, app_id: str) -> ConfigApp | None:
    """Return one app."""
    row = db.execute(f"{_APP} WHERE name = ?", (app_id,)).fetchone()
    return _app(row) if row else None


def clusters(db: sqlite3.Connection, app_id: str) -> list[ConfigCluster]:
    """Return the clusters of an app, without its branches."""
    rows = db.execute(
        f"{_CLUSTER} WHERE app.name = ? AND parent_id IS NULL ORDER BY cluster.name", (app_id,)
    )
    return [ConfigCluster(*row) for row in rows]


def cluster(db: sqlite3.Connection, app_id: str, name: str) -> ConfigCluster | None:
    """Return one cluster, which may be a branch."""
    row = db.execute(
        f"{_CLUSTER} WHERE app.name = ? AND cluster.name = ?", (app_id, name)
    ).fetchone()
    return ConfigCluster(*row) if row else None


def app_namespaces(db: sqlite3.Connection, app_id: str) -> list[AppNamespace]:
    """Return the namespaces that an app defines."""
    rows = db.execute(f"{_APP_NAMESPACE} WHERE app.name = ? ORDER BY app_namespace.id", (app_id,))
    return [_app_namespace(row) for row in rows]


def app_namespace(db: sqlite3.Connection, app_id: str, name: str) -> AppNamespace | None:
    """Return the namespace of this name that the app defines."""
    row = db.execute(
        f"{_APP_NAMESPACE} WHERE app.name = ? AND app_namespace.name = ?", (app_id, name)
    ).fetchone()
    return _app_namespace(row) if row else None


def public_namespace(db: sqlite3.Connection, name: str) -> AppNamespace | None:
    """Return the public namespace of this name; there is at most one over all apps."""
    row = db.execute(
        f"{_APP_NAMESPACE} WHERE app_namespace.name = ? AND is_public = 1", (name,)
    ).fetchone()
    return _app_namespace(row) if row else None


def namespaces(db: sqlite3.Connection, app_id: str, cluster: str) -> list[ConfigNamespace]:
    """Return the namespaces of a cluster in the order in which they were made."""
    rows = db.execute(
        f"{_NAMESPACE} WHERE address.app_id = ? AND address.cluster = ? ORDER BY namespace.id",
        (app_id, cluster),
    )
    return [_namespace(row) for row in rows]


def namespace(db: sqlite3.Connection, address: Address) -> ConfigNamespace:
    """Return one namespace. Raises NotFound."""
    row = db.execute(
        f"{_NAMESPACE} WHERE address.app_id = ? AND address.cluster = ? AND address.namespace = ?",
        address,
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no namespace {address}.")
    return _namespace(row)


def namespaces_named(db: sqlite3.Connection, name: str) -> list[ConfigNamespace]:
    """Return the namespaces of this name in all apps and clusters."""
    rows = db.execute(f"{_NAMESPACE} WHERE address.namespace = ? ORDER BY namespace.id", (name,))
    return [_namespace(row) for row in rows]


def insert(change: WriteTransaction, table: str, columns: Mapping[str, object]) -> int:
    """Insert a row with who makes it and when; return its id."""
    row = {**columns, "created_by": change.actor.name, "created_at": change.now}
    inserted = change.db.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks(row)})", tuple(row.values())
    )
    return cast("int", inserted.lastrowid)


def delete_namespace(change: WriteTransaction, namespace_id: int) -> None:
    """Delete a namespace with its items, releases, history, policy and publish
    requests."""
    for table in ("item", "release_history", "release", "publish_policy", "publish_request"):
        change.db.execute(f"DELETE FROM {table} WHERE namespace_id = ?", (namespace_id,))
    change.db.execute("DELETE FROM namespace WHERE id = ?", (namespace_id,))


def _check_branch(db: sqlite3.Connection, address: Address) -> None:
    """Raise NotFound if writing here would make a namespace in a branch: it has only its own."""
    if is_branch_name(address.cluster) and find(db, address) is None:
        raise NotFound(f"There is no branch {address.cluster!r} with {address.namespace!r}.")


def _open_row(
    change: WriteTransaction, table: str, owner: Mapping[str, int], name: str
) -> tuple[int, str]:
    """Return the id and spelling of the row with this name; insert it if there is none."""
    where = " AND ".join(f"{column} = ?" for column in (*owner, "name"))
    found: tuple[int, str] | None = change.db.execute(
        f"SELECT id, name FROM {table} WHERE {where}", (*owner.values(), name)
    ).fetchone()
    return found or (insert(change, table, {**owner, "name": name}), name)


def _app(row: tuple[Any, ...]) -> ConfigApp:
    return ConfigApp(row[0], row[1], AppDetails(*row[2:7]), row[7], row[8])


def _app_namespace(row: tuple[Any, ...]) -> AppNamespace:
    return AppNamespace(row[0], row[1], row[2], bool(row[3]), *row[4:])


def _namespace(row: tuple[Any, ...]) -> ConfigNamespace:
    return ConfigNamespace(row[0], Address(*row[1:4]), bool(row[4]), *row[5:])
