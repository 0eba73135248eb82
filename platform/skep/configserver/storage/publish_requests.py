"""The rows of publishes that wait."""

import sqlite3
from typing import Any, cast

from skep.configserver.model.names import Address
from skep.configserver.model.publish_requests import PublishRequest, RequestState
from skep.configserver.model.refusals import NotFound
from skep.configserver.storage.database import WriteTransaction
from skep.configserver.storage.namespaces import AT

_REQUEST = (
    "SELECT publish_request.id, app_id, cluster, namespace, digest, title, comment, due_at,"
    " requester, requested_by, requested_at, approver, approved_by, state, reason, release_id"
    " FROM publish_request JOIN address USING (namespace_id)"
)


def request_by_id(db: sqlite3.Connection, request_id: int) -> PublishRequest:
    """Return a request. Raises NotFound."""
    row = db.execute(f"{_REQUEST} WHERE publish_request.id = ?", (request_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no publish request {request_id}.")
    return _request(row)


def open_request(db: sqlite3.Connection, namespace_id: int) -> PublishRequest | None:
    """Return the open request of a namespace."""
    row = db.execute(f"{_REQUEST} WHERE namespace_id = ? AND state = 0", (namespace_id,)).fetchone()
    return _request(row) if row else None


def requests_of(db: sqlite3.Connection, address: Address, count: int) -> list[PublishRequest]:
    """Return the requests of a namespace, the newest first."""
    rows = db.execute(
        f"{_REQUEST} WHERE {AT} ORDER BY publish_request.id DESC LIMIT ?", (*address, count)
    )
    return [_request(row) for row in rows]


def open_requests(db: sqlite3.Connection) -> list[PublishRequest]:
    """Return the open requests of all namespaces, the oldest first."""
    rows = db.execute(f"{_REQUEST} WHERE state = 0 ORDER BY publish_request.id")
    return [_request(row) for row in rows]


def due_requests(db: sqlite3.Connection, now: int) -> list[int]:
    """Return the ids of the open requests whose time has come, the earliest first."""
    rows = db.execute(
        "SELECT id FROM publish_request WHERE state = 0 AND due_at BETWEEN 1 AND ?"
        " ORDER BY due_at, id",
        (now,),
    )
    return [row[0] for row in rows]


def insert_request(
    change: WriteTransaction, namespace_id: int, digest: str, title: tuple[str, str], due_at: int
) -> PublishRequest:
    """Insert an open request, with its title and comment, and return it."""
    inserted = change.db.execute(
        "INSERT INTO publish_request (namespace_id, digest, title, comment, due_at, requester,"
        " requested_by, requested_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (namespace_id, digest, *title, due_at, change.actor.identity, *change.by),
    )
    return request_by_id(change.db, cast("int", inserted.lastrowid))


def set_approved(change: WriteTransaction, request_id: int) -> None:
    """Record who approves a request."""
    change.db.execute(
        "UPDATE publish_request SET approver = ?, approved_by = ? WHERE id = ?",
        (change.actor.identity, change.actor.name, request_id),
    )


def settle_request(
    change: WriteTransaction,
    request_id: int,
    state: RequestState,
    *,
    reason: str = "",
    release_id: int = 0,
) -> None:
    """Record what became of a request."""
    change.db.execute(
        "UPDATE publish_request SET state = ?, reason = ?, release_id = ? WHERE id = ?",
        (state, reason, release_id, request_id),
    )


def _request(row: tuple[Any, ...]) -> PublishRequest:
    rest = (*row[4:13], RequestState(row[13]), *row[14:])
    return PublishRequest(row[0], Address(*row[1:4]), *rest)
