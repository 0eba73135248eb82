"""Who is in the chat, for every worker to read: a table of the open connections."""

from skep import Connection, Str, Table, TableFull, Worker, WorkerInfo


class Guests(Table, rows=10_000, index=("user", "worker"), durable=False):
    """One row for each connection, by its id."""

    user: Str[40]
    worker: Str[40]


def enter(connection: Connection, user: str) -> None:
    """Add a guest; beyond the limit of the table a guest may chat, unlisted."""
    try:
        Guests.set(connection.id, user=user, worker=Worker.current().name)
    except TableFull:
        return


def leave(connection: Connection) -> None:
    Guests.delete(connection.id)


def forget(info: WorkerInfo) -> None:
    """Remove the guests of a worker that has ended: if it was killed, it removed none."""
    for row in Guests.where(worker=f"{info.slot}@{info.generation}"):
        Guests.delete(row.key)


def listed() -> dict[str, int]:
    """Return the guests, and how many connections each has."""
    found: dict[str, int] = {}
    for row in Guests.rows():
        found[row.user] = found.get(row.user, 0) + 1
    return found
