"""Items by a text in their keys or values."""

import sqlite3
from collections.abc import Iterator, Sequence

from skep.configserver.model.names import Address
from skep.configserver.storage.database import marks


def found_items(
    db: sqlite3.Connection, apps: Sequence[str], text: str
) -> Iterator[tuple[Address, str, str]]:
    """Return address, key and value of the items of these apps that hold the text, in any case of
    ASCII letters."""
    wanted = text.lower()
    rows = db.execute(
        "SELECT app_id, cluster, namespace, key, value FROM item JOIN address USING (namespace_id)"
        f" WHERE key != '' AND app_id IN ({marks(apps)})"
        " AND (instr(lower(key), ?) OR instr(lower(value), ?))"
        " ORDER BY app_id, cluster, namespace, line",
        (*apps, wanted, wanted),
    )
    for row in rows:
        yield Address(*row[:3]), row[3], row[4]
